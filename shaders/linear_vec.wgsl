// finish(sums over k of x[i, k] * weight[j, k]) for few rows i on a GPU: every weight is read once, and reading it is the
// cost.
//
// Workgroup: 64 / LANES groups of LANES invocations; a group computes 4 slots of the weight's rows. Its invocations take
// the 32-column chunks in turn, so that neighbours read neighbouring 16-byte blocks, and keep their chunk of x in
// registers for all 4 rows. The scale and minimum of a block are applied once per block: sum(x * (q * s + m)) = s * sum(x
// * q) + m * sum(x). The sums meet in workgroup memory, in two steps of at most 8 each; with SUBGROUPS the first step is
// one instruction.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> partials: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
#endif
) {
    let slots = 4u * 64u / LANES;
    let row_groups = (dims.rows + slots - 1u) / slots;
    let group = flat_index(workgroup, workgroups);
    let at = group / row_groups;
    if (at >= dims.n) {
        return;
    }
    let part = lane % LANES;
    let slot = group % row_groups * slots + lane / LANES * 4u;
#repeat r 4
    let row$r = row_of(slot + $ru);
#end
    let chunks = (dims.cols + 31u) / 32u;
    var sums = vec4<f32>();
    for (var chunk = part; chunk < chunks; chunk += LANES) {
#if BLOCKS
        var total = vec4<f32>();
#repeat i 8
        let v$i = x4(at, chunk * 8u + $iu);
        total += v$i;
#end
        let x_sum = dot(total, vec4<f32>(1.0));
#repeat r 4
        {
            let block = row$r * chunks + chunk;
            var products = vec4<f32>();
#if Q4
            let words = weight[block];
            products += low_nibbles(words.x) * v0 + low_nibbles(words.x >> 4u) * v4;
            products += low_nibbles(words.y) * v1 + low_nibbles(words.y >> 4u) * v5;
            products += low_nibbles(words.z) * v2 + low_nibbles(words.z >> 4u) * v6;
            products += low_nibbles(words.w) * v3 + low_nibbles(words.w >> 4u) * v7;
            let scale = weight_scale(block);
            sums[$r] += scale.x * dot(products, vec4<f32>(1.0)) + scale.y * x_sum;
#else
            let first = weight[block * 2u];
            products += signed_bytes(first.x) * v0 + signed_bytes(first.y) * v1;
            products += signed_bytes(first.z) * v2 + signed_bytes(first.w) * v3;
            let second = weight[block * 2u + 1u];
            products += signed_bytes(second.x) * v4 + signed_bytes(second.y) * v5;
            products += signed_bytes(second.z) * v6 + signed_bytes(second.w) * v7;
            sums[$r] += weight_scale(block) * dot(products, vec4<f32>(1.0));
#endif
        }
#end
#else
        let end = min(chunk * 8u + 8u, (dims.cols + 3u) / 4u);
        for (var quad = chunk * 8u; quad < end; quad++) {
            let values = x4(at, quad);
#repeat r 4
            sums[$r] += dot(weight4(row$r, quad), values);
#end
        }
#endif
    }

#if SUBGROUPS
    // LANES is 64: the whole workgroup sums the same rows.
    sums = subgroupAdd(sums);
    let step = subgroup_size;
    if (subgroup_lane == 0u) {
        partials[lane] = sums;
    }
    workgroupBarrier();
#else
    let step = min(8u, LANES);
    partials[lane] = sums;
    workgroupBarrier();
    if (lane % step == 0u) {
        for (var i = 1u; i < step; i++) {
            sums += partials[lane + i];
        }
        partials[lane] = sums;
    }
    workgroupBarrier();
#endif
    if (part == 0u) {
        for (var i = step; i < LANES; i += step) {
            sums += partials[lane + i];
        }
        for (var i = 0u; i < 2u; i++) {
            if (slot / 2u + i < pair_count()) {
                finish(at, slot / 2u + i, select(sums.xy, sums.zw, i == 1u));
            }
        }
    }
}
