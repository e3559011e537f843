// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight's rows, 8 x 8 invocations of 8 x 8 outputs each. Along k it
// goes in steps of 32 columns, whatever the weight's blocks: both tiles are brought into workgroup memory (16 KiB; half of it
// with F16_TILES, where products and sums stay f32), the weight dequantized there once for 64 rows of x, turned so that
// the eight values an invocation needs of one k lie in two vec4. Per k an invocation then reads four vec4 for 64
// multiply-adds. Eight neighbours fetch 128 neighbouring bytes of a row of x; the place of a group of rows is XORed with
// the quad it came from, so that invocations that store different quads meet different banks.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

#if F16_TILES
alias Tile4 = vec4<f16>;
// Outliers of real layers come near the largest f16, and what is beyond is infinite: x is a 16th in its tile.
const X_SCALE: f32 = 0.0625;
#else
alias Tile4 = vec4<f32>;
const X_SCALE: f32 = 1.0;
#endif

const STEP: u32 = 32u;

var<workgroup> x_tile: array<Tile4, 512>; // [STEP columns, 16 groups of 4 rows]
var<workgroup> weight_tile: array<Tile4, 512>; // [STEP columns, 16 groups of 4 slots]

fn place(column: u32, group: u32) -> u32 {
    return column * 16u + (group ^ (column / 4u));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row_tiles = (dims.rows + 63u) / 64u;
    let tile = flat_index(workgroup, workgroups);
    // Neighbouring workgroups share the weight's tile, the larger of the two to fetch.
    let n_tiles = (dims.n + 63u) / 64u;
    if (tile >= row_tiles * n_tiles) {
        return;
    }
    let first_x = tile % n_tiles * 64u;
    let first_slot = tile / n_tiles * 64u;
    let quads = (dims.cols + 3u) / 4u;
    let major = lane / 8u;
    let minor = lane % 8u;

    // Sums of four and four rows of x by four and four slots of the weight.
#repeat i 4
    var upper_low$i = vec4<f32>();
    var upper_high$i = vec4<f32>();
    var lower_low$i = vec4<f32>();
    var lower_high$i = vec4<f32>();
#end
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP / 4u) {
        // Each invocation fetches four rows of four columns and stores the transpose, twice of each matrix.
        let quad = first_quad + minor;
        for (var group = major; group < 16u; group += 8u) {
            let at = first_x + group * 4u;
            let slot = first_slot + group * 4u;
#repeat i 4
            var x$i = vec4<f32>();
            var w$i = vec4<f32>();
            if (quad < quads) {
                if (at + $iu < dims.n) {
                    x$i = x4(at + $iu, quad);
                }
                w$i = weight4(row_of(slot + $iu), quad);
            }
#end
#repeat i 4
            x_tile[place(minor * 4u + $iu, group)] = Tile4(vec4<f32>(x0[$i], x1[$i], x2[$i], x3[$i]) * X_SCALE);
            weight_tile[place(minor * 4u + $iu, group)] = Tile4(vec4<f32>(w0[$i], w1[$i], w2[$i], w3[$i]));
#end
        }
        workgroupBarrier();
        for (var k = 0u; k < STEP; k++) {
            let x_upper = vec4<f32>(x_tile[place(k, major * 2u)]);
            let x_lower = vec4<f32>(x_tile[place(k, major * 2u + 1u)]);
            let w_low = vec4<f32>(weight_tile[place(k, minor * 2u)]);
            let w_high = vec4<f32>(weight_tile[place(k, minor * 2u + 1u)]);
#repeat i 4
            upper_low$i += x_upper[$i] * w_low;
            upper_high$i += x_upper[$i] * w_high;
            lower_low$i += x_lower[$i] * w_low;
            lower_high$i += x_lower[$i] * w_high;
#end
        }
        workgroupBarrier();
    }

    var sums = array<vec2<f32>, 32>(
#repeat i 4
        upper_low$i.xy, upper_low$i.zw, upper_high$i.xy, upper_high$i.zw,
#end
#repeat i 4
        lower_low$i.xy, lower_low$i.zw, lower_high$i.xy, lower_high$i.zw,
#end
    );
    for (var i = 0u; i < 32u; i++) {
        let at = first_x + major * 8u + i / 4u;
        let pair = first_slot / 2u + minor * 4u + i % 4u;
        if (at < dims.n && pair < pair_count()) {
            finish(at, pair, sums[i] / X_SCALE);
        }
    }
}
