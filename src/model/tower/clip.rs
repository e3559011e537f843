//! CLIP's configuration; defaults are those of transformers' `CLIPVisionConfig`.

use super::spec::{CHANNELS, LARGEST_IMAGE, TowerSpec, TransformerSpec};
use crate::Result;
use crate::activation::Activation;
use crate::model::fields::{Fields, MOST_LAYERS};
use crate::model::norm::{NormKind, NormSpec};

/// Reads the fields of a `vision_config`.
pub fn read(fields: &Fields) -> Result<TowerSpec> {
    // Without any vision_config, LLaVA's own default is CLIP ViT-L/14 at 336 pixels, not CLIP's class default.
    let default = |clip: usize, llava: usize| if fields.is_absent() { llava } else { clip };
    let hidden_size = fields.size("hidden_size", default(768, 1024))?;
    let intermediate_size = fields.size("intermediate_size", default(3072, 4096))?;
    let num_hidden_layers = fields.count("num_hidden_layers", default(12, 24), 1, MOST_LAYERS)?;
    let num_attention_heads = fields.size("num_attention_heads", default(12, 16))?;
    let channels = fields.size("num_channels", CHANNELS)?;
    let image_size = fields.count("image_size", default(224, 336), 1, LARGEST_IMAGE)?;
    let patch_size = fields.count("patch_size", default(32, 14), 1, LARGEST_IMAGE)?;
    let hidden_act = fields.activation("hidden_act", Activation::QuickGelu)?;
    let norm = NormSpec { kind: NormKind::LayerNorm { bias: true }, eps: fields.float("layer_norm_eps", 1e-5)? };
    if channels != CHANNELS {
        return Err(fields.error("num_channels", "only colour pictures (3 channels) can be seen"));
    }
    if !hidden_size.is_multiple_of(num_attention_heads) {
        return Err(fields.error("num_attention_heads", format!("does not divide hidden_size {hidden_size}")));
    }
    fields.head_size("num_attention_heads", hidden_size / num_attention_heads)?;
    if patch_size > image_size {
        return Err(fields.error("patch_size", format!("is larger than image_size {image_size}")));
    }
    Ok(TowerSpec::Transformer(TransformerSpec {
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        image_size,
        patch_size,
        hidden_act,
        norm,
        patch_bias: false,
        class_token: true,
        pre_norm: true,
    }))
}
