// finish(sums over k of x[i, k] * weight[j, k]) for few rows i on a GPU: every weight is read once, and reading it is the
// cost.
//
// Workgroup: 64 / LANES groups of LANES invocations; a group computes 4 slots of the weight's rows. Its invocations take
// the chunks of 32 columns in turn, so that neighbours read neighbouring bytes, and keep their chunk of x in registers for
// all 4 rows. Scale and minimum are applied once per chunk: sum(x * (q * s + m)) = s * sum(x * q) + m * sum(x). The sums meet in workgroup memory, in two steps of at most 8 each; with SUBGROUPS the first step is
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
    let chunks = (dims.cols + CHUNK - 1u) / CHUNK;
    var sums = vec4<f32>();
    for (var chunk = part; chunk < chunks; chunk += LANES) {
#if CHUNKED
        var total = vec4<f32>();
#repeat i CHUNK_QUADS
        let v$i = x4(at, chunk * CHUNK_QUADS + $iu);
        total += v$i;
#end
        let x_sum = dot(total, vec4<f32>(1.0));
#repeat r 4
        sums[$r] += weight_dot(row$r * chunks + chunk, v0, v1, v2, v3, v4, v5, v6, v7, x_sum);
#end
#else
        let end = min(chunk * CHUNK_QUADS + CHUNK_QUADS, (dims.cols + 3u) / 4u);
        for (var quad = chunk * CHUNK_QUADS; quad < end; quad++) {
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
