// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU with instructions for products of small matrices, which the
// invocations of a subgroup hold together.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight's rows, computed by four subgroups of SUBGROUP invocations, 32 by 32
// each, in matrices of MATRIX_M by MATRIX_N. Along k it goes in steps of 32 columns: both tiles are brought into workgroup memory as
// f16, the weight dequantized there once for 64 rows of x, and multiplied MATRIX_K columns at a time; sums are f32. Tiles take 10 KiB,
// as their rows are a little apart: else all would begin in the same bank. The ends go through workgroup memory, too, a matrix of each
// subgroup at a time, in a loop: written out for each they would take long to compile.
#import flat_index

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue
#import tile

// Outliers of real layers come near the largest f16, and what is beyond is infinite: x is a 16th in its tile.
const X_SCALE: f32 = 0.0625;
const STEP_QUADS: u32 = 8u;
const STRIDE: u32 = STEP_QUADS * 4u + 8u;
const INVOCATIONS: u32 = 4u * SUBGROUP;

var<workgroup> x_tile: array<f16, 64u * STRIDE>; // [row of x, column of a step]
var<workgroup> weight_tile: array<f16, 64u * STRIDE>; // [slot, column of a step]
var<workgroup> sums: array<f32, 4u * MATRIX_M * MATRIX_N>; // [subgroup, row of x, slot]

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile
    // What an invocation fetches: FETCHES times four quads of a row, of x or of the weight. Rows past the last one are computed like it
    // and dropped.
    let own_four = lane % 2u;
#repeat i FETCHES
    let fetched$i = (lane + $iu * INVOCATIONS) / 2u;
    let takes_x$i = fetched$i < 64u;
    let stored$i = fetched$i % 64u * STRIDE + own_four * 16u;
    var start$i = x_start(min(first_x + fetched$i, dims.n - 1u));
    if (!takes_x$i) {
        start$i = weight_start(row_of(first_slot + fetched$i - 64u));
    }
#end
    // What its subgroup computes.
    let subgroup = lane / SUBGROUP;
    let own_x = subgroup / 2u * 32u;
    let own_slot = subgroup % 2u * 32u;
#repeat m MATRICES_M
#repeat n MATRICES_N
    var sum$m_$n = subgroup_matrix_result<f32, MATRIX_N, MATRIX_M>();
#end
#end
    let quads = (dims.cols + 3u) / 4u;
    for (var first_quad = 0u; first_quad < quads; first_quad += STEP_QUADS) {
        let quad = first_quad + own_four * 4u;
#repeat i FETCHES
        if (takes_x$i) {
            let values = x4x4_at(start$i, quad) * X_SCALE;
#repeat q 4
#repeat k 4
            x_tile[stored$i + $qu * 4u + $ku] = f16(values[$q][$k]);
#end
#end
        } else {
            let values = weight4x4_at(start$i, quad);
#repeat q 4
#repeat k 4
            weight_tile[stored$i + $qu * 4u + $ku] = f16(values[$q][$k]);
#end
#end
        }
#end
        workgroupBarrier();
        for (var k = 0u; k < STEP_QUADS * 4u; k += MATRIX_K) {
#repeat m MATRICES_M
            let left$m = subgroupMatrixLoad<subgroup_matrix_left<f16, MATRIX_K, MATRIX_M>, row_major>(
                &x_tile, (own_x + $mu * MATRIX_M) * STRIDE + k, STRIDE);
#end
#repeat n MATRICES_N
            {
                let right = subgroupMatrixLoad<subgroup_matrix_right<f16, MATRIX_N, MATRIX_K>, col_major>(
                    &weight_tile, (own_slot + $nu * MATRIX_N) * STRIDE + k, STRIDE);
#repeat m MATRICES_M
                sum$m_$n = subgroupMatrixMultiplyAccumulate(left$m, right, sum$m_$n);
#end
            }
#end
        }
        workgroupBarrier();
    }
    // No further than there are rows of x, which is the same for all.
    let end = min((dims.n - first_x + MATRIX_M - 1u) / MATRIX_M, MATRICES_M) * MATRICES_N;
    for (var matrix = 0u; matrix < end; matrix++) {
#repeat m MATRICES_M
#repeat n MATRICES_N
        if (matrix == $mu * MATRICES_N + $nu) {
            subgroupMatrixStore<row_major>(&sums, subgroup * (MATRIX_M * MATRIX_N), sum$m_$n, MATRIX_N);
        }
#end
#end
        workgroupBarrier();
        let at_x = first_x + own_x + matrix / MATRICES_N * MATRIX_M;
        let at_pair = (first_slot + own_slot + matrix % MATRICES_N * MATRIX_N) / 2u;
        for (var i = lane % SUBGROUP; i < MATRIX_M * MATRIX_N / 2u; i += SUBGROUP) {
            let at = at_x + i / (MATRIX_N / 2u);
            let pair = at_pair + i % (MATRIX_N / 2u);
            let place = subgroup * (MATRIX_M * MATRIX_N) + i * 2u;
            if (at < dims.n && pair < pair_count()) {
                finish(at, pair, vec2<f32>(sums[place], sums[place + 1u]) / X_SCALE);
            }
        }
        workgroupBarrier();
    }
}
