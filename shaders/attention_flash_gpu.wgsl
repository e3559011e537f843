// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i (or over all positions if
// FULL), h' the head that shares its keys and values with h, for many queries i.
//
// For GPUs. Workgroup: 16 * QUERIES queries of one head, over tiles of 32 keys. Invocation (y, x) of 16 x 8, lane 8 * y + x, has QUERIES of
// them from QUERIES * y on: of a tile it computes their scores with keys x, x + 8, x + 16, x + 24, then adds to the quads of columns x of
// each chunk, all in registers, so that a quad from workgroup memory serves QUERIES queries or four keys. Queries, keys
// and values pass through workgroup memory in chunks of eight quads of columns, read from the buffers in runs of
// neighbouring quads; a ninth quad in each row keeps neighbours in different banks. The softmax is online: sums are
// rescaled when a tile raises the maximum. Tiles no query may see are skipped.
//
// What follows from `lane` is worked out where it is needed: kept through the loops, it takes registers that sums need.
#import flat_index
#import attention_quads

const LOWEST: f32 = -3.0e38;
const STRIDE: u32 = 9u;
const TILE: u32 = 16u * QUERIES; // queries

// Vectors first: behind a single word they would not be aligned, and read word by word.
var<workgroup> left: array<vec4<f32>, TILE * STRIDE>; // a chunk of the queries; then [query, x]: weights of x's keys
var<workgroup> right: array<vec4<f32>, 32 * STRIDE>; // a chunk of the keys or the values
var<workgroup> exchange: array<u32, TILE * 8u>; // [query, x], floats as they are stored; before that the position

// Where `exchange` has what invocation x has of a query: of eight queries each begins in another bank.
fn exchanged(query: u32, x: u32) -> u32 {
    return query * 8u + (x ^ (query % 8u));
}

// Of a chunk an invocation fetches a pair of quads of one query or key: where the first of them is kept, the other four quads on.
fn fetched_at(lane: u32) -> u32 {
    return lane / 4u * STRIDE + lane % 4u;
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (dims.n + TILE - 1u) / TILE;
    let group = flat_index(workgroup, workgroups);
    if (group >= tiles * dims.heads) {
        return;
    }
    let head = group / tiles;
    let first = group % tiles * TILE;

#if FULL
    let kv_head = head;
    let end = dims.n;
#else
    // The position comes from a buffer; only this way do all invocations provably agree on it, as a barrier in a loop
    // demands.
    if (lane == 0u) {
        exchange[0] = state[0];
    }
    let position = workgroupUniformLoad(&exchange[0]);
    let kv_head = head / (dims.heads / dims.kv_heads);
    let end = min(position + min(first + TILE, dims.n), dims.capacity);
#endif

#repeat r QUERIES
    var top$r = LOWEST;
    var total$r = 0.0;
#repeat c CHUNKS
    var sum$r_$c = vec4<f32>();
#end
#end
    for (var base = 0u; base < end; base += 32u) {
#repeat r QUERIES
        var score$r = vec4<f32>();
#end
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            workgroupBarrier();
            let fetched = fetched_at(lane);
            var query = Pair();
            var key = Pair();
            if (chunk * 4u + lane % 4u < PAIRS) {
                query = query_pair(query_row(min(first + lane / 4u, dims.n - 1u), head), chunk * 4u + lane % 4u);
                key = key_pair(key_row(min(base + lane / 4u, end - 1u), kv_head), chunk * 4u + lane % 4u);
            }
            if (lane / 4u < TILE) {
                left[fetched] = query.a;
                left[fetched + 4u] = query.b;
            }
            right[fetched] = key.a;
            right[fetched + 4u] = key.b;
            workgroupBarrier();
            // No constant bounds, here and to the last key: written out the loops need more registers than there are.
            let query_start = lane / 8u * QUERIES * STRIDE;
            let x = lane % 8u;
            for (var at = query_start; at < query_start + 8u; at++) {
#repeat c 4
                let key$c = right[at - query_start + (x + $cu * 8u) * STRIDE];
#end
#repeat r QUERIES
                let query$r = left[at + $ru * STRIDE];
                score$r += vec4<f32>(dot(query$r, key0), dot(query$r, key1), dot(query$r, key2), dot(query$r, key3));
#end
            }
        }

        let y = lane / 8u;
        let x = lane % 8u;
        let keys = vec4<u32>(0u, 8u, 16u, 24u) + base + x;
#repeat r QUERIES
#if FULL
        let last$r = end - 1u;
#else
        let last$r = min(first + y * QUERIES + $ru + position, end - 1u);
#endif
        score$r = select(vec4<f32>(LOWEST), score$r * dims.scale, keys <= vec4<u32>(last$r));
        let highest$r = max(max(score$r.x, score$r.y), max(score$r.z, score$r.w));
        exchange[exchanged(y * QUERIES + $ru, x)] = bitcast<u32>(highest$r);
#end
        workgroupBarrier();
#repeat r QUERIES
        var new_top$r = top$r;
        for (var i = 0u; i < 8u; i++) {
            new_top$r = max(new_top$r, bitcast<f32>(exchange[exchanged(y * QUERIES + $ru, i)]));
        }
        let shrink$r = exp(top$r - new_top$r);
        top$r = new_top$r;
        let weights$r = exp(score$r - top$r);
        total$r = total$r * shrink$r + dot(weights$r, vec4<f32>(1.0));
        left[(y * QUERIES + $ru) * STRIDE + x] = weights$r;
#repeat c CHUNKS
        sum$r_$c *= shrink$r;
#end
#end

#repeat c CHUNKS
        workgroupBarrier();
        let fetched$c = fetched_at(lane);
        var value$c = Pair();
        if ($cu * 4u + lane % 4u < PAIRS) {
            value$c = value_pair(value_row(min(base + lane / 4u, end - 1u), kv_head), $cu * 4u + lane % 4u);
        }
        right[fetched$c] = value$c.a;
        right[fetched$c + 4u] = value$c.b;
        workgroupBarrier();
        for (var key = 0u; key < min(8u, end - base); key++) {
#repeat j 4
            let of_key$j = right[(key + $ju * 8u) * STRIDE + x];
#end
#repeat r QUERIES
            let weight$r = left[(y * QUERIES + $ru) * STRIDE + key];
            sum$r_$c += weight$r.x * of_key0;
            sum$r_$c += weight$r.y * of_key1;
            sum$r_$c += weight$r.z * of_key2;
            sum$r_$c += weight$r.w * of_key3;
#end
        }
#end
    }

    workgroupBarrier();
    let y = lane / 8u;
    let x = lane % 8u;
#repeat r QUERIES
    exchange[exchanged(y * QUERIES + $ru, x)] = bitcast<u32>(total$r);
#end
    workgroupBarrier();
    // Quad x of a chunk is the first of a pair for x < 4, else the second.
    let pair = x % 4u;
    let offset = x / 4u * PAIRS;
#repeat r QUERIES
    var whole$r = 0.0;
    for (var i = 0u; i < 8u; i++) {
        whole$r += bitcast<f32>(exchange[exchanged(y * QUERIES + $ru, i)]);
    }
    let row$r = first + y * QUERIES + $ru;
    if (row$r < dims.n) {
        let to = (row$r * dims.heads + head) * QUADS;
#repeat c CHUNKS
        if ($cu * 4u + pair < PAIRS && $cu * 4u + pair + offset < QUADS) {
            out[to + $cu * 4u + pair + offset] = sum$r_$c / whole$r;
        }
#end
    }
#end
}
