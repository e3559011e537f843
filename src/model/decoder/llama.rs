//! LLaMA's configuration; defaults are those of transformers' `LlamaConfig`.

use super::rope::Rope;
use super::spec::{Biases, DecoderSpec, Fused};
use crate::Result;
use crate::activation::Activation;
use crate::model::fields::{Fields, LARGEST_SIZE, MOST_LAYERS};
use crate::model::norm::{NormKind, NormSpec};

/// What families that have LLaMA's fields differ in where a field is absent.
pub struct Defaults {
    pub vocab_size: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub eos_token_id: u32,
}

const DEFAULTS: Defaults =
    Defaults { vocab_size: 32000, intermediate_size: 11008, max_position_embeddings: 2048, eos_token_id: 2 };

/// Reads the fields of a LLaMA's config.json, or of a LLaVA's `text_config`.
pub fn read(fields: &Fields) -> Result<DecoderSpec> {
    read_with(fields, &DEFAULTS)
}

/// Reads the fields of a family with LLaMA's.
pub fn read_with(fields: &Fields, defaults: &Defaults) -> Result<DecoderSpec> {
    let hidden_size = fields.size("hidden_size", 4096)?;
    let num_attention_heads = fields.size("num_attention_heads", 32)?;
    let num_key_value_heads = fields.size("num_key_value_heads", num_attention_heads)?;
    if !num_attention_heads.is_multiple_of(num_key_value_heads) {
        let problem = format!("does not divide num_attention_heads {num_attention_heads}");
        return Err(fields.error("num_key_value_heads", problem));
    }
    let head_dim = fields.size("head_dim", (hidden_size / num_attention_heads).max(1))?;
    fields.head_size("head_dim", head_dim)?;
    if num_attention_heads as u64 * head_dim as u64 > LARGEST_SIZE as u64 {
        let problem = format!("{num_attention_heads} heads of {head_dim} are too wide");
        return Err(fields.error("num_attention_heads", problem));
    }
    let max_position_embeddings = fields.size("max_position_embeddings", defaults.max_position_embeddings)?;
    let rope = Rope::read(fields, max_position_embeddings)?;
    let vocab_size = fields.size("vocab_size", defaults.vocab_size)?;
    let intermediate_size = fields.size("intermediate_size", defaults.intermediate_size)?;
    let num_hidden_layers = fields.count("num_hidden_layers", 32, 1, MOST_LAYERS)?;
    let hidden_act = fields.activation("hidden_act", Activation::Silu)?;
    let norm = NormSpec { kind: NormKind::Rms { offset: 0.0 }, eps: fields.float("rms_norm_eps", 1e-6)? };
    let (attention, mlp) = (fields.bool("attention_bias", false)?, fields.bool("mlp_bias", false)?);
    Ok(DecoderSpec {
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings,
        hidden_act,
        norm,
        rope,
        bias: Biases { qkv: attention, o: attention, gate_up: mlp, down: mlp },
        fused: Fused { qkv: false, gate_up: false },
        tie_word_embeddings: fields.bool("tie_word_embeddings", false)?,
        eos_token_id: defaults.eos_token_id,
    })
}
