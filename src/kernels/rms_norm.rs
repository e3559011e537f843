//! Root-mean-square normalization, as in LLaMA: `x / sqrt(mean(x²) + eps) * weight`.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader};

fn shader(subgroups: bool) -> Shader {
    Shader {
        name: "rms_norm",
        text: wgsl!("rms_norm"),
        constants: vec![("SUBGROUPS", subgroups as u32)],
        dims: &["n", "cols", "eps: f32"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    [false, true].map(shader).into()
}

/// # Shapes
/// - `x`: `[n, cols]`, `weight`: `[cols]`
/// - output: `[n, cols]`
pub fn rms_norm(x: Tensor<2>, weight: &Tensor<1>, eps: f32) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::rms_norm(x.into_dispatch(), weight.clone().into_dispatch(), eps))
}

/// [`rms_norm`] on plain slices.
pub fn naive(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let row = |row: &[f32]| {
        let mean = row.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + eps as f64).sqrt();
        row.iter().zip(weight).map(|(x, w)| (*x as f64 * scale) as f32 * w).collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(row).collect()
}

pub(super) fn launch(x: GpuTensor, weight: GpuTensor, eps: f32) -> GpuTensor {
    let x = gpu::contiguous(x);
    let [n, cols] = x.meta.shape().dims();
    assert_eq!(weight.meta.num_elements(), cols, "rms_norm: weight of rows of {cols}");
    let out = gpu::output(&x, [n, cols]);
    let subgroups = gpu::software_adapter() && gpu::adapter_features().subgroups;
    gpu::launch(shader(subgroups), &[&x, &weight, &out], &[n as u32, cols as u32, eps.to_bits()], n);
    out
}
