// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i (or over all positions if
// FULL), h' the head that shares its keys and values with h.
//
// Workgroup: QUERIES queries of one head, LANES = 64 / QUERIES invocations each, over tiles of KEYS keys. Within a tile
// each invocation first scores KEYS / LANES keys for its query, then, after a barrier, adds up the values of all keys
// of the tile for HEAD_QUADS / LANES quads of columns. The softmax is online: sums are rescaled when a tile raises the
// maximum. Keys and values are read from the buffers, not staged: all queries of the workgroup read the same rows at
// the same time. Tiles no query may see are skipped.
#import flat_index

#if FULL
@group(0) @binding(0) var<storage, read_write> qkv: array<vec4<f32>>; // [n, 3, heads, HEAD_QUADS]
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, HEAD_QUADS]

fn query4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return qkv[(row * 3u * dims.heads + head) * HEAD_QUADS + quad];
}

fn key4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return qkv[((row * 3u + 1u) * dims.heads + head) * HEAD_QUADS + quad];
}

fn value4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return qkv[((row * 3u + 2u) * dims.heads + head) * HEAD_QUADS + quad];
}
#else
@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>; // [n, heads, HEAD_QUADS]
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>; // [capacity, kv_heads, HEAD_QUADS]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>; // [capacity, kv_heads, HEAD_QUADS]
@group(0) @binding(3) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, HEAD_QUADS]

var<workgroup> shared_position: u32;

fn query4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return q[(row * dims.heads + head) * HEAD_QUADS + quad];
}

fn key4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return k[(row * dims.kv_heads + head) * HEAD_QUADS + quad];
}

fn value4(row: u32, head: u32, quad: u32) -> vec4<f32> {
    return v[(row * dims.kv_heads + head) * HEAD_QUADS + quad];
}
#endif

const LOWEST: f32 = -3.0e38;

var<workgroup> query_tile: array<vec4<f32>, QUERIES * HEAD_QUADS>;
var<workgroup> scores: array<f32, QUERIES * KEYS>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (dims.n + QUERIES - 1u) / QUERIES;
    let group = flat_index(workgroup, workgroups);
    if (group >= tiles * dims.heads) {
        return;
    }
    let head = group / tiles;
    let first = group % tiles * QUERIES;
    let query = lane / LANES;
    let part = lane % LANES;
    let at = first + query;

#if FULL
    let kv_head = head;
    let end = dims.n;
    let my_end = dims.n;
#else
    // The position comes from a buffer; only this way do all invocations provably agree on it, as a barrier in a loop
    // demands.
    if (lane == 0u) {
        shared_position = state[0];
    }
    let position = workgroupUniformLoad(&shared_position);
    let kv_head = head / (dims.heads / dims.kv_heads);
    let end = min(position + min(first + QUERIES, dims.n), dims.capacity);
    let my_end = min(position + at + 1u, end);
#endif

    for (var i = lane; i < QUERIES * HEAD_QUADS; i += 64u) {
        var value = vec4<f32>();
        if (first + i / HEAD_QUADS < dims.n) {
            value = query4(first + i / HEAD_QUADS, head, i % HEAD_QUADS) * dims.scale;
        }
        query_tile[i] = value;
    }
    workgroupBarrier();

    // Of the columns this invocation adds up: quads part, part + LANES, ...
#repeat i OWN_QUADS
    var sum$i = vec4<f32>();
#end
    var top = LOWEST;
    var total = 0.0;
    for (var base = 0u; base < end; base += KEYS) {
        for (var j = part; j < KEYS; j += LANES) {
            if (base + j < my_end) {
                var products = vec4<f32>();
                for (var quad = 0u; quad < HEAD_QUADS; quad++) {
                    products += query_tile[query * HEAD_QUADS + quad] * key4(base + j, kv_head, quad);
                }
                scores[query * KEYS + j] = dot(products, vec4<f32>(1.0));
            }
        }
        workgroupBarrier();
        var visible = 0u;
        if (my_end > base) {
            visible = min(my_end - base, KEYS);
        }
        var new_top = top;
        for (var j = 0u; j < visible; j++) {
            new_top = max(new_top, scores[query * KEYS + j]);
        }
        let shrink = exp(top - new_top);
        top = new_top;
        total *= shrink;
#repeat i OWN_QUADS
        sum$i *= shrink;
#end
        for (var j = 0u; j < visible; j++) {
            let weight = exp(scores[query * KEYS + j] - top);
            total += weight;
#repeat i OWN_QUADS
            if ($iu * LANES + part < HEAD_QUADS) {
                sum$i += weight * value4(base + j, kv_head, $iu * LANES + part);
            }
#end
        }
        workgroupBarrier();
    }

    if (at < dims.n) {
#repeat i OWN_QUADS
        if ($iu * LANES + part < HEAD_QUADS) {
            out[(at * dims.heads + head) * HEAD_QUADS + $iu * LANES + part] = sum$i / total;
        }
#end
    }
}
