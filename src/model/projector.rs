//! The two-layer MLP that maps vision features into the decoder's embedding space.

use burn::tensor::Tensor;

use super::config::VisionConfig;
use super::linear::{Linear, LinearParameters, Stack};
use super::loader::Loader;
use super::parameters::{Parameters, Role};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::error::Result;

/// What a [`MultiModalProjector`] is loaded by.
pub struct ProjectorParameters {
    linear_1: LinearParameters,
    linear_2: LinearParameters,
    activation: Activation,
}

impl ProjectorParameters {
    /// Declares `multi_modal_projector.*`, which ends in a decoder of width `hidden`.
    pub fn declare(parameters: &mut Parameters, config: &VisionConfig, hidden: usize) -> Self {
        let mut linear = |name: &str, cols: usize| {
            let stack = Stack::one(format!("multi_modal_projector.{name}"), hidden);
            LinearParameters::declare(parameters, &stack, &[cols], config.multimodal_projector_bias, Role::Projector)
        };
        Self {
            linear_1: linear("linear_1", config.projector_input_size()),
            linear_2: linear("linear_2", hidden),
            activation: config.projector_hidden_act,
        }
    }

    async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<MultiModalProjector> {
        Ok(MultiModalProjector {
            linear_1: self.linear_1.load(loader).await?,
            linear_2: self.linear_2.load(loader).await?,
            activation: self.activation,
        })
    }
}

/// `linear_2(activation(linear_1(x)))`.
pub struct MultiModalProjector {
    linear_1: Linear,
    linear_2: Linear,
    activation: Activation,
}

impl MultiModalProjector {
    /// Loads the projector in front of a decoder of width `hidden`.
    pub async fn load<S: ChunkSource>(
        loader: &mut Loader<'_, S>,
        config: &VisionConfig,
        hidden: usize,
    ) -> Result<Self> {
        ProjectorParameters::declare(&mut Parameters::default(), config, hidden).load(loader).await
    }

    /// `[tokens, vision width]` -> `[tokens, text hidden]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(self.linear_1.forward(features, self.activation, None), Activation::None, None)
    }
}
