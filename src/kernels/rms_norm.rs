//! Root-mean-square normalization, as in LLaMA: `x / sqrt(mean(x²) + eps) * weight`.

use super::*;

/// A norm of rows that the operation reading them applies to them first: on a GPU, where there is one row, perhaps without a launch
/// of its own.
#[derive(Clone, Copy)]
pub struct RmsNorm<'a> {
    /// `[cols]`
    pub weight: &'a Tensor<1>,
    pub eps: f32,
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
