//! A depthwise convolution. Its weights are few: they are decoded when they are loaded.

use burn::tensor::Tensor;

use super::loader::Loader;
use super::parameters::{Fold, Needed, Parameter, Parameters, Role};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::device::tensors;
use crate::error::Result;
use crate::kernels::{self, Window};

/// What a [`Depthwise`] is loaded by.
pub struct DepthwiseParameters {
    weight: Parameter,
    bias: Parameter,
    window: Window,
    act: Activation,
}

impl DepthwiseParameters {
    /// Declares `{name}.weight` `[channels, 1, kernel, kernel]` and `{name}.bias` `[channels]`.
    pub fn declare(
        parameters: &mut Parameters,
        name: &str,
        channels: usize,
        window: Window,
        act: Activation,
        fold: Fold,
    ) -> Self {
        let mut one = |kind: &str, shape: &[usize], role| {
            let needed = Needed::new(format!("{name}.{kind}"), shape, role);
            parameters.declare(Parameter::one(Needed { fold: Some(fold.clone()), ..needed }))
        };
        let weight = one("weight", &[channels, 1, window.kernel, window.kernel], Role::Depthwise);
        Self { weight, bias: one("bias", &[channels], Role::Vector), window, act }
    }

    pub async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<Depthwise> {
        let (kernels, places) = (loader.values(&self.weight).await?, self.weight.cols());
        let by_place = (0..places).flat_map(|place| kernels.iter().skip(place).step_by(places)).copied().collect();
        Ok(Depthwise {
            weight: tensors::floats(by_place, [places, self.weight.rows()], loader.device()),
            bias: loader.vector(&self.bias).await?,
            window: self.window,
            act: self.act,
        })
    }
}

/// `act(x * weight + bias)`, each channel with a kernel of its own.
pub struct Depthwise {
    /// `[kernel², channels]`
    weight: Tensor<2>,
    bias: Tensor<1>,
    window: Window,
    act: Activation,
}

impl Depthwise {
    /// `[side², channels]` -> `[out², channels]`, as the window says.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::depthwise(x, &self.weight, Some(&self.bias), self.window, self.act)
    }
}
