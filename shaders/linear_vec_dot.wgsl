// finish(sums over k of x[0, k] * weight[j, k]) for one row on a GPU that multiplies four signed bytes in one instruction: x was
// rounded by linear_dot_x.wgsl.
//
// Workgroup: LANES invocations, which compute 4 slots of the weight's rows. They take the chunks of a row in turn, so that neighbours
// read neighbouring bytes. sum(x * (q * s + m)) = x_scale * (s * sum(x_byte * q) + m * sum(x_byte)).
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<vec2<u32>>; // as linear_dot_x.wgsl writes it
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

var<workgroup> partials: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slot = flat_index(workgroup, workgroups) * 4u;
    if (slot >= dims.rows) {
        return;
    }
    let part = lane;
    let chunks = dims.cols / CHUNK;
#repeat r 4
    let start$r = row_of(slot + $ru) * chunks;
#end
    var sums = vec4<f32>();
    for (var chunk = part; chunk < chunks; chunk += LANES) {
#repeat h 2
        let bytes$h = vec4<u32>(x[chunk * 4u + $hu * 2u], x[chunk * 4u + $hu * 2u + 1u]);
#end
        let x_scale = bitcast<vec2<f32>>(x[chunks * 4u + chunk]); // the scale, and it times the sum of the bytes
#repeat r 4
        {
            var product = 0;
#repeat h 2
            {
                let words = weight_words(start$r + chunk, $hu);
#repeat i 4
                product += dot4I8Packed(bytes$h[$i], words[$i]);
#end
            }
#end
            let scale = weight_scale(start$r, chunk);
            sums[$r] += x_scale.x * scale.x * f32(product);
            if (HAS_MINIMUM) {
                sums[$r] += x_scale.y * scale.y;
            }
        }
#end
    }
#import finish_group
}
