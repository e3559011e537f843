//! A convolutional tower: a map of the picture to a smaller map of it, by the steps of its description. Places are rows, channels
//! columns.

use burn::tensor::Tensor;

use super::depthwise::{Depthwise, DepthwiseParameters};
use super::linear::{Linear, LinearParameters, Stack};
use super::loader::Loader;
use super::norm::{Norm, NormParameters};
use super::parameters::{Fold, Parameters, Role};
use super::squeeze_excite::{SqueezeExcite, SqueezeExciteParameters};
use super::tower::{CHANNELS, ConvolutionalSpec, Layer, Step};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::error::Result;
use crate::kernels::{self, Heads};

const PREFIX: &str = "vision_tower.timm_model";

/// What a [`Convolutional`] is loaded by.
pub struct ConvolutionalParameters {
    stem: LinearParameters,
    stem_act: Activation,
    blocks: Vec<(Vec<StepParameters>, bool)>,
}

enum StepParameters {
    Linear(LinearParameters, Activation),
    Depthwise(DepthwiseParameters),
    Norm(NormParameters),
    Attention(Heads),
    SqueezeExcite(SqueezeExciteParameters),
}

impl ConvolutionalParameters {
    pub fn declare(parameters: &mut Parameters, tower: &ConvolutionalSpec) -> Self {
        let kernel = tower.window.kernel;
        let stem = linear(parameters, &tower.stem, &[CHANNELS, kernel, kernel], Role::PatchEmbedding);
        let mut input = tower.stem.channels;
        let mut blocks = Vec::new();
        for block in &tower.blocks {
            let mut steps = Vec::new();
            for step in &block.steps {
                steps.push(StepParameters::declare(parameters, step, input));
                input = step.channels(input);
            }
            blocks.push((steps, block.residual));
        }
        Self { stem, stem_act: tower.stem.act, blocks }
    }

    pub async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<Convolutional> {
        let (stem, mut blocks) = (self.stem.load(loader).await?, Vec::new());
        for (declared, residual) in &self.blocks {
            let mut steps = Vec::new();
            for step in declared {
                steps.push(step.load(loader).await?);
            }
            blocks.push(Block { steps, residual: *residual });
        }
        Ok(Convolutional { stem, stem_act: self.stem_act, blocks })
    }
}

impl StepParameters {
    /// Declares a step over a map of `input` channels.
    fn declare(parameters: &mut Parameters, step: &Step, input: usize) -> Self {
        match step {
            Step::Pointwise(layer) => Self::Linear(linear(parameters, layer, &[input, 1, 1], Role::Vision), layer.act),
            Step::Linear(layer) => Self::Linear(linear(parameters, layer, &[input], Role::Vision), layer.act),
            Step::Depthwise(layer, window) => {
                let (name, channels) = (full(&layer.name), layer.channels);
                let fold = full_names(&layer.fold);
                Self::Depthwise(DepthwiseParameters::declare(parameters, &name, channels, *window, layer.act, fold))
            }
            Step::Norm(name, norm) => Self::Norm(NormParameters::declare(parameters, &full(name), input, *norm)),
            Step::Attention(heads) => Self::Attention(*heads),
            Step::SqueezeExcite { name, reduced, side, act } => {
                let name = full(name);
                Self::SqueezeExcite(SqueezeExciteParameters::declare(parameters, &name, input, *reduced, *side, *act))
            }
        }
    }

    async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<LoadedStep> {
        Ok(match self {
            Self::Linear(linear, act) => LoadedStep::Linear(Box::new(linear.load(loader).await?), *act),
            Self::Depthwise(depthwise) => LoadedStep::Depthwise(Box::new(depthwise.load(loader).await?)),
            Self::Norm(norm) => LoadedStep::Norm(Box::new(norm.load(loader).await?)),
            Self::Attention(heads) => LoadedStep::Attention(*heads),
            Self::SqueezeExcite(part) => LoadedStep::SqueezeExcite(Box::new(part.load(loader).await?)),
        })
    }
}

fn linear(parameters: &mut Parameters, layer: &Layer, cols: &[usize], role: Role) -> LinearParameters {
    let stack = Stack::one(full(&layer.name), layer.channels).folded(full_names(&layer.fold));
    LinearParameters::declare(parameters, &stack, cols, layer.fold.has_bias(), role)
}

fn full(name: &str) -> String {
    format!("{PREFIX}.{name}")
}

fn full_names(fold: &Fold) -> Fold {
    let mut fold = fold.clone();
    fold.norm.iter_mut().for_each(|norm| norm.name = full(&norm.name));
    fold.scale.iter_mut().for_each(|scale| *scale = full(scale));
    fold
}

/// A convolutional tower on a device.
pub struct Convolutional {
    stem: Linear,
    stem_act: Activation,
    blocks: Vec<Block>,
}

struct Block {
    steps: Vec<LoadedStep>,
    residual: bool,
}

enum LoadedStep {
    Linear(Box<Linear>, Activation),
    Depthwise(Box<Depthwise>),
    Norm(Box<Norm>),
    Attention(Heads),
    SqueezeExcite(Box<SqueezeExcite>),
}

impl Convolutional {
    /// What the stem's window covers, `[places, channels * kernel²]` -> the last map `[places, channels]`. Awaits `after_layer` after
    /// each block, and ends with its error.
    pub async fn forward<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        let mut x = self.stem.forward(patches, self.stem_act, None);
        for block in &self.blocks {
            x = block.forward(x);
            after_layer().await?;
        }
        Ok(x)
    }
}

impl Block {
    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        let mut residual = self.residual.then(|| x.clone());
        for (index, step) in self.steps.iter().enumerate() {
            let is_last = index + 1 == self.steps.len();
            x = step.forward(x, if is_last { residual.take() } else { None });
        }
        x
    }
}

impl LoadedStep {
    /// Of one map the next, to which a linear step adds `residual`.
    fn forward(&self, x: Tensor<2>, residual: Option<Tensor<2>>) -> Tensor<2> {
        assert!(residual.is_none() || matches!(self, Self::Linear(..)), "a residual is added by a linear step");
        match self {
            Self::Linear(linear, act) => linear.forward(x, *act, residual),
            Self::Depthwise(depthwise) => depthwise.forward(x),
            Self::Norm(norm) => norm.forward(x),
            Self::Attention(heads) => kernels::attention_full(x, *heads),
            Self::SqueezeExcite(part) => part.forward(x),
        }
    }
}
