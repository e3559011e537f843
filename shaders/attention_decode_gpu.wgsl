// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i, h' the head that shares its
// keys and values with h, for few queries i: every key and value is read once, and reading it is the cost.
//
// For GPUs. Workgroup: one query, HEADS heads that share a key/value head (so that they share the reading), one run of
// positions (so that there are workgroups enough), in tiles of 8 * KEYS keys. Eight rows of eight invocations: a row has every
// eighth key of the tile and its invocations read neighbouring quads of it, 128 bytes at once; KEYS of them are under way
// at a time. The products of a row's invocations are added up through workgroup memory. Each row keeps a softmax of its
// own over its keys; the eight are merged at the end. Two barriers a tile.
#import flat_index
#import attention_quads
#if SPLIT
#import attention_split
#endif

const LOWEST: f32 = -3.0e38;
const TILE: u32 = 8u * KEYS;

// Vectors first: behind a single word they would not be aligned, and read word by word.
var<workgroup> queries: array<Pair, HEADS * PAIRS>;
var<workgroup> merged: array<vec4<f32>, 16 * PAIRS>; // [row, 2, PAIRS]
var<workgroup> products: array<f32, HEADS * TILE * 9>; // eight of a key; the ninth keeps neighbours in different banks
var<workgroup> scores: array<f32, HEADS * TILE>;
var<workgroup> tops: array<f32, HEADS * 8>;
var<workgroup> totals: array<f32, HEADS * 8>;
var<workgroup> shared_position: u32;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = flat_index(workgroup, workgroups);
#if SPLIT
    let item = group / dims.splits;
#else
    let item = group;
#endif
    let blocks = dims.heads / HEADS;
    if (item >= dims.n * blocks) {
        return;
    }
    let query_index = item / blocks;
    let head = item % blocks * HEADS;
    let kv_head = head / (dims.heads / dims.kv_heads);
    // The position comes from a buffer; only this way do all invocations provably agree on it, as a barrier in a loop
    // demands.
    if (lane == 0u) {
        shared_position = state[0];
    }
    let position = workgroupUniformLoad(&shared_position);
    let visible = min(position + query_index + 1u, dims.capacity);
#if SPLIT
    let length = split_length(visible);
    let begin = group % dims.splits * length;
    let end = min(begin + length, visible);
    if (begin >= end) {
        return;
    }
#else
    let begin = 0u;
    let end = visible;
#endif

    for (var i = lane; i < HEADS * PAIRS; i += 64u) {
        let pair = query_pair(query_row(query_index, head + i / PAIRS), i % PAIRS);
        queries[i] = Pair(pair.a * dims.scale, pair.b * dims.scale);
    }
    workgroupBarrier();

    let row = lane / 8u;
    let part = lane % 8u;
    var top: array<f32, HEADS>;
    var total: array<f32, HEADS>;
    var sum: array<Pair, HEADS * OWN>; // [HEADS, OWN]: pairs part, part + 8 of each head
#repeat g HEADS
    top[$g] = LOWEST;
#end
    for (var base = begin; base < end; base += TILE) {
        // Past the end the last key stands in.
#repeat u KEYS
        let key_start$u = key_row(min(base + $uu * 8u + row, end - 1u), kv_head);
#end
        // Named: in Chromium on SwiftShader an array declared in a loop is not zero again on the loop's second turn.
#repeat g HEADS
#repeat u KEYS
        var partial$g_$u = 0.0;
#end
#end
#repeat o OWN
        let own$o = min(part + $ou * 8u, PAIRS - 1u);
        let counts$o = part + $ou * 8u < PAIRS;
#end
#repeat o OWN
#repeat u KEYS
        let key$o_$u = key_pair(key_start$u, own$o);
#end
        if (counts$o) {
#repeat g HEADS
            let first$g = queries[$gu * PAIRS + own$o].a;
#repeat u KEYS
            partial$g_$u += dot(first$g, key$o_$u.a);
#end
            let second$g = queries[$gu * PAIRS + own$o].b;
#repeat u KEYS
            partial$g_$u += dot(second$g, key$o_$u.b);
#end
#end
        }
#end
#repeat g HEADS
#repeat u KEYS
        products[($gu * TILE + $uu * 8u + row) * 9u + part] = partial$g_$u;
#end
#end
        workgroupBarrier();

        for (var i = lane; i < HEADS * TILE; i += 64u) {
            var score = 0.0;
            for (var j = 0u; j < 8u; j++) {
                score += products[i * 9u + j];
            }
            scores[i] = select(LOWEST, score, base + i % TILE < end);
        }
        workgroupBarrier();

#repeat u KEYS
        let value_start$u = value_row(min(base + $uu * 8u + row, end - 1u), kv_head);
#end
        // A row whose first key lies past the end has no maximum yet: its weights are 0, not exp(0).
#repeat g HEADS
#repeat u KEYS
        let score$g_$u = scores[$gu * TILE + $uu * 8u + row];
#end
        var top$g = top[$g];
#repeat u KEYS
        top$g = max(top$g, score$g_$u);
#end
        let shrink$g = exp(top[$g] - top$g);
        top[$g] = top$g;
#repeat u KEYS
        let weight$g_$u = select(0.0, exp(score$g_$u - top$g), score$g_$u > LOWEST);
#end
        total[$g] *= shrink$g;
#repeat u KEYS
        total[$g] += weight$g_$u;
#end
#end
#repeat o OWN
        {
#repeat u KEYS
            let value$u = value_pair(value_start$u, own$o);
#end
#repeat g HEADS
            var sums$g = Pair(sum[$g * OWN + $o].a * shrink$g, sum[$g * OWN + $o].b * shrink$g);
#repeat u KEYS
            sums$g.a += weight$g_$u * value$u.a;
            sums$g.b += weight$g_$u * value$u.b;
#end
            sum[$g * OWN + $o] = sums$g;
#end
        }
#end
    }

    if (part == 0u) {
#repeat g HEADS
        tops[$gu * 8u + row] = top[$g];
        totals[$gu * 8u + row] = total[$g];
#end
    }
#repeat g HEADS
    workgroupBarrier();
#repeat o OWN
    if (part + $ou * 8u < PAIRS) {
        merged[row * 2u * PAIRS + part + $ou * 8u] = sum[$g * OWN + $o].a;
        merged[row * 2u * PAIRS + PAIRS + part + $ou * 8u] = sum[$g * OWN + $o].b;
    }
#end
    workgroupBarrier();
    if (lane < QUADS) {
        var highest = LOWEST;
        for (var i = 0u; i < 8u; i++) {
            highest = max(highest, tops[$gu * 8u + i]);
        }
        var whole = vec4<f32>();
        var whole_total = 0.0;
        for (var i = 0u; i < 8u; i++) {
            let share = exp(tops[$gu * 8u + i] - highest);
            whole += merged[i * 2u * PAIRS + lane] * share;
            whole_total += totals[$gu * 8u + i] * share;
        }
#if SPLIT
        let to = ((item * HEADS + $gu) * dims.splits + group % dims.splits) * (QUADS + 1u);
        out[to + lane] = whole;
        if (lane == 0u) {
            out[to + QUADS] = vec4<f32>(highest, whole_total, 0.0, 0.0);
        }
#else
        out[(item * HEADS + $gu) * QUADS + lane] = whole / whole_total;
#endif
    }
#end
}
