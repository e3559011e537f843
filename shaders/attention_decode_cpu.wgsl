// out[i, h] = softmax_j(scale * q[i, h] . k[j, h']) v[j, h'], j over 0 ..= position + i, h' the head that shares its
// keys and values with h, for few queries i: every key and value is read once, and reading it is the cost.
//
// For CPU adapters, which run four neighbouring invocations as the lanes of one vector: no barrier, and no workgroup
// memory, which browsers clear first. A workgroup is four invocations, for one query, one head and one run of its
// positions. Each keeps a quarter of the query and of the sum in registers and reads a quarter of every key and value;
// what they have of a score they add up by exchange. Two positions at a time share the rescaling of the sum.
// On a GPU, workgroups of four invocations would leave most of the machine idle.
#import flat_index
#if SPLIT
#import attention_split
#endif

// A row of a head is a type of its own, in quads: browsers check an index where they cannot see its bound, that is once
// a row instead of once a word.
@group(0) @binding(0) var<storage, read_write> q: array<array<array<f32, 4>, QUADS>>; // [n, heads]
#if KV_F16
@group(0) @binding(1) var<storage, read_write> k: array<array<array<u32, 4>, OWN>>; // [capacity, kv_heads], f16 pairs
@group(0) @binding(2) var<storage, read_write> v: array<array<array<u32, 4>, OWN>>;
#else
@group(0) @binding(1) var<storage, read_write> k: array<array<array<f32, 4>, OWN>>; // [capacity, kv_heads]
@group(0) @binding(2) var<storage, read_write> v: array<array<array<f32, 4>, OWN>>;
#endif
@group(0) @binding(3) var<storage, read_write> state: array<u32>; // [position, step, token, _]
#if SPLIT
@group(0) @binding(4) var<storage, read_write> out: array<array<array<f32, 4>, QUADS + 1>>; // [n, heads, splits]: sum; top, total
#else
@group(0) @binding(4) var<storage, read_write> out: array<array<array<f32, 4>, QUADS>>; // [n, heads]
#endif

const LOWEST: f32 = -3.0e38;

@compute @workgroup_size(4)
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
    let kv_head = item % dims.heads / (dims.heads / dims.kv_heads);
    let visible = min(state[0] + item / dims.heads + 1u, dims.capacity);
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

    // Words lane, lane + 4, ... of the cache's rows are this invocation's; an f16 cache keeps elements j and j + half a
    // head in one.
    let query = &q[item];
#repeat i OWN
#if KV_F16
    let x$i = vec2<f32>((*query)[$iu][lane], (*query)[$iu + OWN][lane]) * dims.scale;
    var sum$i = vec2<f32>();
#else
    let x$i = (*query)[$iu][lane] * dims.scale;
    var sum$i = 0.0;
#endif
#end
    var top = LOWEST;
    var total = 0.0;
    for (var first = begin; first < end; first += 2u) {
#repeat p 2
        let at$p = min(first + $pu, end - 1u) * dims.kv_heads + kv_head;
        let key$p = &k[at$p];
        let value$p = &v[at$p];
        var score$p = 0.0;
#repeat i OWN
#if KV_F16
        score$p += dot(x$i, unpack2x16float((*key$p)[$iu][lane]));
#else
        score$p += x$i * (*key$p)[$iu][lane];
#endif
#end
        score$p += quadSwapX(score$p);
        score$p += quadSwapY(score$p);
#end
        if (first + 1u == end) {
            score1 = LOWEST;
        }
        let new_top = max(top, max(score0, score1));
        let shrink = exp(top - new_top);
        top = new_top;
        total *= shrink;
#repeat i OWN
        sum$i *= shrink;
#end
#repeat p 2
        {
            let weight = exp(score$p - top);
            total += weight;
#repeat i OWN
#if KV_F16
            sum$i += weight * unpack2x16float((*value$p)[$iu][lane]);
#else
            sum$i += weight * (*value$p)[$iu][lane];
#endif
#end
        }
#end
    }

#if SPLIT
    let to = &out[group];
    (*to)[QUADS][0u] = top;
    (*to)[QUADS][1u] = total;
    total = 1.0;
#else
    let to = &out[item];
#endif
#repeat i OWN
#if KV_F16
    (*to)[$iu][lane] = sum$i.x / total;
    (*to)[$iu + OWN][lane] = sum$i.y / total;
#else
    (*to)[$iu][lane] = sum$i / total;
#endif
#end
}
