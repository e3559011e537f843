//! Layer normalization, as in CLIP: `(x - mean) / sqrt(var + eps) * weight + bias`.

use super::*;

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
