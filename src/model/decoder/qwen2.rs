//! Qwen2's configuration: LLaMA's fields; defaults are those of transformers' `Qwen2Config`.

use super::llama::{Defaults, read_with};
use super::spec::{Biases, DecoderSpec};
use crate::Result;
use crate::model::fields::Fields;

/// `<|endoftext|>` is what ends an answer where no file says it.
const DEFAULTS: Defaults =
    Defaults { vocab_size: 151936, intermediate_size: 22016, max_position_embeddings: 32768, eos_token_id: 151643 };

/// Reads the fields of a Qwen2's config.json, or of a `text_config`.
pub fn read(fields: &Fields) -> Result<DecoderSpec> {
    let bias = Biases { qkv: true, o: false, gate_up: false, down: false };
    Ok(DecoderSpec { bias, ..read_with(fields, &DEFAULTS)? })
}
