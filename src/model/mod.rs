//! LLaVA as a graph of Burn tensors over the kernels of [`crate::kernels`].

mod clip;
pub mod config;
mod linear;
mod llama;
mod loader;
pub mod parameters;
mod projector;

use burn::tensor::{Device, Tensor};

use crate::bundle::source::WeightSource;
use crate::error::Result;
use crate::kernels::KvFormat;
use crate::model::config::LlavaConfig;
use crate::model::parameters::plan;

pub use clip::VisionTower;
pub use llama::Llama;
pub use loader::Loader;
pub use projector::MultiModalProjector;

/// CLIP vision tower -> projector -> LLaMA decoder; or the decoder alone.
pub struct Llava {
    pub vision: Option<Vision>,
    pub language_model: Llama,
}

/// The part that sees.
pub struct Vision {
    pub vision_tower: VisionTower,
    pub multi_modal_projector: MultiModalProjector,
}

impl Llava {
    /// Pulls every tensor from `source`, in the order bundles store them, onto `device`. What is missing or has another
    /// shape than `config` asks for is refused before the first of them is read.
    pub async fn load<S: WeightSource>(
        source: &S,
        config: &LlavaConfig,
        context_length: usize,
        kv_cache: KvFormat,
        device: &Device,
    ) -> Result<Self> {
        let mut loader = Loader::new(source, device);
        plan(config).iter().try_for_each(|needed| loader.check(needed))?;
        let vision = match &config.vision {
            Some(vision) => Some(Vision {
                vision_tower: VisionTower::load(&mut loader, vision).await?,
                multi_modal_projector: MultiModalProjector::load(&mut loader, vision, config.text.hidden_size).await?,
            }),
            None => None,
        };
        Ok(Self { vision, language_model: Llama::load(&mut loader, config, context_length, kv_cache).await? })
    }
}

impl Vision {
    /// `patches` `[patches, channels*patch*patch]` of one picture -> its embeddings `[image tokens, text hidden]`.
    /// Awaits `after_layer` after each layer of the vision tower, and ends with its error.
    pub async fn image_features<E>(
        &self,
        patches: Tensor<2>,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        Ok(self.multi_modal_projector.forward(self.vision_tower.forward(patches, after_layer).await?))
    }
}
