// What attention reads, four numbers at a time, for GPUs: neighbouring invocations read neighbouring quads. Quads j and
// j + PAIRS of a head come in pairs, because an f16 cache keeps their numbers in the same four words: query_pair,
// key_pair and value_pair (start, j) with the start that query_row, key_row or value_row gave for a row and a head. In a
// head with an odd number of quads the last pair's second one is zero. `out` is bound last.
struct Pair {
    a: vec4<f32>, // quad j
    b: vec4<f32>, // quad j + PAIRS
}

fn has_second(j: u32) -> bool {
#if ODD_QUADS
    return j + PAIRS < QUADS;
#else
    return true;
#endif
}

#if FULL
@group(0) @binding(0) var<storage, read_write> qkv: array<vec4<f32>>; // [n, 3, heads, QUADS]
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, QUADS]

fn query_row(row: u32, head: u32) -> u32 {
    return (row * 3u * dims.heads + head) * QUADS;
}

fn key_row(row: u32, head: u32) -> u32 {
    return ((row * 3u + 1u) * dims.heads + head) * QUADS;
}

fn value_row(row: u32, head: u32) -> u32 {
    return ((row * 3u + 2u) * dims.heads + head) * QUADS;
}

fn query_pair(start: u32, j: u32) -> Pair {
    var pair = Pair(qkv[start + j], vec4<f32>());
    if (has_second(j)) {
        pair.b = qkv[start + j + PAIRS];
    }
    return pair;
}

fn key_pair(start: u32, j: u32) -> Pair {
    return query_pair(start, j);
}

fn value_pair(start: u32, j: u32) -> Pair {
    return query_pair(start, j);
}
#else
@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>; // [n, heads, QUADS]
@group(0) @binding(3) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, QUADS]

fn query_row(row: u32, head: u32) -> u32 {
    return (row * dims.heads + head) * QUADS;
}

fn query_pair(start: u32, j: u32) -> Pair {
    var pair = Pair(q[start + j], vec4<f32>());
    if (has_second(j)) {
        pair.b = q[start + j + PAIRS];
    }
    return pair;
}

#if KV_F16
@group(0) @binding(1) var<storage, read_write> k: array<vec4<u32>>; // [capacity, kv_heads, PAIRS], two f16 a word
@group(0) @binding(2) var<storage, read_write> v: array<vec4<u32>>; // [capacity, kv_heads, PAIRS], two f16 a word

fn key_row(row: u32, head: u32) -> u32 {
    return (row * dims.kv_heads + head) * PAIRS;
}

fn unpacked(words: vec4<u32>) -> Pair {
    let x = unpack2x16float(words.x);
    let y = unpack2x16float(words.y);
    let z = unpack2x16float(words.z);
    let w = unpack2x16float(words.w);
    return Pair(vec4<f32>(x.x, y.x, z.x, w.x), vec4<f32>(x.y, y.y, z.y, w.y));
}

fn key_pair(start: u32, j: u32) -> Pair {
    return unpacked(k[start + j]);
}

fn value_pair(start: u32, j: u32) -> Pair {
    return unpacked(v[start + j]);
}
#else
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>; // [capacity, kv_heads, QUADS]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>; // [capacity, kv_heads, QUADS]

fn key_row(row: u32, head: u32) -> u32 {
    return (row * dims.kv_heads + head) * QUADS;
}

fn key_pair(start: u32, j: u32) -> Pair {
    var pair = Pair(k[start + j], vec4<f32>());
    if (has_second(j)) {
        pair.b = k[start + j + PAIRS];
    }
    return pair;
}

fn value_pair(start: u32, j: u32) -> Pair {
    var pair = Pair(v[start + j], vec4<f32>());
    if (has_second(j)) {
        pair.b = v[start + j + PAIRS];
    }
    return pair;
}
#endif

fn value_row(row: u32, head: u32) -> u32 {
    return key_row(row, head);
}
#endif
