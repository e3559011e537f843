// (a, b) -> (a cos - b sin, b cos + a sin), a in the first and b in the second half of a head, for q and k; v
// unchanged. k and v go to row `position + i` of the caches. One invocation per pair: neighbours read and write
// neighbours.
#import flat_index

@group(0) @binding(0) var<storage, read_write> qkv: array<f32>; // [n, (heads + 2 * kv_heads) * head_dim]
@group(0) @binding(1) var<storage, read_write> rope: array<f32>; // [capacity, head_dim]: cosines, then sines
@group(0) @binding(2) var<storage, read_write> k: array<f32>; // [capacity, kv_heads * head_dim]
@group(0) @binding(3) var<storage, read_write> v: array<f32>; // [capacity, kv_heads * head_dim]
@group(0) @binding(4) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [n, heads * head_dim]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let half = dims.head_dim / 2u;
    let pairs = (dims.heads + 2u * dims.kv_heads) * half;
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    if (index >= dims.n * pairs) {
        return;
    }
    let row = index / pairs;
    let pair = index % pairs;
    let head = pair / half;
    let j = pair % half;
    let start = row * pairs * 2u + head * dims.head_dim + j;
    var a = qkv[start];
    var b = qkv[start + half];

    let position = state[0] + row;
    let inside = position < dims.capacity;
    if (head < dims.heads + dims.kv_heads) {
        // Past the capacity there is no angle: zeros, which nobody may use.
        var cosine = 0.0;
        var sine = 0.0;
        if (inside) {
            cosine = rope[position * dims.head_dim + j];
            sine = rope[position * dims.head_dim + half + j];
        }
        let turned = a * cosine - b * sine;
        b = b * cosine + a * sine;
        a = turned;
    }
    if (head < dims.heads) {
        let to = (row * dims.heads + head) * dims.head_dim + j;
        out[to] = a;
        out[to + half] = b;
    } else if (inside) {
        let kv_head = (head - dims.heads) % dims.kv_heads;
        let to = (position * dims.kv_heads + kv_head) * dims.head_dim + j;
        if (head < dims.heads + dims.kv_heads) {
            k[to] = a;
            k[to + half] = b;
        } else {
            v[to] = a;
            v[to + half] = b;
        }
    }
}
