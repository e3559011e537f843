//! Depthwise convolution: each channel of a map with kernels of its own, one or several.

use super::*;

/// `act(bias[c] + Σ x[y * stride + ky - padding, x * stride + kx - padding, c / multiple] * weight[ky, kx, c])`, where what lies
/// beyond the map is zero, and `multiple` kernels after each other read one channel.
///
/// # Shapes
/// - `x`: `[side², channels]`, `weight`: `[kernel², multiple * channels]`, `bias`: `[multiple * channels]`
/// - output: `[out², multiple * channels]`
pub fn depthwise(
    x: Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    window: Window,
    act: Activation,
) -> Tensor<2> {
    let (x, weight) = (x.into_dispatch(), weight.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::depthwise(x, weight, Operand::of(bias.cloned()), window, act))
}

/// [`depthwise`] on plain slices; sums in f64.
pub fn naive(x: &[f32], weight: &[f32], bias: Option<&[f32]>, window: Window, act: Activation) -> Vec<f32> {
    let Window { side, kernel, stride, padding, out } = window;
    let (inputs, channels) = (x.len() / window.inputs(), weight.len() / (kernel * kernel));
    let mut result = Vec::with_capacity(window.outputs() * channels);
    for (y, x_at, channel) in (0..out * out * channels).map(|i| (i / channels / out, i / channels % out, i % channels))
    {
        let mut sum = bias.map_or(0.0, |bias| f64::from(bias[channel]));
        for (ky, kx) in (0..kernel * kernel).map(|i| (i / kernel, i % kernel)) {
            let (row, col) = ((y * stride + ky).wrapping_sub(padding), (x_at * stride + kx).wrapping_sub(padding));
            if row < side && col < side {
                let value = x[(row * side + col) * inputs + channel * inputs / channels];
                sum += f64::from(value) * f64::from(weight[(ky * kernel + kx) * channels + channel]);
            }
        }
        result.push(act.of(sum) as f32);
    }
    result
}
