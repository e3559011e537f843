// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i (or over all positions if
// FULL), h' the head that shares its keys and values with h, for many queries i.
//
// For CPU adapters, where four neighbouring invocations are one SIMD register and a load costs more than a
// multiplication: an invocation has four queries, the components of its vectors, a quartet of invocations 16
// neighbouring queries of one head, and goes over the keys KEYS at a time. All four read the same word of a key or a
// value, which then serves four queries each. Queries and sums lie in `scratch`, an invocation's four beside its
// neighbour's (private arrays of that size take some drivers a minute to compile). The softmax is online and everything
// of a query stays in its invocation: no barriers. Keys that no query of the quartet may see are skipped.
#import flat_index
#import attention_words

const LOWEST: f32 = -3.0e38;

#if FULL
@group(0) @binding(2) var<storage, read_write> scratch: array<vec4<f32>>; // [tiles, 2, HEAD_DIM, 4]: queries, sums
#else
@group(0) @binding(5) var<storage, read_write> scratch: array<vec4<f32>>; // [tiles, 2, HEAD_DIM, 4]: queries, sums
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // A quartet takes a tile of 16 queries; dims.tiles of the 16 quartets have one.
    let head_tiles = (dims.n + 15u) / 16u;
    let tile = flat_index(workgroup, workgroups) * dims.tiles + lane / 4u;
    if (lane / 4u >= dims.tiles || tile >= head_tiles * dims.heads) {
        return;
    }
    let head = tile / head_tiles;
    let first = tile % head_tiles * 16u;
    let rows = vec4<u32>(0u, 4u, 8u, 12u) + first + lane % 4u;
#if FULL
    let kv_head = head;
    let end = dims.n;
    let last = vec4<u32>(dims.n - 1u);
#else
    let kv_head = head / (dims.heads / dims.kv_heads);
    let position = state[0];
    let end = min(position + min(first + 16u, dims.n), dims.capacity);
    let last = min(rows + position, vec4<u32>(end - 1u));
#endif

    let queries = tile * 2u * HEAD_DIM * 4u + lane % 4u;
    let sums = queries + HEAD_DIM * 4u;
#repeat i 4
    let query$i = query_row(min(rows[$i], dims.n - 1u), head);
#end
    for (var j = 0u; j < HALF_HEAD; j++) {
#repeat i 4
        let x$i = query_pair(query$i, j) * dims.scale;
#end
        scratch[queries + j * 4u] = vec4<f32>(x0.x, x1.x, x2.x, x3.x);
        scratch[queries + (j + HALF_HEAD) * 4u] = vec4<f32>(x0.y, x1.y, x2.y, x3.y);
        scratch[sums + j * 4u] = vec4<f32>();
        scratch[sums + (j + HALF_HEAD) * 4u] = vec4<f32>();
    }

    var top = vec4<f32>(LOWEST);
    var total = vec4<f32>();
    for (var base = 0u; base < end; base += KEYS) {
#repeat c KEYS
        let key_start$c = key_row(min(base + $cu, end - 1u), kv_head);
        var score$c = vec4<f32>();
#end
        for (var j = 0u; j < HALF_HEAD; j++) {
            let x = scratch[queries + j * 4u];
            let y = scratch[queries + (j + HALF_HEAD) * 4u];
#repeat c KEYS
            let key$c = key_pair(key_start$c, j);
            score$c += x * key$c.x + y * key$c.y;
#end
        }
        var new_top = top;
#repeat c KEYS
        score$c = select(vec4<f32>(LOWEST), score$c, vec4<u32>(base + $cu) <= last);
        new_top = max(new_top, score$c);
#end
        let shrink = exp(top - new_top);
        top = new_top;
        total *= shrink;
#repeat c KEYS
        let weight$c = exp(score$c - top);
        let value_start$c = value_row(min(base + $cu, end - 1u), kv_head);
        total += weight$c;
#end
        for (var j = 0u; j < HALF_HEAD; j++) {
            var sum_x = scratch[sums + j * 4u] * shrink;
            var sum_y = scratch[sums + (j + HALF_HEAD) * 4u] * shrink;
#repeat c KEYS
            let value$c = value_pair(value_start$c, j);
            sum_x += weight$c * value$c.x;
            sum_y += weight$c * value$c.y;
#end
            scratch[sums + j * 4u] = sum_x;
            scratch[sums + (j + HALF_HEAD) * 4u] = sum_y;
        }
    }

    let share = 1.0 / total;
    for (var j = 0u; j < HALF_HEAD; j++) {
        let sum_x = scratch[sums + j * 4u] * share;
        let sum_y = scratch[sums + (j + HALF_HEAD) * 4u] * share;
#repeat i 4
        if (rows[$i] < dims.n) {
            let to = (rows[$i] * dims.heads + head) * HEAD_DIM + j;
            out[to] = sum_x[$i];
            out[to + HALF_HEAD] = sum_y[$i];
        }
#end
    }
}
