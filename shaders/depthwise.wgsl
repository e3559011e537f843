// out[y, x, c] = activate(bias[c] + sum of x[y * stride + ky - padding, x * stride + kx - padding, c / multiple] * weight[ky,
// kx, c]), where what lies beyond the map is zero, and multiple is channels / inputs. An invocation computes PLACES neighbouring places of a row for one channel, so that it loads
// a kernel's number once for all of them; neighbouring invocations have neighbouring channels. No barrier.
#import flat_index
#import activation

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [side, side, inputs]
@group(0) @binding(1) var<storage, read_write> weight: array<f32>; // [kernel, kernel, channels]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>; // [channels], read if dims.has_bias
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [out_side, out_side, channels]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_index(workgroup, workgroups) * 64u + lane;
    let groups = (dims.out_side + PLACES - 1u) / PLACES;
    let channel = index % dims.channels;
    let input = channel / (dims.channels / dims.inputs);
    let first = index / dims.channels % groups * PLACES;
    let row = index / dims.channels / groups;
    if (row >= dims.out_side) {
        return;
    }
    var start = 0.0;
    if (dims.has_bias != 0u) {
        start = bias[channel];
    }
#repeat i PLACES
    var sum$i = start;
#end
    for (var ky = 0u; ky < dims.kernel; ky++) {
        // Far beyond the map where it would be negative.
        let y = row * dims.stride + ky - dims.padding;
        if (y >= dims.side) {
            continue;
        }
        for (var kx = 0u; kx < dims.kernel; kx++) {
            let factor = weight[(ky * dims.kernel + kx) * dims.channels + channel];
            let left = first * dims.stride + kx - dims.padding;
#repeat i PLACES
            let x$i = left + $iu * dims.stride;
            if (x$i < dims.side) {
                sum$i += x[(y * dims.side + x$i) * dims.inputs + input] * factor;
            }
#end
        }
    }
    let at = (row * dims.out_side + first) * dims.channels + channel;
#repeat i PLACES
    if (first + $iu < dims.out_side) {
        out[at + $iu * dims.channels] = activate(sum$i, dims.act);
    }
#end
}
