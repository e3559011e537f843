// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i (or over all positions if
// FULL), h' the head that shares its keys and values with h, for many queries i.
//
// For GPUs. Workgroup: 32 queries of one head, over tiles of 32 keys. Invocation (y, x) of 8 x 8 has queries 4 y .. 4 y
// + 3: of a tile it computes their scores with keys x, x + 8, x + 16, x + 24, then adds to the quads of columns x of
// each chunk, all in registers, so that a quad from workgroup memory serves four queries or four keys. Queries, keys
// and values pass through workgroup memory in chunks of eight quads of columns, read from the buffers in runs of
// neighbouring quads; a ninth quad in each row keeps neighbours in different banks. The softmax is online: sums are
// rescaled when a tile raises the maximum. Tiles no query may see are skipped.
#import flat_index
#import attention_quads

const LOWEST: f32 = -3.0e38;
const STRIDE: u32 = 9u;

#if FULL
#else
var<workgroup> shared_position: u32;
#endif
var<workgroup> left: array<vec4<f32>, 32 * STRIDE>; // a chunk of the queries; then [query, x]: weights of x's keys
var<workgroup> right: array<vec4<f32>, 32 * STRIDE>; // a chunk of the keys or the values
var<workgroup> exchange: array<f32, 32 * STRIDE>; // [query, x]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (dims.n + 31u) / 32u;
    let group = flat_index(workgroup, workgroups);
    if (group >= tiles * dims.heads) {
        return;
    }
    let head = group / tiles;
    let first = group % tiles * 32u;
    let y = lane / 8u;
    let x = lane % 8u;
    let rows = vec4<u32>(0u, 1u, 2u, 3u) + first + y * 4u;

#if FULL
    let kv_head = head;
    let end = dims.n;
    let last = vec4<u32>(dims.n - 1u);
#else
    // The position comes from a buffer; only this way do all invocations provably agree on it, as a barrier in a loop
    // demands.
    if (lane == 0u) {
        shared_position = state[0];
    }
    let position = workgroupUniformLoad(&shared_position);
    let kv_head = head / (dims.heads / dims.kv_heads);
    let end = min(position + min(first + 32u, dims.n), dims.capacity);
    let last = min(rows + position, vec4<u32>(end - 1u));
#endif

#repeat r 4
    var top$r = LOWEST;
    var total$r = 0.0;
#repeat c CHUNKS
    var sum$r_$c = vec4<f32>();
#end
#end
    for (var base = 0u; base < end; base += 32u) {
#repeat r 4
        var score$r = vec4<f32>();
#end
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            workgroupBarrier();
            for (var i = lane; i < 128u; i += 64u) {
                let at = i / 4u * STRIDE + i % 4u;
                var query = Pair();
                var key = Pair();
                if (chunk * 4u + i % 4u < PAIRS) {
                    query = query_pair(query_row(min(first + i / 4u, dims.n - 1u), head), chunk * 4u + i % 4u);
                    key = key_pair(key_row(min(base + i / 4u, end - 1u), kv_head), chunk * 4u + i % 4u);
                }
                left[at] = query.a;
                left[at + 4u] = query.b;
                right[at] = key.a;
                right[at + 4u] = key.b;
            }
            workgroupBarrier();
            for (var quad = 0u; quad < 8u; quad++) {
#repeat c 4
                let key$c = right[(x + $cu * 8u) * STRIDE + quad];
#end
#repeat r 4
                let query$r = left[(y * 4u + $ru) * STRIDE + quad];
                score$r += vec4<f32>(dot(query$r, key0), dot(query$r, key1), dot(query$r, key2), dot(query$r, key3));
#end
            }
        }

        let keys = vec4<u32>(0u, 8u, 16u, 24u) + base + x;
#repeat r 4
        score$r = select(vec4<f32>(LOWEST), score$r * dims.scale, keys <= vec4<u32>(last[$r]));
        exchange[(y * 4u + $ru) * STRIDE + x] = max(max(score$r.x, score$r.y), max(score$r.z, score$r.w));
#end
        workgroupBarrier();
#repeat r 4
        var new_top$r = top$r;
        for (var i = 0u; i < 8u; i++) {
            new_top$r = max(new_top$r, exchange[(y * 4u + $ru) * STRIDE + i]);
        }
        let shrink$r = exp(top$r - new_top$r);
        top$r = new_top$r;
        let weights$r = exp(score$r - top$r);
        total$r = total$r * shrink$r + dot(weights$r, vec4<f32>(1.0));
        left[(y * 4u + $ru) * STRIDE + x] = weights$r;
#repeat c CHUNKS
        sum$r_$c *= shrink$r;
#end
#end

#repeat c CHUNKS
        workgroupBarrier();
        for (var i = lane; i < 128u; i += 64u) {
            var value = Pair();
            if ($cu * 4u + i % 4u < PAIRS) {
                value = value_pair(value_row(min(base + i / 4u, end - 1u), kv_head), $cu * 4u + i % 4u);
            }
            right[i / 4u * STRIDE + i % 4u] = value.a;
            right[i / 4u * STRIDE + i % 4u + 4u] = value.b;
        }
        workgroupBarrier();
        for (var key = 0u; key < 8u; key++) {
#repeat j 4
            let value$j = right[(key + $ju * 8u) * STRIDE + x];
#end
#repeat r 4
            let weight$r = left[(y * 4u + $ru) * STRIDE + key];
            sum$r_$c += weight$r.x * value0 + weight$r.y * value1 + weight$r.z * value2 + weight$r.w * value3;
#end
        }
#end
    }

    workgroupBarrier();
#repeat r 4
    exchange[(y * 4u + $ru) * STRIDE + x] = total$r;
#end
    workgroupBarrier();
    // Quad x of a chunk is the first of a pair for x < 4, else the second.
    let pair = x % 4u;
    let offset = x / 4u * PAIRS;
#repeat r 4
    var whole$r = 0.0;
    for (var i = 0u; i < 8u; i++) {
        whole$r += exchange[(y * 4u + $ru) * STRIDE + i];
    }
    if (rows[$r] < dims.n) {
        let to = (rows[$r] * dims.heads + head) * QUADS;
#repeat c CHUNKS
        if ($cu * 4u + pair < PAIRS && $cu * 4u + pair + offset < QUADS) {
            out[to + $cu * 4u + pair + offset] = sum$r_$c / whole$r;
        }
#end
    }
#end
}
