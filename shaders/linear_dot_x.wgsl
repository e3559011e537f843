// The input of linear_dot.wgsl: x rounded to 8 bits, with one scale for each chunk of 32 columns (as llama.cpp and onnxruntime
// do). One invocation per chunk.
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>; // bytes [n, chunks, 4]; scale, scale * sum of the bytes [n, chunks]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunks = dims.cols / CHUNK;
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    if (index >= dims.n * chunks) {
        return;
    }
    var largest = vec4<f32>();
#repeat i CHUNK_QUADS
    let v$i = x4_at(index * CHUNK_QUADS, $iu);
    largest = max(largest, abs(v$i));
#end
    let top = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let inverse = select(127.0 / top, 0.0, top == 0.0);
    var total = 0;
#repeat i CHUNK_QUADS
    let word$i = pack4xI8(vec4<i32>(round(v$i * inverse)));
    total += dot4I8Packed(word$i, 0x01010101u);
#end
    out[index * 4u] = vec2<u32>(word0, word1);
    out[index * 4u + 1u] = vec2<u32>(word2, word3);
    out[index * 4u + 2u] = vec2<u32>(word4, word5);
    out[index * 4u + 3u] = vec2<u32>(word6, word7);
    out[dims.n * chunks * 4u + index] = bitcast<vec2<u32>>(vec2<f32>(1.0, f32(total)) * (top / 127.0));
}
