// finish(sums over k of x[i, k] * weight[j, k]) for few rows i on a GPU. A row's sums are the same bits as those of
// linear_mat.wgsl: k goes up one by one, and nothing is summed in parts.
//
// Workgroup: a tile of 32 rows of x by SLOTS slots of the weight's rows, 4 x 4 outputs an invocation. Along k it goes in steps of
// 32 columns: both tiles are brought into workgroup memory (12 KiB; 8 of 32 slots, or with F16_TILES 6) as linear_mat.wgsl does it,
// each weight once for all rows of x. Invocations whose rows of x lie past the last one fetch weights and compute nothing.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue
#import tile

const STEP_QUADS: u32 = 8u;

var<workgroup> x_tile: array<Tile4, STEP_QUADS * 32u>; // [columns of a step, 8 groups of 4 rows]
var<workgroup> weight_tile: array<Tile4, STEP_QUADS * SLOTS>; // [columns of a step, groups of 4 slots]

// The values of four rows in each of the four columns of a quad. Those past the last row are like it. Where rows of x begin is
// worked out each time: kept, the four numbers are more than some GPUs have registers for.
fn x_columns(first: u32, quad: u32) -> mat4x4<f32> {
#if CHUNKED
#else
    if (quad >= (dims.cols + 3u) / 4u) {
        return mat4x4<f32>();
    }
#endif
    return transpose(mat4x4<f32>(
#repeat i 4
        x4_at(x_start(min(first + $iu, dims.n - 1u)), quad),
#end
    ));
}

fn weight_columns(starts: vec4<u32>, quad: u32) -> mat4x4<f32> {
#if CHUNKED
#else
    if (quad >= (dims.cols + 3u) / 4u) {
        return mat4x4<f32>();
    }
#endif
    return transpose(mat4x4<f32>(
#repeat i 4
        weight4_at(starts[$i], quad),
#end
    ));
}

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

    // What an invocation brings: a quad of a step, of four slots and, where there are such, of as many rows of x. Where it stores
    // that in x_tile follows from where in weight_tile: kept, it is one number more than Mali has registers for.
    let fetched = lane % STEP_QUADS;
    let group = lane / STEP_QUADS;
    let x_row = select(dims.n, first_x + group * 4u, group < 8u);
    let weight_starts = vec4<u32>(
#repeat i 4
        weight_start(row_of(first_slot + group * 4u + $iu)),
#end
    );
    let weight_stored = fetched * SLOTS + (group ^ fetched);
    // What it computes: its tile's group of rows and its group of slots are the last bits of these.
    let first_at = first_x + lane / (SLOTS / 4u) * 4u;
    let first_pair = first_slot / 2u + lane % (SLOTS / 4u) * 2u;
#repeat i 4
    var sum0_$i = vec4<f32>();
#end
    let quads = (dims.cols + 3u) / 4u;
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP_QUADS) {
        workgroupBarrier();
        let weights = weight_columns(weight_starts, first_quad + fetched);
#repeat k 4
        weight_tile[weight_stored + $ku * (SLOTS / 4u)] = Tile4(weights[$k]);
#end
        if (x_row < dims.n) {
            let values = x_columns(x_row, first_quad + fetched);
#repeat k 4
            x_tile[weight_stored - fetched * (SLOTS - 32u) + $ku * 8u] = Tile4(values[$k] * X_SCALE);
#end
        }
        workgroupBarrier();
        if (first_at < dims.n) {
            for (var q = 0u; q < STEP_QUADS; q++) {
                let x_at = q * 32u + ((first_at / 4u % 8u) ^ q);
                let w_at = q * SLOTS + ((first_pair / 2u % (SLOTS / 4u)) ^ q);
#repeat k 4
                {
                    let w = vec4<f32>(weight_tile[w_at + $ku * (SLOTS / 4u)]);
                    let x = vec4<f32>(x_tile[x_at + $ku * 8u]);
#repeat i 4
                    sum0_$i += x[$i] * w;
#end
                }
#end
            }
        }
    }
#if F16_TILES
#repeat i 4
    sum0_$i /= X_SCALE;
#end
#endif
#import finish_tile
}
