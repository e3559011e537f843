// The rows are all of q, then k, then v, in heads of twice `dims.distance`. A pair is the same element of a head's two
// halves: (a, b) -> (a cos - b sin, b cos + a sin) for q and k; v as it is. q goes to `out`, k and v go to row `position
// + at` of the caches; what lies past their capacity is dropped.
@group(0) @binding(4) var<storage, read_write> rope: array<f32>; // [capacity, head]: cosines, then sines
#if KV_F16
@group(0) @binding(5) var<storage, read_write> k: array<u32>; // [capacity, kv_heads, half a head] as f16 pairs
@group(0) @binding(6) var<storage, read_write> v: array<u32>;
#else
@group(0) @binding(5) var<storage, read_write> k: array<f32>; // [capacity, kv_heads, head]
@group(0) @binding(6) var<storage, read_write> v: array<f32>;
#endif
@group(0) @binding(7) var<storage, read_write> state: array<u32>; // [position, step, token, _]

fn finish(at: u32, pair: u32, sums: vec2<f32>) {
    let half = dims.distance;
    let head = pair / half;
    let j = pair % half;
    let row = head * 2u * half + j;
    let a = biased(row, sums.x);
    let b = biased(row + half, sums.y);
    let position = state[0] + at;
    // Past the capacity there is no angle: zeros, which nobody may use.
    var turned = vec2<f32>();
    if (position < dims.capacity) {
        let cosine = rope[position * 2u * half + j];
        let sine = rope[position * 2u * half + half + j];
        turned = vec2<f32>(a * cosine - b * sine, b * cosine + a * sine);
    }
    if (head < dims.heads) {
        let to = (at * dims.heads + head) * 2u * half + j;
        out[to] = turned.x;
        out[to + half] = turned.y;
    } else if (position < dims.capacity) {
        let kv_head = (head - dims.heads) % dims.kv_heads;
        let is_key = head < dims.heads + dims.kv_heads;
        let values = select(vec2<f32>(a, b), turned, is_key);
#if KV_F16
        let to = (position * dims.kv_heads + kv_head) * half + j;
        if (is_key) {
            k[to] = pack2x16float(values);
        } else {
            v[to] = pack2x16float(values);
        }
#else
        let to = (position * dims.kv_heads + kv_head) * 2u * half + j;
        if (is_key) {
            k[to] = values.x;
            k[to + half] = values.y;
        } else {
            v[to] = values.x;
            v[to + half] = values.y;
        }
#endif
    }
}
