// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU that multiplies four signed bytes in one
// instruction: x is rounded to 8 bits, with one scale for each chunk of 32 columns (as llama.cpp and onnxruntime do).
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight, 8 x 8 invocations of 8 x 8 outputs each, in steps of a chunk.
// Invocation i brings row i of x, which it rounds, and slot i of the weight, whose
// bytes it takes as they are, into workgroup memory (5 KiB); neighbours store neighbouring words. Then for each of the 8
// words of a chunk 16 words are read for 64 dot products of four.
// sum(x * (q * s + m)) = x_scale * (s * sum(x_byte * q) + m * sum(x_byte)).
#import flat_index
#import rows

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> x_words: array<u32, 512>; // [8 words, 64 rows]
var<workgroup> x_scales: array<vec2<f32>, 64>; // scale, scale * sum of the bytes
var<workgroup> weight_words: array<u32, 512>; // [8 words, 64 slots]
var<workgroup> weight_scales: array<vec2<f32>, 64>; // scale, minimum

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row_tiles = (dims.rows + 63u) / 64u;
    let tile = flat_index(workgroup, workgroups);
    let n_tiles = (dims.n + 63u) / 64u;
    if (tile >= row_tiles * n_tiles) {
        return;
    }
    let first_x = tile % n_tiles * 64u;
    let first_slot = tile / n_tiles * 64u;
    let chunks = dims.cols / CHUNK;
    let major = lane / 8u;
    let minor = lane % 8u;
    let my_x = min(first_x + lane, dims.n - 1u);
    let my_row = row_of(first_slot + lane);

#repeat m 8
#repeat r 8
    var sum$m_$r = 0.0;
#end
#end
    for (var chunk = 0u; chunk < chunks; chunk++) {
        var largest = vec4<f32>();
#repeat i CHUNK_QUADS
        let v$i = x4(my_x, chunk * CHUNK_QUADS + $iu);
        largest = max(largest, abs(v$i));
#end
        let top = max(max(largest.x, largest.y), max(largest.z, largest.w));
        let inverse = select(127.0 / top, 0.0, top == 0.0);
        var total = 0;
#repeat i CHUNK_QUADS
        let word$i = pack4xI8(vec4<i32>(round(v$i * inverse)));
        x_words[$iu * 64u + lane] = word$i;
        total += dot4I8Packed(word$i, 0x01010101u);
#end
        x_scales[lane] = vec2<f32>(1.0, f32(total)) * (top / 127.0);
        let place = my_row * chunks + chunk;
        let packed = weight_packed(place);
#repeat i 4
        weight_words[$iu * 64u + lane] = packed.low[$i];
        weight_words[($iu + 4u) * 64u + lane] = packed.high[$i];
#end
        weight_scales[lane] = weight_scale(place);
        workgroupBarrier();
#repeat m 8
#repeat r 8
        var dot$m_$r = 0;
#end
#end
        for (var word = 0u; word < CHUNK_QUADS; word++) {
#repeat i 8
            let x_word$i = x_words[word * 64u + major * 8u + $iu];
            let weight_word$i = weight_words[word * 64u + minor * 8u + $iu];
#end
#repeat m 8
#repeat r 8
            dot$m_$r += dot4I8Packed(x_word$m, weight_word$r);
#end
#end
        }
#repeat m 8
        let x_scale$m = x_scales[major * 8u + $mu];
#end
#repeat r 8
        let scale$r = weight_scales[minor * 8u + $ru];
#end
#repeat m 8
#repeat r 8
        sum$m_$r += x_scale$m.x * scale$r.x * f32(dot$m_$r) + x_scale$m.y * scale$r.y;
#end
#end
        workgroupBarrier();
    }

    var sums = array<vec2<f32>, 32>(
#repeat m 8
        vec2<f32>(sum$m_0, sum$m_1),
        vec2<f32>(sum$m_2, sum$m_3),
        vec2<f32>(sum$m_4, sum$m_5),
        vec2<f32>(sum$m_6, sum$m_7),
#end
    );
    for (var i = 0u; i < 32u; i++) {
        let at = first_x + major * 8u + i / 4u;
        let pair = first_slot / 2u + minor * 4u + i % 4u;
        if (at < dims.n && pair < pair_count()) {
            finish(at, pair, sums[i]);
        }
    }
}
