// out[i, j] = silu(gate[i, j]) * up[i, j], silu(x) = x / (1 + exp(-x)). One invocation per element; neighbours read
// neighbours.
#import flat_index

@group(0) @binding(0) var<storage, read_write> gate_up: array<f32>; // [n, 2 * ffn]
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [n, ffn]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    if (index >= dims.len) {
        return;
    }
    let at = index / dims.ffn * 2u * dims.ffn + index % dims.ffn;
    let gate = gate_up[at];
    out[index] = gate / (1.0 + exp(-gate)) * gate_up[at + dims.ffn];
}
