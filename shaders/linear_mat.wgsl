// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight's rows; an invocation computes 4 * X_QUADS by 4 of its outputs:
// more of them read less of workgroup memory for a product, fewer leave registers for more invocations. Along k it goes in
// steps of INVOCATIONS / 8 columns, whatever the weight's blocks: both tiles are brought into workgroup memory (8 or 16 KiB; 6 with
// F16_TILES, where only the weight's is f16), the weight dequantized there once for 64 rows of x. An invocation reads the same rows
// in every step, and each index is of an array of its own: what compilers that clamp indices add, they add once.
#import flat_index

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

#import tile

// What two halves of the invocations fetch at once: sixteen columns, or twice that.
const STEP_FOURS: u32 = INVOCATIONS / 128u;

// [fours of quads of a step, quads of one, rows or slots of a group, 16 groups]
var<workgroup> x_tile: array<array<array<array<vec4<f32>, 16>, 4>, 4>, STEP_FOURS>;
var<workgroup> weight_tile: array<array<array<array<Tile4, 16>, 4>, 4>, STEP_FOURS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile

    // One half of the invocations fetch x, the other the weight: four quads of a row each, which in most formats have one scale. Rows past
    // the last one are computed like it and dropped. Neighbours fetch rows of neighbouring groups, which they store to different banks.
    let takes_x = lane < INVOCATIONS / 2u;
    let taken = lane % (INVOCATIONS / 2u);
    let group = taken % 16u;
    let member = taken / 16u % 4u;
    let own_four = taken / 64u;
    var start = x_start(min(first_x + group * 4u + member, dims.n - 1u));
    if (!takes_x) {
        start = weight_start(row_of(first_slot + group * 4u + member));
    }
    // What it computes: these groups of rows, that of slots.
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
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP_FOURS * 4u) {
        if (takes_x) {
            let values = x4x4_at(start, first_quad + own_four * 4u);
#repeat i 4
            x_tile[own_four][$i][member][group] = values[$i];
#end
        } else {
            let values = weight4x4_at(start, first_quad + own_four * 4u);
#repeat i 4
            weight_tile[own_four][$i][member][group] = Tile4(values[$i]);
#end
        }
        workgroupBarrier();
        for (var four = 0u; four < STEP_FOURS; four++) {
            for (var q = 0u; q < 4u; q++) {
#repeat j 4
                let w$j = vec4<f32>(weight_tile[four][q][$j][minor]);
#end
#repeat m X_QUADS
#repeat i 4
                {
                    let x = x_tile[four][q][$i][major$m];
#repeat k 4
                    sum$m_$i += x[$k] * vec4<f32>(w0[$k], w1[$k], w2[$k], w3[$k]);
#end
                }
#end
#end
            }
        }
        workgroupBarrier();
    }
    let first_at = first_x + major0 * 4u;
    let first_pair = first_slot / 2u + minor * 2u;
#import finish_tile
}
