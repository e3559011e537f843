//! The decoder: token embedding, layers, head. Field names are the checkpoint's.

use burn::tensor::{Int, Tensor};

use super::decoder::DecoderSpec;
use super::linear::{Linear, LinearParameters, Stack};
use super::loader::Loader;
use super::norm::{Norm, NormParameters};
use super::parameters::{Needed, Parameter, Parameters, Role};
use crate::activation::Activation;
use crate::bundle::source::ChunkSource;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernels::{self, Heads, KvCache, KvFormat, TuneWork, Weight};

/// What the canonical names of the decoder begin with, but for the head's.
pub const PREFIX: &str = "language_model.model";
pub const EMBEDDING: &str = "language_model.model.embed_tokens.weight";
pub const HEAD: &str = "language_model.lm_head.weight";

/// What a [`LanguageModel`] is loaded by.
pub struct DecoderParameters<'a> {
    decoder: &'a DecoderSpec,
    embed_tokens: Parameter,
    layers: Vec<LayerParameters>,
    norm: NormParameters,
    lm_head: Parameter,
}

impl<'a> DecoderParameters<'a> {
    /// Declares `language_model.*`; a tied head is not declared, but loaded where it is there.
    pub fn declare(parameters: &mut Parameters, decoder: &'a DecoderSpec) -> Self {
        let (vocab, hidden) = (decoder.vocab_size, decoder.hidden_size);
        let table = |name: &str, role| Parameter::one(Needed::new(name, [vocab, hidden], role));
        let embed_tokens = parameters.declare(table(EMBEDDING, Role::Embedding));
        let layers = (0..decoder.num_hidden_layers)
            .map(|index| LayerParameters::declare(parameters, &format!("{PREFIX}.layers.{index}"), decoder))
            .collect();
        let norm = NormParameters::declare(parameters, &format!("{PREFIX}.norm"), hidden, decoder.norm);
        let mut lm_head = table(HEAD, Role::Head);
        if !decoder.tie_word_embeddings {
            lm_head = parameters.declare(lm_head);
        }
        Self { decoder, embed_tokens, layers, norm, lm_head }
    }

    async fn load<S: ChunkSource>(
        &self,
        loader: &mut Loader<'_, S>,
        capacity: usize,
        format: KvFormat,
    ) -> Result<LanguageModel> {
        let embed_tokens = loader.weight(&self.embed_tokens).await?;
        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(layer.load(loader, capacity, format).await?);
        }
        let norm = self.norm.load(loader).await?;
        let lm_head = match self.decoder.tie_word_embeddings && !loader.contains(&self.lm_head) {
            true => None,
            false => Some(loader.weight(&self.lm_head).await?),
        };
        let rope = kernels::rope_table(&self.decoder.inv_freq(), capacity, loader.device());
        Ok(LanguageModel { embed_tokens, layers, norm, lm_head, rope })
    }
}

/// Token embedding, decoder layers, final norm and language-model head.
pub struct LanguageModel {
    embed_tokens: Weight,
    layers: Vec<Layer>,
    norm: Norm,
    /// `None` when the head is tied to the embedding.
    lm_head: Option<Weight>,
    /// Cosines then sines of every position, `[capacity, head_dim]`.
    rope: Tensor<2>,
}

impl LanguageModel {
    /// Loads the decoder with key-value caches for `capacity` positions, whose `format` must fit the heads.
    pub async fn load<S: ChunkSource>(
        loader: &mut Loader<'_, S>,
        decoder: &DecoderSpec,
        capacity: usize,
        format: KvFormat,
    ) -> Result<Self> {
        DecoderParameters::declare(&mut Parameters::default(), decoder).load(loader, capacity, format).await
    }

