//! [`layer_norm`](crate::kernels::layer_norm) as a shader.

use crate::device::gpu::{self, GpuTensor, Shader};

pub(super) fn shader() -> Shader {
    Shader { name: "layer_norm", text: wgsl!("layer_norm"), constants: vec![], dims: &["n", "cols", "eps: f32"] }
}

pub(super) fn launch(x: GpuTensor, weight: GpuTensor, bias: GpuTensor, eps: f32) -> GpuTensor {
    let x = gpu::contiguous(x);
    let [n, cols] = x.meta.shape().dims();
    assert_eq!(weight.meta.num_elements(), cols, "layer_norm: weight of rows of {cols}");
    assert_eq!(bias.meta.num_elements(), cols, "layer_norm: bias of rows of {cols}");
    let out = gpu::output(&x, [n, cols]);
    gpu::launch(shader(), &[&x, &weight, &bias, &out], &[n as u32, cols as u32, eps.to_bits()], n);
    out
}
