// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU that multiplies four signed bytes in one
// instruction: x was rounded by linear_dot_x.wgsl.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight, 16 x 16 invocations of 4 x 4 outputs each, in steps of a chunk. One half
// of the invocations fetch x, the other the weight, whose bytes are taken as they are: of four rows the same word each,
// which lie in a vec4 (5 KiB of workgroup memory). Neighbours fetch neighbouring words; the place of a group of rows is XORed
// with the word, so that invocations that store different words meet different banks.
// sum(x * (q * s + m)) = x_scale * (s * sum(x_byte * q) + m * sum(x_byte)).
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<u32>; // as linear_dot_x.wgsl writes it
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> x_tile: array<vec4<u32>, 128>; // [8 words, 16 groups of 4 rows]
var<workgroup> weight_tile: array<vec4<u32>, 128>; // [8 words, 16 groups of 4 slots]
var<workgroup> x_scales: array<vec4<f32>, 32>; // [scale or scale * sum of the bytes, 16 groups of 4 rows]
var<workgroup> weight_scales: array<vec4<f32>, 32>; // [scale or minimum, 16 groups of 4 slots]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile
    let chunks = dims.cols / CHUNK;
    let scales = dims.n * dims.cols / 4u;
    let word = lane % 8u;
    let group = lane % 128u / 8u;
    let stored = word * 16u + (group ^ word);
    let takes_x = lane < 128u;
    // Rows past the last one are computed like it and dropped.
#repeat i 4
    var start$i = min(first_x + group * 4u + $iu, dims.n - 1u) * chunks;
    if (!takes_x) {
        start$i = row_of(first_slot + group * 4u + $iu) * chunks;
    }
#end
    let major = lane / 16u;
    let minor = lane % 16u;
#repeat i 4
    var sum0_$i = vec4<f32>();
#end
    for (var chunk = 0u; chunk < chunks; chunk++) {
#repeat i 4
        let place$i = start$i + chunk;
#end
        if (takes_x) {
            x_tile[stored] = vec4<u32>(
#repeat i 4
                x[place$i * 8u + word],
#end
            );
            if (word < 2u) {
                x_scales[word * 16u + group] = bitcast<vec4<f32>>(vec4<u32>(
#repeat i 4
                    x[scales + place$i * 2u + word],
#end
                ));
            }
        } else {
            weight_tile[stored] = vec4<u32>(
#repeat i 4
                weight_word(place$i, word),
#end
            );
            if (word < 2u) {
                weight_scales[word * 16u + group] = vec4<f32>(
#repeat i 4
                    weight_scale(start$i, chunk)[word],
#end
                );
            }
        }
        workgroupBarrier();
#repeat i 4
        var dots$i = vec4<i32>();
#end
        for (var k = 0u; k < 8u; k++) {
            let x4 = x_tile[k * 16u + (major ^ k)];
            let w = weight_tile[k * 16u + (minor ^ k)];
#repeat i 4
            dots$i += vec4<i32>(
                dot4I8Packed(x4[$i], w.x),
                dot4I8Packed(x4[$i], w.y),
                dot4I8Packed(x4[$i], w.z),
                dot4I8Packed(x4[$i], w.w),
            );
#end
        }
        let x_scale = x_scales[major];
        let x_sum = x_scales[major + 16u];
        let scale = weight_scales[minor];
        let minimum = weight_scales[minor + 16u];
#repeat i 4
        sum0_$i += x_scale[$i] * scale * vec4<f32>(dots$i) + x_sum[$i] * minimum;
#end
        workgroupBarrier();
    }
    let first_at = first_x + major * (X_QUADS * 4u);
    let first_pair = first_slot / 2u + minor * 2u;
#import finish_tile
}
