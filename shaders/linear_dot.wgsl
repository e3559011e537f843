// finish(sums over k of x[i, k] * weight[j, k]) for many rows i on a GPU that multiplies four signed bytes in one
// instruction: x was rounded by linear_dot_x.wgsl.
//
// Workgroup: a tile of 64 rows of x by 64 slots of the weight, 16 x 16 invocations of 4 x 4 outputs each, in steps of a chunk. One half
// of the invocations fetch x, the other the weight, whose bytes are taken as they are: of four rows the same word each,
// which lie in a vec4 (5 KiB of workgroup memory). Neighbours fetch two neighbouring words of a row, of every 16 groups, as in
// linear_mat.wgsl.
// sum(x * (q * s + m)) = x_scale * (s * sum(x_byte * q) + m * sum(x_byte)).
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<u32>; // as linear_dot_x.wgsl writes it
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

// [x or weight, words of a chunk, 16 groups of 4 rows or slots]
var<workgroup> tiles: array<array<array<vec4<u32>, 16>, 8>, 2>;
// [x or weight, scale or what is beside it, 16 groups of 4]: of x its scale times the sum of its bytes, of the weight the minimum.
var<workgroup> scales: array<array<array<vec4<f32>, 16>, 2>, 2>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#import own_tile
    let chunks = dims.cols / CHUNK;
    let first_scale = dims.n * dims.cols / 4u;
    let takes_x = lane < 128u;
    let taken = lane % 128u;
    let word = taken % 2u + taken / 32u * 2u;
    let group = taken / 2u % 16u;
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
            tiles[0][word][group] = vec4<u32>(
#repeat i 4
                x[place$i * 8u + word],
#end
            );
            if (word < 2u) {
                scales[0][word][group] = bitcast<vec4<f32>>(vec4<u32>(
#repeat i 4
                    x[first_scale + place$i * 2u + word],
#end
                ));
            }
        } else {
            tiles[1][word][group] = vec4<u32>(
#repeat i 4
                weight_word(place$i, word),
#end
            );
            if (word < 2u) {
                scales[1][word][group] = vec4<f32>(
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
            let x4 = tiles[0][k][major];
            let w = tiles[1][k][minor];
#repeat i 4
            dots$i += vec4<i32>(
                dot4I8Packed(x4[$i], w.x),
                dot4I8Packed(x4[$i], w.y),
                dot4I8Packed(x4[$i], w.z),
                dot4I8Packed(x4[$i], w.w),
            );
#end
        }
        let x_scale = scales[0][0][major];
        let x_sum = scales[0][1][major];
        let scale = scales[1][0][minor];
        let minimum = scales[1][1][minor];
#repeat i 4
        sum0_$i += x_scale[$i] * scale * vec4<f32>(dots$i) + x_sum[$i] * minimum;
#end
        workgroupBarrier();
    }
    let first_at = first_x + major * (X_QUADS * 4u);
    let first_pair = first_slot / 2u + minor * 2u;
#import finish_tile
}
