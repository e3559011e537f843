//! [`depthwise`](crate::kernels::depthwise) as a shader.

use super::Window;
use crate::activation::Activation;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

/// Neighbouring places that an invocation computes: on CPU adapters several, which share their loads of the kernel.
fn neighbours(software: bool) -> usize {
    if software { 4 } else { 1 }
}

fn shader(software: bool) -> Shader {
    Shader {
        name: "depthwise",
        text: wgsl!("depthwise"),
        constants: vec![("PLACES", neighbours(software) as u32)],
        dims: &["side", "kernel", "stride", "padding", "out_side", "inputs", "channels", "has_bias", "act"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    [false, true].map(shader).into()
}

pub(super) fn launch(
    x: GpuTensor,
    weight: GpuTensor,
    bias: Option<GpuTensor>,
    window: Window,
    act: Activation,
) -> GpuTensor {
    let (x, weight) = (gpu::contiguous(x), gpu::contiguous(weight));
    let ([n, inputs], [places, channels]) = (x.meta.shape().dims(), weight.meta.shape().dims());
    window.check([n, inputs], [places, channels], bias.as_ref().map(|bias| bias.meta.num_elements()));
    let out = gpu::output(&x, [window.outputs(), channels]);
    let Window { side, kernel, stride, padding, out: out_side } = window;
    let has_bias = usize::from(bias.is_some());
    let bias = bias.unwrap_or_else(|| gpu::absent(&x, 0));
    let dims =
        [side, kernel, stride, padding, out_side, inputs, channels, has_bias, act as usize].map(|dim| dim as u32);
    let software = gpu::software_adapter();
    let invocations = out_side * out_side.div_ceil(neighbours(software)) * channels;
    gpu::launch(shader(software), &[&x, &weight, &bias, &out], &dims, invocations.div_ceil(WORKGROUP));
    out
}
