//! What a decoder is, as values read from its configuration; [`LanguageModel`](super::LanguageModel) runs them.
//!
//! A decoder is an embedding, layers of attention with rotated heads and a gated feed-forward part, each behind a norm and
//! beside a residual, a last norm and a head. What families differ in is data: another one is a file that reads its fields, and
//! a row of [`FAMILIES`].

mod llama;
mod rope;

use super::fields::Fields;
use super::norm::NormSpec;
use crate::Result;
use crate::activation::Activation;
use crate::kernels::Heads;

pub use rope::{Rope, RopeScaling};

/// Reads one family's configuration.
type Read = fn(&Fields) -> Result<DecoderSpec>;

/// By `model_type`.
const FAMILIES: &[(&str, Read)] = &[("llama", llama::read)];
/// The family of a configuration that does not say, as in LLaVA's own.
const DEFAULT: &str = "llama";

/// A decoder. Names are the checkpoint's.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Fewer than `num_attention_heads`: grouped-query attention.
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    /// Of the gate.
    pub hidden_act: Activation,
    /// Before attention, before the feed-forward part, and before the head.
    pub norm: NormSpec,
    pub rope: Rope,
    pub bias: Biases,
    pub fused: Fused,
    /// The head is `embed_tokens`; set here or at the top level of the file.
    pub tie_word_embeddings: bool,
    /// What ends an answer where no file says it.
    pub eos_token_id: u32,
}

/// Which projections have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    pub qkv: bool,
    pub o: bool,
    pub gate_up: bool,
    pub down: bool,
}

/// Which projections are one tensor in the checkpoint (`qkv_proj`, `gate_up_proj`) instead of one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fused {
    pub qkv: bool,
    pub gate_up: bool,
}

impl DecoderSpec {
    /// Reads a decoder of any known family.
    pub fn read(fields: &Fields) -> Result<Self> {
        let read = fields.family(DEFAULT, FAMILIES)?;
        if fields.bool("use_sliding_window", true)? && fields.get("sliding_window").is_some() {
            return Err(fields.error("sliding_window", "attention to a part of the context is not supported"));
        }
        read(fields)
    }

    /// The heads, as kernels take them.
    pub fn heads(&self) -> Heads {
        let Self { num_attention_heads: heads, num_key_value_heads: kv_heads, head_dim, .. } = *self;
        Heads { heads, kv_heads, head_dim }
    }

    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Columns of the widest intermediate result.
    pub fn widest_activation(&self) -> usize {
        self.query_size().max(self.intermediate_size).max(self.hidden_size)
    }

    /// Rotary inverse frequencies, `[head_dim / 2]`, in radians per position.
    pub fn inv_freq(&self) -> Vec<f32> {
        self.rope.inv_freq(self.head_dim)
    }
}

/// Whether a configuration of this `model_type` is a decoder's alone.
pub fn is_family(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}

/// The families, for messages.
pub fn families() -> String {
    FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
