//! The description of a decoder.

use super::rope::Rope;
use crate::activation::Activation;
use crate::kernels::Heads;
use crate::model::norm::NormSpec;

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
