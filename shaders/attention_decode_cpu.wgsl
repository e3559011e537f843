// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i, h' the head that shares its
// keys and values with h, for few queries i: every key and value is read once, and reading it is the cost.
//
// For CPU adapters, where every load of a word is dear and four neighbouring invocations are one SIMD register: a word
// of q is loaded once for eight keys, a score once for a run of columns, and a quartet of invocations reads consecutive
// words of one row. Workgroup: one query, one head, one run of its positions, in tiles of TILE keys. Quartets take the
// keys in turn, eight at a time; what each invocation has summed of a key goes to workgroup memory, where the scores are
// put together. Then SLICES quartets share the columns of a value, KEY_GROUPS of them take the values in turn, each with
// a softmax of its own, and these are merged at the end. Two barriers a tile.
#import flat_index
#import attention_words
#if SPLIT
#import attention_split
#endif

const LOWEST: f32 = -3.0e38;
// Browsers clear the memory of each workgroup first, which takes as long as hundreds of positions do: the tile needs no
// more of it than the merging at the end.
const TILE: u32 = 256u;

var<workgroup> shared_position: u32;
var<workgroup> products: array<f32, 1024>; // [key, invocation of the quartet]; at the end [key group, HEAD_DIM]
var<workgroup> scores: array<f32, TILE>;
var<workgroup> tops: array<f32, KEY_GROUPS>;
var<workgroup> totals: array<f32, KEY_GROUPS>;

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
    if (item >= dims.n * dims.heads) {
        return;
    }
    let row = item / dims.heads;
    let head = item % dims.heads;
    let kv_head = head / (dims.heads / dims.kv_heads);
    // The position comes from a buffer; only this way do all invocations provably agree on it, as a barrier in a loop
    // demands.
    if (lane == 0u) {
        shared_position = state[0];
    }
    let position = workgroupUniformLoad(&shared_position);
    let visible = min(position + row + 1u, dims.capacity);
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

    let query = query_row(row, head);
    let quartet = lane / 4u;
    let key_group = quartet / SLICES;
    // Of the words of a value this invocation sums up: column, column + 4, ...
    let column = quartet % SLICES * OWN_WORDS * 4u + lane % 4u;
    var top = LOWEST;
    var total = 0.0;
#repeat i OWN_WORDS
    var sum$i = vec2<f32>();
#end
    for (var base = begin; base < end; base += TILE) {
        let count = min(end - base, TILE);
        for (var first = quartet * 8u; first < count; first += 128u) {
#repeat i 8
            let start$i = key_row(min(base + first + $iu, end - 1u), kv_head);
            var score$i = 0.0;
#end
            for (var j = lane % 4u; j < HALF_HEAD; j += 4u) {
                let x = query_pair(query, j);
#repeat i 8
                let key$i = key_pair(start$i, j);
                score$i += x.x * key$i.x + x.y * key$i.y;
#end
            }
#repeat i 8
            products[(first + $iu) * 4u + lane % 4u] = score$i;
#end
        }
        workgroupBarrier();

        for (var i = lane; i < count; i += 64u) {
            let score = products[i * 4u] + products[i * 4u + 1u] + products[i * 4u + 2u] + products[i * 4u + 3u];
            scores[i] = score * dims.scale;
        }
        workgroupBarrier();

        var new_top = top;
        for (var i = key_group; i < count; i += KEY_GROUPS) {
            new_top = max(new_top, scores[i]);
        }
        let shrink = exp(top - new_top);
        top = new_top;
        total *= shrink;
#repeat i OWN_WORDS
        sum$i *= shrink;
#end
        for (var i = key_group; i < count; i += KEY_GROUPS) {
            let weight = exp(scores[i] - top);
            total += weight;
            let start = value_row(base + i, kv_head);
#repeat i OWN_WORDS
#if ODD_WORDS
            sum$i += weight * value_pair(start, min(column + $iu * 4u, HALF_HEAD - 1u));
#else
            sum$i += weight * value_pair(start, column + $iu * 4u);
#endif
#end
        }
    }

#repeat i OWN_WORDS
    if (column + $iu * 4u < HALF_HEAD) {
        products[key_group * HEAD_DIM + column + $iu * 4u] = sum$i.x;
        products[key_group * HEAD_DIM + column + $iu * 4u + HALF_HEAD] = sum$i.y;
    }
#end
    tops[key_group] = top;
    totals[key_group] = total;
    workgroupBarrier();

    let groups = min(end - begin, KEY_GROUPS);
    top = LOWEST;
    for (var i = 0u; i < groups; i++) {
        top = max(top, tops[i]);
    }
    for (var j = lane; j < HEAD_DIM; j += 64u) {
        var sum = 0.0;
        total = 0.0;
        for (var i = 0u; i < groups; i++) {
            let share = exp(tops[i] - top);
            total += totals[i] * share;
            sum += products[i * HEAD_DIM + j] * share;
        }
#if SPLIT
        out[group * (HEAD_DIM + 4u) + j] = sum;
        if (j == 0u) {
            out[group * (HEAD_DIM + 4u) + HEAD_DIM] = top;
            out[group * (HEAD_DIM + 4u) + HEAD_DIM + 1u] = total;
        }
#else
        out[query + j] = sum / total;
#endif
    }
}
