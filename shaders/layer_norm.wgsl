// out[i, :] = (x[i, :] - mean) / sqrt(var + eps) * weight + bias, var the mean squared distance from the mean. One
// workgroup per row; two passes, for the one-pass formula loses the variance of rows far from zero.
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<f32>; // [cols]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>; // [cols]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [n, cols]

var<workgroup> sums: array<f32, 64>;
var<workgroup> squares: array<f32, 64>;

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
    var sum = 0.0;
    for (var col = lane; col < dims.cols; col += 64u) {
        sum += x[base + col];
    }
    sums[lane] = sum;
    workgroupBarrier();
    var mean = 0.0;
    for (var i = 0u; i < 64u; i++) {
        mean += sums[i];
    }
    mean /= f32(dims.cols);

    var square = 0.0;
    for (var col = lane; col < dims.cols; col += 64u) {
        let distance = x[base + col] - mean;
        square += distance * distance;
    }
    squares[lane] = square;
    workgroupBarrier();
    var variance = 0.0;
    for (var i = 0u; i < 64u; i++) {
        variance += squares[i];
    }
    let scale = 1.0 / sqrt(variance / f32(dims.cols) + dims.eps);
    for (var col = lane; col < dims.cols; col += 64u) {
        out[base + col] = (x[base + col] - mean) * scale * weight[col] + bias[col];
    }
}
