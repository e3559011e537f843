//! A linear layer over any weight format; quantization lives here and nowhere above.

use burn::tensor::Tensor;

use super::loader::{Loader, Loading};
use super::norm::Norm;
use super::parameters::{Cut, Fold, Needed, Parameter, Parameters, Role};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::device::Buffer;
use crate::kernels::{self, Heads, KvCache, Weight};

/// Layers of the checkpoint that read the same input: with their rows below each other one launch computes them all.
pub struct Stack {
    name: String,
    parts: Vec<Part>,
    cut: Cut,
    fold: Option<Fold>,
}

struct Part {
    name: String,
    rows: usize,
    rotated_heads: Option<usize>,
}

impl Stack {
    /// One layer by itself.
    pub fn one(name: String, rows: usize) -> Self {
        Self::new(name.clone(), [(name, rows)], Cut::Rows)
    }

    /// Queries, keys and values of the attention in `layer`: a tensor each, or `fused`.
    pub fn qkv(layer: &str, heads: Heads, fused: bool) -> Self {
        let (name, key_value) = (format!("{layer}.self_attn.qkv_proj"), heads.kv_heads * heads.head_dim);
        let parts = [("q_proj", heads.heads * heads.head_dim), ("k_proj", key_value), ("v_proj", key_value)];
        let named = |(part, rows)| (format!("{layer}.self_attn.{part}"), rows);
        match fused {
            true => Self::one(name, parts.iter().map(|(_, rows)| rows).sum()),
            false => Self::new(name, parts.map(named), Cut::Rows),
        }
    }

    /// Gate and up of the feed-forward part in `layer`, each of `rows`: a tensor each, or `fused`.
    pub fn gate_up(layer: &str, rows: usize, fused: bool) -> Self {
        let name = format!("{layer}.mlp.gate_up_proj");
        match fused {
            true => Self { cut: Cut::Pairs, ..Self::one(name, 2 * rows) },
            false => {
                Self::new(name, ["gate_proj", "up_proj"].map(|part| (format!("{layer}.mlp.{part}"), rows)), Cut::Pairs)
            }
        }
    }

    fn new<const N: usize>(name: String, parts: [(String, usize); N], cut: Cut) -> Self {
        let part = |(name, rows)| Part { name, rows, rotated_heads: None };
        Self { name, parts: parts.into_iter().map(part).collect(), cut, fold: None }
    }

    /// Queries and keys are rotated, and keys and values written to a cache, as one: they cannot be cut.
    pub fn rotated(mut self, heads: Heads) -> Self {
        if let [q, k, _] = &mut self.parts[..] {
            (q.rotated_heads, k.rotated_heads) = (Some(heads.heads), Some(heads.kv_heads));
        }
        Self { cut: Cut::Never, ..self }
    }

    /// Of a convolution: what is folded into it.
    pub fn folded(self, fold: Fold) -> Self {
        Self { fold: Some(fold), ..self }
    }

    /// The parameter `kind` of these layers; `cols` is its shape behind the rows.
    fn parameter(&self, kind: &str, cols: &[usize], role: Role) -> Parameter {
        let tensor = |Part { name, rows, rotated_heads }: &Part| Needed {
            rotated_heads: *rotated_heads,
            fold: self.fold.clone(),
            ..Needed::new(format!("{name}.{kind}"), [&[*rows], cols].concat(), role)
        };
        let tensors = self.parts.iter().map(tensor).collect();
        Parameter { name: format!("{}.{kind}", self.name), tensors, cut: self.cut }
    }
}

/// What a [`Linear`] is loaded by.
pub struct LinearParameters {
    weight: Parameter,
    bias: Option<Parameter>,
}

impl LinearParameters {
    /// Declares the layers' weights, whose shape behind the rows is `cols`, and then their biases if they have any.
    pub fn declare(parameters: &mut Parameters, stack: &Stack, cols: &[usize], bias: bool, role: Role) -> Self {
        let weight = parameters.declare(stack.parameter("weight", cols, role));
        let bias = bias.then(|| parameters.declare(stack.parameter("bias", &[], Role::Vector)));
        Self { weight, bias }
    }

    pub fn load<'a, S: ChunkSource>(&'a self, loader: &'a mut Loader<'_, S>) -> Loading<'a, Linear> {
        Box::pin(async move {
            let weight = loader.weight(&self.weight).await?;
            let bias = match &self.bias {
                Some(bias) => Some(loader.vector(bias).await?),
                None => None,
            };
            Ok(Linear { weight, bias })
        })
    }
}

/// `y = activation(x Wᵀ + bias) + residual`.
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// The matrix.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// `x` `[n, cols]` -> `[n, rows]`; `residual` `[n, rows]` is added after the activation.
    pub fn forward(&self, x: Tensor<2>, activation: Activation, residual: Option<Tensor<2>>) -> Tensor<2> {
        kernels::linear(x, &self.weight, self.bias.as_ref(), residual, activation)
    }

    /// `x` `[n, cols]` -> of `norm(x)`, `activation(gate) * up` `[n, rows / 2]`, where this layer is gate and up, stacked.
    pub fn forward_gated(&self, x: Tensor<2>, norm: &Norm, activation: Activation) -> Tensor<2> {
        let (x, norm) = norm.ahead(x);
        kernels::linear_gated(x, norm, &self.weight, self.bias.as_ref(), activation)
    }

    /// `x` `[n, cols]` -> of `norm(x)`, rotated queries `[n, heads * head_dim]`, where this layer is q, k and v, stacked; keys
    /// and values go to `kv`.
    pub fn forward_rope_cache(
        &self,
        x: Tensor<2>,
        norm: &Norm,
        rope: &Tensor<2>,
        kv: &KvCache,
        state: &Buffer,
        heads: Heads,
    ) -> Tensor<2> {
        let (x, norm) = norm.ahead(x);
        kernels::linear_rope_cache(x, norm, &self.weight, self.bias.as_ref(), rope, kv, state, heads)
    }
}
