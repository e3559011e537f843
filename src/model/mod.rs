//! LLaVA as a graph of Burn tensors over the kernels of [`crate::kernels`].
//!
//! `config`, `tower` and `decoder` say what a model is, as values read from config.json; `vision_tower` (by way of `transformer`
//! or `convolutional`), `projector` and `language_model` declare the parameters of what is so described, load them and run it.

pub mod config;
mod convolutional;
pub mod decoder;
mod depthwise;
mod fields;
mod language_model;
mod linear;
mod loader;
mod memory;
pub mod norm;
pub mod parameters;
mod plan;
mod projector;
mod squeeze_excite;
pub mod tower;
mod transformer;
mod vision_tower;

use burn::tensor::{Device, Tensor};

use self::config::LlavaConfig;
use crate::bundle::source::ChunkSource;
use crate::error::Result;
use crate::kernels::KvFormat;

pub use language_model::{EMBEDDING, HEAD, LanguageModel, PREFIX as DECODER_PREFIX};
pub use loader::Loader;
pub use memory::memory;
pub use plan::{parameters, plan};
pub use projector::MultiModalProjector;
pub use vision_tower::{VisionTower, is_above};

/// Vision tower -> projector -> decoder; or the decoder alone.
pub struct Llava {
    pub vision: Option<Vision>,
    pub language_model: LanguageModel,
}

/// The part that sees.
pub struct Vision {
    pub vision_tower: VisionTower,
    pub multi_modal_projector: MultiModalProjector,
}

impl Llava {
    /// Pulls every tensor from `source`, in the order bundles store them, onto `device`. What is missing, has another
    /// shape than `config` asks for, or contradicts it in the manifest is refused before the first of them is read.
    pub async fn load<S: ChunkSource>(
        source: &S,
        config: &LlavaConfig,
        context_length: usize,
        kv_cache: KvFormat,
        device: &Device,
    ) -> Result<Self> {
        memory::check(source.manifest(), config)?;
        let mut loader = Loader::new(source, device);
        parameters(config).tensors().try_for_each(|needed| loader.check(needed))?;
        let vision = match &config.vision {
            Some(vision) => Some(Vision {
                vision_tower: VisionTower::load(&mut loader, vision).await?,
                multi_modal_projector: MultiModalProjector::load(&mut loader, vision, config.text.hidden_size).await?,
            }),
            None => None,
        };
        let language_model = LanguageModel::load(&mut loader, &config.text, context_length, kv_cache).await?;
        Ok(Self { vision, language_model })
    }
}

impl Vision {
    /// `patches` of one picture, as [`TowerSpec::patches`](tower::TowerSpec::patches) says, -> its embeddings `[image tokens, text hidden]`.
    /// Awaits `after_layer` after each layer of the vision tower, and ends with its error.
    pub async fn image_features<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        Ok(self.multi_modal_projector.forward(self.vision_tower.forward(patches, after_layer).await?))
    }
}
