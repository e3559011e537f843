// out[i, :] = weight[ids[first + i] - start, :], dequantized, or zeros where there is no such row. One invocation per four
// columns.
#import flat_index

@group(0) @binding(0) var<storage, read_write> ids: array<u32>; // [first + n]
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n, cols]
#import weight

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quads = (dims.cols + 3u) / 4u;
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    if (index >= dims.n * quads) {
        return;
    }
    let row = index / quads;
    let quad = index % quads;
    let id = ids[dims.first + row] - dims.start; // far beyond the rows where it would be negative
    var values = vec4<f32>();
    if (id < dims.rows) {
        values = weight4(id, quad);
    }
    for (var i = 0u; i < 4u; i++) {
        let col = quad * 4u + i;
        if (col < dims.cols) {
            out[row * dims.cols + col] = values[i];
        }
    }
}
