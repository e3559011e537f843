// out[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * weight. One workgroup per row; neighbouring invocations read
// neighbouring columns.
//
// With SUBGROUPS, for CPU adapters, a workgroup is four invocations, the lanes of one vector, which exchange their sums:
// no barrier, and no workgroup memory, which browsers clear first. Else the sums meet in workgroup memory, in two steps
// of 8.
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<f32>; // [cols]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n, cols]

#if SUBGROUPS
const LANES: u32 = 4u;

fn sum_of_all(lane: u32, value: f32) -> f32 {
    let pair = value + quadSwapX(value);
    return pair + quadSwapY(pair);
}
#else
const LANES: u32 = 64u;

var<workgroup> partials: array<f32, 64>;

fn sum_of_all(lane: u32, value: f32) -> f32 {
    partials[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    if (lane < 8u) {
        for (var i = lane; i < 64u; i += 8u) {
            sum += partials[i];
        }
        partials[lane] = sum;
    }
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
        sum += partials[i];
    }
    return sum;
}
#endif

@compute @workgroup_size(LANES)
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
    for (var col = lane; col < dims.cols; col += LANES) {
        let value = x[base + col];
        squares += value * value;
    }
    let scale = 1.0 / sqrt(sum_of_all(lane, squares) / f32(dims.cols) + dims.eps);
    for (var col = lane; col < dims.cols; col += LANES) {
        out[base + col] = x[base + col] * scale * weight[col];
    }
}