    /// What variants of kernels are timed on.
    pub fn tune_work(&self) -> TuneWork<'_> {
        TuneWork {
            weights: self.layers.iter().map(|layer| layer.down_proj.weight()).collect(),
            gated: self.layers.iter().map(|layer| layer.gate_up_proj.weight()).collect(),
            caches: self.layers.iter().map(|layer| &layer.kv_cache).collect(),
        }
    }

    /// `ids` `[n]` -> embeddings `[n, hidden]`.
    pub fn embed(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        kernels::embedding(ids, &self.embed_tokens)
    }

    /// The embedding of the token drawn last, `[1, hidden]`.
    pub fn embed_drawn(&self, state: &Buffer) -> Tensor<2> {
        kernels::embed_drawn(state, &self.embed_tokens)
    }

    /// Runs `x` `[n, hidden]` through all layers at positions `state[0]..state[0]+n`, filling the caches; `[n, hidden]`.
    pub fn forward(&self, x: Tensor<2>, state: &Buffer) -> Tensor<2> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &self.rope, state))
    }

    /// [`forward`](Self::forward) for many positions: awaits `after_layer` after each layer, and ends with its error.
    pub async fn prefill<E>(
        &self,
        mut x: Tensor<2>,
        state: &Buffer,
        after_layer: &mut impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor<2>, E> {
        for layer in &self.layers {
            x = layer.forward(x, &self.rope, state);
            after_layer().await?;
        }
        Ok(x)
    }

    /// Last hidden state `[1, hidden]` -> logits `[1, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        kernels::linear(self.norm.forward(hidden), head, None, None, Activation::None)
    }
}

struct LayerParameters {
    input_layernorm: NormParameters,
    qkv_proj: LinearParameters,
    o_proj: LinearParameters,
    post_attention_layernorm: NormParameters,
    gate_up_proj: LinearParameters,
    down_proj: LinearParameters,
    heads: Heads,
    activation: Activation,
}

impl LayerParameters {
    fn declare(parameters: &mut Parameters, name: &str, decoder: &DecoderSpec) -> Self {
        let DecoderSpec { hidden_size: hidden, intermediate_size: ffn, bias, fused, .. } = *decoder;
        let heads = decoder.heads();
        let norm = |parameters: &mut Parameters, part: &str| {
            NormParameters::declare(parameters, &format!("{name}.{part}"), hidden, decoder.norm)
        };
        let linear = |parameters: &mut Parameters, stack: Stack, cols: usize, bias: bool| {
            LinearParameters::declare(parameters, &stack, &[cols], bias, Role::Decoder)
        };
        let qkv = Stack::qkv(name, heads, fused.qkv).rotated(heads);
        let o = Stack::one(format!("{name}.self_attn.o_proj"), hidden);
        let gate_up = Stack::gate_up(name, ffn, fused.gate_up);
        let down = Stack::one(format!("{name}.mlp.down_proj"), hidden);
        Self {
            input_layernorm: norm(parameters, "input_layernorm"),
            qkv_proj: linear(parameters, qkv, hidden, bias.qkv),
            o_proj: linear(parameters, o, decoder.query_size(), bias.o),
            post_attention_layernorm: norm(parameters, "post_attention_layernorm"),
            gate_up_proj: linear(parameters, gate_up, hidden, bias.gate_up),
            down_proj: linear(parameters, down, ffn, bias.down),
            heads,
            activation: decoder.hidden_act,
        }
    }

    async fn load<S: ChunkSource>(
        &self,
        loader: &mut Loader<'_, S>,
        capacity: usize,
        format: KvFormat,
    ) -> Result<Layer> {
        Ok(Layer {
            input_layernorm: self.input_layernorm.load(loader).await?,
            qkv_proj: self.qkv_proj.load(loader).await?,
            o_proj: self.o_proj.load(loader).await?,
            post_attention_layernorm: self.post_attention_layernorm.load(loader).await?,
            gate_up_proj: self.gate_up_proj.load(loader).await?,
            down_proj: self.down_proj.load(loader).await?,
            kv_cache: KvCache::new(capacity, self.heads, format, loader.device()),
            heads: self.heads,
            activation: self.activation,
        })
    }
}

struct Layer {
    input_layernorm: Norm,
    qkv_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: Norm,
    gate_up_proj: Linear,
    down_proj: Linear,
    kv_cache: KvCache,
    heads: Heads,
    activation: Activation,
}

impl Layer {
    fn forward(&self, x: Tensor<2>, rope: &Tensor<2>, state: &Buffer) -> Tensor<2> {
        let norm = &self.input_layernorm;
        let q = self.qkv_proj.forward_rope_cache(x.clone(), norm, rope, &self.kv_cache, state, self.heads);
        let attended = kernels::attention(q, &self.kv_cache, state, self.heads);
        let x = self.o_proj.forward(attended, Activation::None, Some(x));
        let mlp = self.gate_up_proj.forward_gated(x.clone(), &self.post_attention_layernorm, self.activation);
        self.down_proj.forward(mlp, Activation::None, Some(x))
    }
}
