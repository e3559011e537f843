// What attention reads, one 32-bit word at a time, for CPU adapters. A head's elements j and j + HALF_HEAD come in
// pairs, because an f16 cache keeps them in one word: query_pair, key_pair and value_pair (start, j) with the start that
// query_row, key_row or value_row gave for a row and a head.
#if FULL
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>; // [n, 3, heads, HEAD_DIM]
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [n, heads, HEAD_DIM]

fn query_row(row: u32, head: u32) -> u32 {
    return (row * 3u * dims.heads + head) * HEAD_DIM;
}

fn key_row(row: u32, head: u32) -> u32 {
    return ((row * 3u + 1u) * dims.heads + head) * HEAD_DIM;
}

fn value_row(row: u32, head: u32) -> u32 {
    return ((row * 3u + 2u) * dims.heads + head) * HEAD_DIM;
}

fn query_pair(start: u32, j: u32) -> vec2<f32> {
    return vec2<f32>(qkv[start + j], qkv[start + HALF_HEAD + j]);
}

fn key_pair(start: u32, j: u32) -> vec2<f32> {
    return query_pair(start, j);
}

fn value_pair(start: u32, j: u32) -> vec2<f32> {
    return query_pair(start, j);
}
#else
@group(0) @binding(0) var<storage, read_write> q: array<f32>; // [n, heads, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [n, heads, HEAD_DIM]

fn query_row(row: u32, head: u32) -> u32 {
    return (row * dims.heads + head) * HEAD_DIM;
}

fn query_pair(start: u32, j: u32) -> vec2<f32> {
    return vec2<f32>(q[start + j], q[start + HALF_HEAD + j]);
}

#if KV_F16
@group(0) @binding(1) var<storage, read_write> k: array<u32>; // [capacity, kv_heads, HALF_HEAD], two f16 a word
@group(0) @binding(2) var<storage, read_write> v: array<u32>; // [capacity, kv_heads, HALF_HEAD], two f16 a word

fn key_row(row: u32, head: u32) -> u32 {
    return (row * dims.kv_heads + head) * HALF_HEAD;
}

fn key_pair(start: u32, j: u32) -> vec2<f32> {
    return unpack2x16float(k[start + j]);
}

fn value_pair(start: u32, j: u32) -> vec2<f32> {
    return unpack2x16float(v[start + j]);
}
#else
@group(0) @binding(1) var<storage, read_write> k: array<f32>; // [capacity, kv_heads, HEAD_DIM]
@group(0) @binding(2) var<storage, read_write> v: array<f32>; // [capacity, kv_heads, HEAD_DIM]

fn key_row(row: u32, head: u32) -> u32 {
    return (row * dims.kv_heads + head) * HEAD_DIM;
}

fn key_pair(start: u32, j: u32) -> vec2<f32> {
    return vec2<f32>(k[start + j], k[start + HALF_HEAD + j]);
}

fn value_pair(start: u32, j: u32) -> vec2<f32> {
    return vec2<f32>(v[start + j], v[start + HALF_HEAD + j]);
}
#endif

fn value_row(row: u32, head: u32) -> u32 {
    return key_row(row, head);
}
#endif
