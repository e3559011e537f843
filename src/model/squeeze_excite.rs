//! Squeeze and excitation: each channel of a map is weighed by what two layers make of all channels' means.
//!
//! Both ends are depthwise convolutions: the mean is one whose kernel covers the map, the weighing one of a single place.

use burn::tensor::Tensor;

use super::linear::{Linear, LinearParameters, Stack};
use super::loader::Loader;
use super::parameters::{Parameters, Role};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::device::tensors;
use crate::error::Result;
use crate::kernels::{self, Window};

/// What a [`SqueezeExcite`] is loaded by.
pub struct SqueezeExciteParameters {
    fc1: LinearParameters,
    fc2: LinearParameters,
    channels: usize,
    side: usize,
    act: Activation,
}

impl SqueezeExciteParameters {
    /// Declares `{name}.fc1`, to `reduced` channels, and `{name}.fc2` for a map of `side` places along each side.
    pub fn declare(
        parameters: &mut Parameters,
        name: &str,
        channels: usize,
        reduced: usize,
        side: usize,
        act: Activation,
    ) -> Self {
        let mut linear = |part: &str, rows: usize, cols: usize| {
            let stack = Stack::one(format!("{name}.{part}"), rows);
            LinearParameters::declare(parameters, &stack, &[cols, 1, 1], true, Role::Vision)
        };
        let (fc1, fc2) = (linear("fc1", reduced, channels), linear("fc2", channels, reduced));
        Self { fc1, fc2, channels, side, act }
    }

    pub async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<SqueezeExcite> {
        let (channels, places) = (self.channels, self.side * self.side);
        Ok(SqueezeExcite {
            fc1: self.fc1.load(loader).await?,
            fc2: self.fc2.load(loader).await?,
            shares: tensors::floats(vec![1.0 / places as f32; places * channels], [places, channels], loader.device()),
            side: self.side,
            act: self.act,
        })
    }
}

/// `act(x * σ(fc2(relu(fc1(mean of x)))))`
pub struct SqueezeExcite {
    fc1: Linear,
    fc2: Linear,
    /// Of each place in the mean, `[side², channels]`.
    shares: Tensor<2>,
    side: usize,
    act: Activation,
}

impl SqueezeExcite {
    /// `[side², channels]` -> the same.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mean = kernels::depthwise(x.clone(), &self.shares, None, Window::whole(self.side), Activation::None);
        let weights = self.fc2.forward(self.fc1.forward(mean, Activation::Relu, None), Activation::Sigmoid, None);
        kernels::depthwise(x, &weights, None, Window::patches(self.side, 1), self.act)
    }
}
