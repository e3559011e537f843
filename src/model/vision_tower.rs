//! The vision tower: what the first layer reads of a picture to hidden states, by a network of the kind that its description asks
//! for.

use burn::tensor::Tensor;

use super::config::VisionConfig;
use super::convolutional::{Convolutional, ConvolutionalParameters};
use super::loader::Loader;
use super::parameters::Parameters;
use super::tower::TowerSpec;
use super::transformer::{self, Transformer, TransformerParameters};
use crate::bundle::source::ChunkSource;
use crate::error::Result;

/// What a [`VisionTower`] is loaded by.
pub enum TowerParameters<'a> {
    Transformer(Box<TransformerParameters<'a>>),
    Convolutional(ConvolutionalParameters),
}

impl<'a> TowerParameters<'a> {
    /// Declares the tower; layers above the deepest that is read from are neither loaded nor run.
    pub fn declare(parameters: &mut Parameters, vision: &'a VisionConfig) -> Self {
        match &vision.tower {
            TowerSpec::Transformer(tower) => {
                Self::Transformer(Box::new(TransformerParameters::declare(parameters, vision, tower)))
            }
            TowerSpec::Convolutional(tower) => Self::Convolutional(ConvolutionalParameters::declare(parameters, tower)),
        }
    }

    async fn load<S: ChunkSource>(&self, loader: &mut Loader<'_, S>) -> Result<VisionTower> {
        Ok(match self {
            Self::Transformer(parameters) => VisionTower::Transformer(Box::new(parameters.load(loader).await?)),
            Self::Convolutional(parameters) => VisionTower::Convolutional(Box::new(parameters.load(loader).await?)),
        })
    }
}

/// Whether a tensor of a checkpoint, by its canonical name, lies above the layers that are read from.
pub fn is_above(vision: &VisionConfig, name: &str) -> bool {
    match &vision.tower {
        TowerSpec::Transformer(tower) => transformer::is_above(vision, tower, name),
        TowerSpec::Convolutional(_) => false,
    }
}

/// A vision tower on a device.
pub enum VisionTower {
    Transformer(Box<Transformer>),
    Convolutional(Box<Convolutional>),
}

impl VisionTower {
    pub async fn load<S: ChunkSource>(loader: &mut Loader<'_, S>, vision: &VisionConfig) -> Result<Self> {
        TowerParameters::declare(&mut Parameters::default(), vision).load(loader).await
    }

    /// `patches` as [`TowerSpec::patches`] says -> selected hidden states `[tokens, hidden * feature layers]`. Awaits `after_layer`
    /// after each layer, and ends with its error.
    pub async fn forward<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        match self {
            Self::Transformer(tower) => tower.forward(patches, after_layer).await,
            Self::Convolutional(tower) => tower.forward(patches, after_layer).await,
        }
    }
}
