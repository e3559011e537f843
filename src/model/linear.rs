//! A linear layer over any weight format; quantization lives here and nowhere above.

use burn::tensor::Tensor;

use super::loader::Loader;
use crate::bundle::source::WeightSource;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernels::{self, Activation, Heads, KvCache, Weight};

/// `y = activation(x Wᵀ + bias) + residual`.
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Loads `{name}.weight` `[rows, cols]` and, where `bias`, `{name}.bias` `[rows]`.
    pub async fn load<S: WeightSource>(
        loader: &mut Loader<'_, S>,
        name: &str,
        rows: usize,
        cols: usize,
        bias: bool,
    ) -> Result<Self> {
        Self::load_stacked(loader, &[(name.to_string(), rows)], cols, bias, 1).await
    }

    /// Loads several layers that read the same input as one, their rows below each other, so that one dispatch computes
    /// them all. `parts` are `(name, rows)`; `stack` is [`Weight::split`]'s.
    pub async fn load_stacked<S: WeightSource>(
        loader: &mut Loader<'_, S>,
        parts: &[(String, usize)],
        cols: usize,
        bias: bool,
        stack: usize,
    ) -> Result<Self> {
        let named =
            |suffix: &str| -> Vec<_> { parts.iter().map(|(name, rows)| (format!("{name}.{suffix}"), *rows)).collect() };
        let weight = loader.weight(&named("weight"), cols, stack).await?;
        let bias = match bias {
            true => Some(loader.vector(&named("bias")).await?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    /// The matrix.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// `x` `[n, cols]` -> `[n, rows]`; `residual` `[n, rows]` is added after the activation.
    pub fn forward(&self, x: Tensor<2>, activation: Activation, residual: Option<Tensor<2>>) -> Tensor<2> {
        kernels::linear(x, &self.weight, self.bias.as_ref(), residual, activation)
    }

    /// `x` `[n, cols]` -> `activation(gate) * up` `[n, rows / 2]`, where this layer is gate and up, stacked.
    pub fn forward_gated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        kernels::linear_gated(x, &self.weight, self.bias.as_ref(), activation)
    }

    /// `x` `[n, cols]` -> rotated queries `[n, heads * head_dim]`, where this layer is q, k and v, stacked; keys and
    /// values go to `kv`.
    pub fn forward_rope_cache(
        &self,
        x: Tensor<2>,
        rope: &Tensor<2>,
        kv: &KvCache,
        state: &Buffer,
        heads: Heads,
    ) -> Tensor<2> {
        kernels::linear_rope_cache(x, &self.weight, self.bias.as_ref(), rope, kv, state, heads)
    }
}
