// state.position += by. One invocation; a launch, not a host write, so that it is ordered with the launches around it.

@group(0) @binding(0) var<storage, read_write> state: array<u32>; // [position, step, token, _]

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        state[0] += dims.by;
    }
}
