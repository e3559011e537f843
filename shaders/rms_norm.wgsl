// out[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * weight. One workgroup per row; neighbouring invocations read
// neighbouring columns, with QUADS four at once.
//
// With SUBGROUPS, for CPU adapters, a workgroup is four invocations, the lanes of one vector, which exchange their sums:
// no barrier, and no workgroup memory, which browsers clear first. Else the sums meet in workgroup memory, in two steps
// of STEP.
#import flat_index

#if QUADS
alias Columns = vec4<f32>;

fn square(values: Columns) -> f32 {
    return dot(values, values);
}
#else
alias Columns = f32;

fn square(values: Columns) -> f32 {
    return values * values;
}
#endif

@group(0) @binding(0) var<storage, read_write> x: array<Columns>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<Columns>; // [cols]
@group(0) @binding(2) var<storage, read_write> out: array<Columns>; // [n, cols]

#if SUBGROUPS
const LANES: u32 = 4u;

fn sum_of_all(lane: u32, value: f32) -> f32 {
    let pair = value + quadSwapX(value);
    return pair + quadSwapY(pair);
}
#else
const LANES: u32 = STEP * STEP;

var<workgroup> partials: array<f32, LANES>;

fn sum_of_all(lane: u32, value: f32) -> f32 {
    partials[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    if (lane < STEP) {
        for (var i = lane; i < LANES; i += STEP) {
            sum += partials[i];
        }
        partials[lane] = sum;
    }
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < STEP; i++) {
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
    let count = dims.cols / WIDTH;
    let base = row * count;
    var squares = 0.0;
    for (var at = lane; at < count; at += LANES) {
        squares += square(x[base + at]);
    }
    let scale = 1.0 / sqrt(sum_of_all(lane, squares) / f32(dims.cols) + dims.eps);
    for (var at = lane; at < count; at += LANES) {
        out[base + at] = x[base + at] * scale * weight[at];
    }
}
