// out[i, j] = finish(sum over k of x[i, k] * weight[j, k]) for many rows i.
//
// Workgroup: a tile of 32 rows of x by 64 rows of the weight, 8 x 8 invocations of 4 x 8 outputs each. Along k it goes in steps of
// 32 columns (one quantization block): both tiles are brought into workgroup memory (12 KiB), the weight dequantized there
// once for 32 rows of x, turned so that the four or eight values an invocation needs of one k lie in one or two vec4. Per k an
// invocation then reads three vec4 for 32 multiply-adds.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> x_tile: array<vec4<f32>, 256>; // [32 columns, 8 groups of 4 rows]
var<workgroup> weight_tile: array<vec4<f32>, 512>; // [32 columns, 16 groups of 4 rows]

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
    let my_x = lane / 8u;
    let my_rows = lane % 8u;

    var low: array<vec4<f32>, 4>;
    var high: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) {
        low[i] = vec4<f32>();
        high[i] = vec4<f32>();
    }
    for (var first_quad = 0u; first_quad < quads; first_quad += 8u) {
        // Each invocation fetches four rows of four columns and stores the transpose: once of x, twice of the weight.
        let quad = first_quad + lane % 8u;
        let inside = quad < quads;
        var block: mat4x4<f32>;
        for (var i = 0u; i < 4u; i++) {
            let at = first_x + lane / 8u * 4u + i;
            block[i] = vec4<f32>();
            if (inside && at < dims.n) {
                block[i] = x4(at, quad);
            }
        }
        block = transpose(block);
        for (var i = 0u; i < 4u; i++) {
            x_tile[(lane % 8u * 4u + i) * 8u + lane / 8u] = block[i];
        }
        for (var half = 0u; half < 16u; half += 8u) {
            for (var i = 0u; i < 4u; i++) {
                let row = first_row + (lane / 8u + half) * 4u + i;
                block[i] = vec4<f32>();
                if (inside && row < dims.rows) {
                    block[i] = weight4(row, quad);
                }
            }
            block = transpose(block);
            for (var i = 0u; i < 4u; i++) {
                weight_tile[(lane % 8u * 4u + i) * 16u + lane / 8u + half] = block[i];
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < 32u; k++) {
            let values = x_tile[k * 8u + my_x];
            let w_low = weight_tile[k * 16u + my_rows * 2u];
            let w_high = weight_tile[k * 16u + my_rows * 2u + 1u];
            low[0] += values.x * w_low;
            low[1] += values.y * w_low;
            low[2] += values.z * w_low;
            low[3] += values.w * w_low;
            high[0] += values.x * w_high;
            high[1] += values.y * w_high;
            high[2] += values.z * w_high;
            high[3] += values.w * w_high;
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let at = first_x + my_x * 4u + i;
        for (var j = 0u; j < 8u; j++) {
            let row = first_row + my_rows * 8u + j;
            if (at < dims.n && row < dims.rows) {
                finish(at, row, select(low[i][j % 4u], high[i][j % 4u], j >= 4u));
            }
        }
    }
}
