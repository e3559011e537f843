// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight's rows; an invocation computes 4 * X_QUADS by 4 of its outputs:
// more of them read less of workgroup memory for a product, fewer leave registers for more invocations. Along k it goes in
// steps of INVOCATIONS / 8 columns, whatever the weight's blocks: both tiles are brought into workgroup memory (8 or 16 KiB; half
// of it with F16_TILES, where products and sums stay f32), the weight dequantized there once for 64 rows of x, turned so that
// four neighbouring rows' values of one k lie in a vec4. An invocation reads the same groups of rows in every step, and each index is
// of an array of its own: what compilers that clamp indices add, they add once. Where rows begin is worked out once, too, as they do not do it.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

#import tile

// What two halves of the invocations fetch at once: quads of columns.
const STEP_QUADS: u32 = INVOCATIONS / 32u;

// [x or weight, quads of a step, columns, 16 groups of 4 rows or slots]
var<workgroup> tiles: array<array<array<array<Tile4, 16>, 4>, STEP_QUADS>, 2>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile

    // One half of the invocations fetch x, the other the weight: of four rows the same quad of a step, of which they store the
    // transpose. Neighbours fetch two neighbouring quads of a row, for the sake of memory, of every 16 groups, for that of the
    // banks that they store to.
    let side = lane / (INVOCATIONS / 2u);
    let takes_x = side == 0u;
    let taken = lane % (INVOCATIONS / 2u);
    let fetched = taken % 2u + taken / 32u * 2u;
    let group = taken / 2u % 16u;
    // Rows past the last one are computed like it and dropped.
#repeat i 4
    var start$i = x_start(min(first_x + group * 4u + $iu, dims.n - 1u));
    if (!takes_x) {
        start$i = weight_start(row_of(first_slot + group * 4u + $iu));
    }
#end
#repeat m X_QUADS
    let major$m = lane / 16u * X_QUADS + $mu;
#end
    let minor = lane % 16u;
#repeat m X_QUADS
#repeat i 4
    var sum$m_$i = vec4<f32>();
#end
#end
    let quads = (dims.cols + 3u) / 4u;
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP_QUADS) {
        let quad = first_quad + fetched;
#repeat i 4
        var v$i = vec4<f32>();
#end
#if CHUNKED
        {
#else
        if (quad < quads) {
#endif
            if (takes_x) {
#repeat i 4
                v$i = x4_at(start$i, quad) * X_SCALE;
#end
            } else {
#repeat i 4
                v$i = weight4_at(start$i, quad);
#end
            }
        }
#repeat i 4
        tiles[side][fetched][$i][group] = Tile4(vec4<f32>(v0[$i], v1[$i], v2[$i], v3[$i]));
#end
        workgroupBarrier();
        for (var q = 0u; q < STEP_QUADS; q++) {
#repeat k 4
            {
                let w = vec4<f32>(tiles[1][q][$k][minor]);
#repeat m X_QUADS
                let x$m = vec4<f32>(tiles[0][q][$k][major$m]);
#repeat i 4
                sum$m_$i += x$m[$i] * w;
#end
#end
            }
#end
        }
        workgroupBarrier();
    }
#if F16_TILES
#repeat m X_QUADS
#repeat i 4
    sum$m_$i /= X_SCALE;
#end
#end
#endif
    let first_at = first_x + major0 * 4u;
    let first_pair = first_slot / 2u + minor * 2u;
#import finish_tile
}
