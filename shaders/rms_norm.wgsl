// out[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * weight. One workgroup per row; neighbouring invocations read
// neighbouring columns. Every invocation adds up all partial sums itself: 64 reads cost less than a second barrier.
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<f32>; // [cols]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n, cols]

var<workgroup> partials: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_index(workgroup, workgroups);
    if (row >= dims.n) {
        return;
    }
    let base = row * dims.cols;
    var squares = 0.0;
    for (var col = lane; col < dims.cols; col += 64u) {
        let value = x[base + col];
        squares += value * value;
    }
    partials[lane] = squares;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 64u; i++) {
        total += partials[i];
    }
    let scale = 1.0 / sqrt(total / f32(dims.cols) + dims.eps);
    for (var col = lane; col < dims.cols; col += 64u) {
        out[base + col] = x[base + col] * scale * weight[col];
    }
}
