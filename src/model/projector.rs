//! The two-layer MLP that maps vision features into the decoder's embedding space.

use burn::tensor::Tensor;

use super::linear::Linear;
use super::loader::Loader;
use crate::bundle::source::WeightSource;
use crate::error::Result;
use crate::kernels::Activation;
use crate::model::config::VisionConfig;

/// `linear_2(activation(linear_1(x)))`.
pub struct MultiModalProjector {
    linear_1: Linear,
    linear_2: Linear,
    activation: Activation,
}

impl MultiModalProjector {
    /// Loads `multi_modal_projector.*`, which ends in a decoder of width `hidden`.
    pub async fn load<S: WeightSource>(
        loader: &mut Loader<'_, S>,
        config: &VisionConfig,
        hidden: usize,
    ) -> Result<Self> {
        let width = config.projector_input_size();
        let bias = config.multimodal_projector_bias;
        Ok(Self {
            linear_1: Linear::load(loader, "multi_modal_projector.linear_1", hidden, width, bias).await?,
            linear_2: Linear::load(loader, "multi_modal_projector.linear_2", hidden, hidden, bias).await?,
            activation: config.projector_hidden_act,
        })
    }

    /// `[tokens, vision width]` -> `[tokens, text hidden]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(self.linear_1.forward(features, self.activation, None), Activation::None, None)
    }
}
