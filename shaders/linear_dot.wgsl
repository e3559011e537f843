// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU that multiplies four signed bytes in one
// instruction: x was rounded by linear_dot_x.wgsl.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight, 16 x 16 invocations of 4 x 4 outputs each, in steps of a chunk. One half
// of the invocations fetch x, the other the weight, whose bytes are taken as they are: half a chunk of a row each, which lies in the tile
// (5 KiB of workgroup memory) so that a word of four rows is read at once: vectors of a row's words, as in linear_mat.wgsl, are more than
// GPUs have registers for that take words apart to multiply their bytes.
// sum(x * (q * s + m)) = x_scale * (s * sum(x_byte * q) + m * sum(x_byte)).
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<vec2<u32>>; // as linear_dot_x.wgsl writes it
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

// [x or weight, words of a chunk, 16 groups of 4 rows or slots]
var<workgroup> tiles: array<array<array<array<u32, 4>, 16>, 8>, 2>;
// [x or weight, scale or what is beside it, 16 groups of 4]: of x its scale times the sum of its bytes, of the weight the minimum.
var<workgroup> scales: array<array<array<array<f32, 4>, 16>, 2>, 2>;

fn word_of_four(side: u32, word: u32, group: u32) -> vec4<u32> {
    return vec4<u32>(
#repeat i 4
        tiles[side][word][group][$i],
#end
    );
}

fn scale_of_four(side: u32, which: u32, group: u32) -> vec4<f32> {
    return vec4<f32>(
#repeat i 4
        scales[side][which][group][$i],
#end
    );
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile
    let chunks = dims.cols / CHUNK;
    let side = lane / 128u;
    let half = lane / 64u % 2u;
    let group = lane % 64u / 4u;
    let member = lane % 4u;
    // Rows past the last one are computed like it and dropped.
    var start = min(first_x + group * 4u + member, dims.n - 1u) * chunks;
    if (side == 1u) {
        start = row_of(first_slot + group * 4u + member) * chunks;
    }
    let major = lane / 16u;
    let minor = lane % 16u;
#repeat i 4
    var sum0_$i = vec4<f32>();
#end
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let place = start + chunk;
        var words = vec4<u32>();
        var line = vec2<f32>();
        if (side == 0u) {
            words = vec4<u32>(x[place * 4u + half * 2u], x[place * 4u + half * 2u + 1u]);
            line = bitcast<vec2<f32>>(x[dims.n * chunks * 4u + place]);
        } else {
            words = weight_words(place, half);
            line = weight_scale(start, chunk);
        }
#repeat i 4
        tiles[side][half * 4u + $iu][group][member] = words[$i];
#end
        if (half == 0u) {
#repeat i 2
            scales[side][$i][group][member] = line[$i];
#end
        }
        workgroupBarrier();
#repeat i 4
        var dots$i = vec4<i32>();
#end
        for (var k = 0u; k < 8u; k++) {
            let x4 = word_of_four(0u, k, major);
            let w = word_of_four(1u, k, minor);
#repeat i 4
            dots$i += vec4<i32>(
                dot4I8Packed(x4[$i], w.x),
                dot4I8Packed(x4[$i], w.y),
                dot4I8Packed(x4[$i], w.z),
                dot4I8Packed(x4[$i], w.w),
            );
#end
        }
        let x_scale = scale_of_four(0u, 0u, major);
        let x_sum = scale_of_four(0u, 1u, major);
        let scale = scale_of_four(1u, 0u, minor);
        let minimum = scale_of_four(1u, 1u, minor);
#repeat i 4
        sum0_$i += x_scale[$i] * scale * vec4<f32>(dots$i) + x_sum[$i] * minimum;
#end
        workgroupBarrier();
    }
    let first_at = first_x + major * (X_QUADS * 4u);
    let first_pair = first_slot / 2u + minor * 2u;
#import finish_tile
}
