// finish(sums over k of x[i, k] * weight[j, k]) for few rows i on a GPU. A row's sums are the same bits as those of
// linear_mat.wgsl: k goes up one by one, and nothing is summed in parts.
//
// Workgroup: a tile of 32 rows of x by SLOTS slots of the weight's rows, 4 x 4 outputs an invocation. Along k it goes in steps of
// 32 columns: both tiles are brought into workgroup memory (12 KiB; 8 of 32 slots or with F16_TILES) as linear_mat.wgsl does it,
// each weight once for all rows of x. Invocations whose rows of x lie past the last one fetch weights and compute nothing.
#import flat_index

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue
#import tile

const STEP_QUADS: u32 = 8u;
const SLOT_GROUPS: u32 = SLOTS / 4u;

var<workgroup> x_tile: array<array<array<vec4<f32>, 8>, 4>, STEP_QUADS>; // [quads of a step, rows of a group, 8 groups]
var<workgroup> weight_tile: array<array<array<Tile4, SLOT_GROUPS>, 4>, STEP_QUADS>; // [quads of a step, slots of a group, groups]

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slot_tiles = (dims.rows + SLOTS - 1u) / SLOTS;
    let n_tiles = (dims.n + 31u) / 32u;
    let tile = flat_index(workgroup, workgroups);
    if (tile >= slot_tiles * n_tiles) {
        return;
    }
    let first_x = tile % n_tiles * 32u;
    let first_slot = tile / n_tiles * SLOTS;

    // What an invocation brings, as linear_mat.wgsl does it: four quads of a slot and, the first 64, of a row of x. Rows past the
    // last one are like it.
    let own_weight = weight_start(row_of(first_slot + lane % SLOT_GROUPS * 4u + lane / SLOT_GROUPS % 4u));
    let own_x = x_start(min(first_x + lane % 8u * 4u + lane / 8u % 4u, dims.n - 1u));
    // What it computes.
    let major = lane / SLOT_GROUPS;
    let minor = lane % SLOT_GROUPS;
    let first_at = first_x + major * 4u;
    let first_pair = first_slot / 2u + minor * 2u;
#repeat i 4
    var sum0_$i = vec4<f32>();
#end
    let quads = (dims.cols + 3u) / 4u;
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP_QUADS) {
        workgroupBarrier();
        {
            let quad = lane / SLOTS * 4u;
            let values = weight4x4_at(own_weight, first_quad + quad);
#repeat i 4
            weight_tile[quad + $iu][lane / SLOT_GROUPS % 4u][lane % SLOT_GROUPS] = Tile4(values[$i]);
#end
        }
        if (lane < 64u) {
            let quad = lane / 32u * 4u;
            let values = x4x4_at(own_x, first_quad + quad);
#repeat i 4
            x_tile[quad + $iu][lane / 8u % 4u][lane % 8u] = values[$i];
#end
        }
        workgroupBarrier();
        if (first_at < dims.n) {
            // How many are not known beforehand: compilers that unroll all of them run out of registers.
            let end = min(STEP_QUADS, quads - first_quad);
            for (var q = 0u; q < end; q++) {
#repeat j 4
                let w$j = vec4<f32>(weight_tile[q][$j][minor]);
#end
#repeat i 4
                {
                    let x = x_tile[q][$i][major];
#repeat k 4
                    sum0_$i += x[$k] * vec4<f32>(w0[$k], w1[$k], w2[$k], w3[$k]);
#end
                }
#end
            }
        }
    }
#import finish_tile
}
