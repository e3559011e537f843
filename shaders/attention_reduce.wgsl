// Merges the partial softmaxes of attention_decode: out[i, h] = sum over splits s of sum[s] * e[s] / sum over s of
// total[s] * e[s], e[s] = exp(top[s] - the largest top). Splits that had no positions were not written and are not read.
//
// One invocation for four columns of a head, for GPUs and CPU adapters alike: neighbours read neighbouring quads, and
// there is too little of it for anything more.
#import flat_index
#import attention_split

@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>; // [n, heads, splits, quads + 1]: sum; top, total
@group(0) @binding(1) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, quads]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    let item = index / dims.quads;
    let quad = index % dims.quads;
    if (item >= dims.n * dims.heads) {
        return;
    }
    let visible = min(state[0] + item / dims.heads + 1u, dims.capacity);
    let length = split_length(visible);
    let used = (visible + length - 1u) / length;
    let stride = dims.quads + 1u;
    let first = item * dims.splits * stride;

    var top = partials[first + dims.quads].x;
    for (var split = 1u; split < used; split++) {
        top = max(top, partials[first + split * stride + dims.quads].x);
    }
    var sum = vec4<f32>();
    var total = 0.0;
    for (var split = 0u; split < used; split++) {
        let start = first + split * stride;
        let partial = partials[start + dims.quads];
        let share = exp(partial.x - top);
        sum += partials[start + quad] * share;
        total += partial.y * share;
    }
    out[index] = sum / total;
}
