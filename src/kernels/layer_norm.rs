//! Layer normalization, as in CLIP: `(x - mean) / sqrt(var + eps) * weight + bias`.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader};

pub(super) fn shader() -> Shader {
    Shader { name: "layer_norm", text: wgsl!("layer_norm"), constants: vec![], dims: &["n", "cols", "eps: f32"] }
}

/// # Shapes
/// - `x`: `[n, cols]`, `weight` and `bias`: `[cols]`
/// - output: `[n, cols]`
pub fn layer_norm(x: Tensor<2>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f32) -> Tensor<2> {
    let (weight, bias) = (weight.clone().into_dispatch(), bias.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm(x.into_dispatch(), weight, bias, eps))
}

/// [`layer_norm`] on plain slices.
pub fn naive(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let row = |row: &[f32]| {
        let mean = row.iter().map(|x| *x as f64).sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (variance + eps as f64).sqrt();
        let normal = row.iter().map(|x| ((*x as f64 - mean) * scale) as f32);
        normal.zip(weight).zip(bias).map(|((x, w), b)| x * w + b).collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(row).collect()
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
