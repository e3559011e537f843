//! Normalization of rows, of the kinds that models have.

use burn::tensor::Tensor;

use super::loader::{Loader, Loading};
use super::parameters::{Needed, Parameter, Parameters, Role};
use crate::bundle::source::ChunkSource;
use crate::kernels::{self, NormShape, RmsNorm};

/// A norm, but for its width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    pub kind: NormKind,
    pub eps: f32,
}

impl NormSpec {
    /// The kernel that runs it on rows of `width`.
    pub fn shape(&self, width: usize) -> NormShape {
        match self.kind {
            NormKind::Rms { .. } => NormShape::RmsNorm(width),
            NormKind::LayerNorm { .. } => NormShape::LayerNorm(width),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + eps) * (weight + offset)`
    Rms { offset: f32 },
    /// `(x - mean) / sqrt(var + eps) * weight + bias`
    LayerNorm { bias: bool },
}

/// What a [`Norm`] is loaded by.
pub struct NormParameters {
    weight: Parameter,
    bias: Option<Parameter>,
    spec: NormSpec,
}

impl NormParameters {
    /// Declares `{name}.weight` and, where there is one, `{name}.bias`, both `[width]`.
    pub fn declare(parameters: &mut Parameters, name: &str, width: usize, spec: NormSpec) -> Self {
        let vector = |kind: &str| Needed::new(format!("{name}.{kind}"), [width], Role::Vector);
        let is_scale = !matches!(spec.kind, NormKind::Rms { offset } if offset != 0.0);
        let centre = f32::from(u8::from(is_scale));
        let weight = parameters.declare(Parameter::one(Needed { centre, ..vector("weight") }));
        let has_bias = spec.kind == NormKind::LayerNorm { bias: true };
        let bias = has_bias.then(|| parameters.declare(Parameter::one(vector("bias"))));
        Self { weight, bias, spec }
    }

    pub fn load<'a, S: ChunkSource>(&'a self, loader: &'a mut Loader<'_, S>) -> Loading<'a, Norm> {
        Box::pin(async move {
            let NormSpec { kind, eps } = self.spec;
            let mut weight = loader.values(&self.weight).await?;
            let bias = match (kind, &self.bias) {
                (NormKind::Rms { offset }, _) => {
                    weight.iter_mut().for_each(|weight| *weight += offset);
                    None
                }
                (NormKind::LayerNorm { .. }, Some(bias)) => Some(loader.vector(bias).await?),
                (NormKind::LayerNorm { .. }, None) => Some(loader.upload(vec![0.0; weight.len()])),
            };
            Ok(Norm { weight: loader.upload(weight), bias, eps })
        })
    }
}

/// A norm on the GPU.
pub struct Norm {
    weight: Tensor<1>,
    /// `None` for root-mean-square norms.
    bias: Option<Tensor<1>>,
    eps: f32,
}

impl Norm {
    /// `[n, width]` -> `[n, width]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.bias {
            None => kernels::rms_norm(x, &self.weight, self.eps),
            Some(bias) => kernels::layer_norm(x, &self.weight, bias, self.eps),
        }
    }

    /// What of this a linear layer that reads `x` may do, and `x` with the rest done.
    pub fn ahead(&self, x: Tensor<2>) -> (Tensor<2>, Option<RmsNorm<'_>>) {
        match &self.bias {
            None => (x, Some(RmsNorm { weight: &self.weight, eps: self.eps })),
            Some(_) => (self.forward(x), None),
        }
    }
}
