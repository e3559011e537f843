// out[i, j] = finish(sum over k of x[i, k] * weight[j, k]) for few rows i: every weight is read once, and reading it is
// the cost.
//
// Workgroup: 64 / LANES outputs, LANES invocations each. They take the 32-column chunks of the weight's row in turn, so
// that neighbours read neighbouring 16-byte blocks. LANES = 1 (CPU adapters) needs no barrier. The scale and minimum of
// a block are applied once per block: sum(x * (q * s + m)) = s * sum(x * q) + m * sum(x).
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

#if Q4
fn chunk_sum(row: u32, chunk: u32, at: u32) -> f32 {
    let block = row * (dims.cols / 32u) + chunk;
    let words = weight[block];
    let quad = chunk * 8u;
    var products = vec4<f32>();
    var sums = vec4<f32>();
#repeat i 4
    let low$i = x4(at, quad + $iu);
    let high$i = x4(at, quad + $iu + 4u);
    products += low_nibbles(words[$i]) * low$i + low_nibbles(words[$i] >> 4u) * high$i;
    sums += low$i + high$i;
#end
    let scale = weight_scale(block);
    return scale.x * dot(products, vec4<f32>(1.0)) + scale.y * dot(sums, vec4<f32>(1.0));
}
#else
#if Q8
fn chunk_sum(row: u32, chunk: u32, at: u32) -> f32 {
    let block = row * (dims.cols / 32u) + chunk;
    let quad = chunk * 8u;
    let first = weight[block * 2u];
    let second = weight[block * 2u + 1u];
    var products = vec4<f32>();
#repeat i 4
    products += signed_bytes(first[$i]) * x4(at, quad + $iu) + signed_bytes(second[$i]) * x4(at, quad + $iu + 4u);
#end
    return weight_scale(block) * dot(products, vec4<f32>(1.0));
}
#else
fn chunk_sum(row: u32, chunk: u32, at: u32) -> f32 {
    let end = min(chunk * 8u + 8u, (dims.cols + 3u) / 4u);
    var products = vec4<f32>();
    for (var quad = chunk * 8u; quad < end; quad++) {
        products += weight4(row, quad) * x4(at, quad);
    }
    return dot(products, vec4<f32>(1.0));
}
#endif
#endif

#if SHARED_ROW
var<workgroup> partials: array<f32, 64>;
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let outputs = 64u / LANES;
    let groups = (dims.rows + outputs - 1u) / outputs;
    let group = flat_index(workgroup, workgroups);
    let at = group / groups;
    if (at >= dims.n) {
        return;
    }
    let row = group % groups * outputs + lane / LANES;
    let chunks = (dims.cols + 31u) / 32u;
    var sum = 0.0;
    if (row < dims.rows) {
        for (var chunk = lane % LANES; chunk < chunks; chunk += LANES) {
            sum += chunk_sum(row, chunk, at);
        }
    }
#if SHARED_ROW
    partials[lane] = sum;
    workgroupBarrier();
    if (lane % LANES != 0u) {
        return;
    }
    for (var i = 1u; i < LANES; i++) {
        sum += partials[lane + i];
    }
#endif
    if (row < dims.rows) {
        finish(at, row, sum);
    }
}
