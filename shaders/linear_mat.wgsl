// out[i, j] = finish(sum over k of x[i, k] * weight[j, k]) for many rows i.
//
// Workgroup: a tile of 32 rows of x by 64 rows of the weight, 8 x 8 invocations of 4 x 8 outputs each. Along k it goes
// in steps of 32 columns (one quantization block): both tiles are brought into workgroup memory (12 KiB), the weight
// dequantized there once for 32 rows of x, turned so that the four or eight values an invocation needs of one k lie in
// one or two vec4. Per k an invocation then reads three vec4 for 32 multiply-adds.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> x_tile: array<vec4<f32>, 256>; // [32 columns, 8 groups of 4 rows]
var<workgroup> weight_tile: array<vec4<f32>, 512>; // [32 columns, 16 groups of 4 rows]

fn store(at: u32, row: u32, sums: vec4<f32>) {
    if (at < dims.n) {
#repeat i 4
        if (row + $iu < dims.rows) {
            finish(at, row + $iu, sums[$i]);
        }
#end
    }
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
    let n_tiles = (dims.n + 31u) / 32u;
    if (tile >= row_tiles * n_tiles) {
        return;
    }
    let first_x = tile % n_tiles * 32u;
    let first_row = tile / n_tiles * 64u;
    let quads = (dims.cols + 3u) / 4u;
    let major = lane / 8u;
    let minor = lane % 8u;

    // Sums of four rows of x by eight rows of the weight.
#repeat i 4
    var low$i = vec4<f32>();
    var high$i = vec4<f32>();
#end
    for (var first_quad = 0u; first_quad < quads; first_quad += 8u) {
        // Each invocation fetches four rows of four columns and stores the transpose: once of x, twice of the weight.
        let quad = first_quad + minor;
        let at = first_x + major * 4u;
#repeat i 4
        var x$i = vec4<f32>();
        if (quad < quads && at + $iu < dims.n) {
            x$i = x4(at + $iu, quad);
        }
#end
#repeat i 4
        x_tile[(minor * 4u + $iu) * 8u + major] = vec4<f32>(x0[$i], x1[$i], x2[$i], x3[$i]);
#end
        for (var group = major; group < 16u; group += 8u) {
            let row = first_row + group * 4u;
#repeat i 4
            var w$i = vec4<f32>();
            if (quad < quads && row + $iu < dims.rows) {
                w$i = weight4(row + $iu, quad);
            }
#end
#repeat i 4
            weight_tile[(minor * 4u + $iu) * 16u + group] = vec4<f32>(w0[$i], w1[$i], w2[$i], w3[$i]);
#end
        }
        workgroupBarrier();
        for (var k = 0u; k < 32u; k++) {
            let values = x_tile[k * 8u + major];
            let w_low = weight_tile[k * 16u + minor * 2u];
            let w_high = weight_tile[k * 16u + minor * 2u + 1u];
#repeat i 4
            low$i += values[$i] * w_low;
            high$i += values[$i] * w_high;
#end
        }
        workgroupBarrier();
    }

    let row = first_row + minor * 8u;
#repeat i 4
    store(first_x + major * 4u + $iu, row, low$i);
    store(first_x + major * 4u + $iu, row + 4u, high$i);
#end
}
