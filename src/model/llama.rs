//! The LLaMA decoder. Field names are the checkpoint's.

use burn::tensor::{Int, Tensor};

use super::linear::Linear;
use super::loader::Loader;
use crate::bundle::source::WeightSource;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernels::{self, Activation, Heads, KvCache, KvFormat, TuneWork, Weight};
use crate::model::config::{LlamaConfig, LlavaConfig};

/// Token embedding, decoder layers, final norm and language-model head.
pub struct Llama {
    embed_tokens: Weight,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// `None` when the head is tied to the embedding.
    lm_head: Option<Weight>,
    /// Cosines then sines of every position, `[capacity, head_dim]`.
    rope: Tensor<2>,
}

impl Llama {
    /// Loads `language_model.*` with key-value caches for `capacity` positions, whose `format` must fit the heads.
    pub async fn load<S: WeightSource>(
        loader: &mut Loader<'_, S>,
        config: &LlavaConfig,
        capacity: usize,
        format: KvFormat,
    ) -> Result<Self> {
        let text = &config.text;
        let prefix = "language_model.model";
        let table = |name: String| [(name, text.vocab_size)];
        let embed_tokens = loader.weight(&table(format!("{prefix}.embed_tokens.weight")), text.hidden_size, 1).await?;
        let mut layers = Vec::with_capacity(text.num_hidden_layers);
        for index in 0..text.num_hidden_layers {
            layers.push(Layer::load(loader, &format!("{prefix}.layers.{index}"), text, capacity, format).await?);
        }
        let norm = RmsNorm::load(loader, &format!("{prefix}.norm"), text).await?;
        let head = "language_model.lm_head.weight";
        let lm_head = match text.tie_word_embeddings && !loader.contains(head) {
            true => None,
            false => Some(loader.weight(&table(head.into()), text.hidden_size, 1).await?),
        };
        let rope = kernels::rope_table(&text.inv_freq(), capacity, loader.device());
        Ok(Self { embed_tokens, layers, norm, lm_head, rope })
    }

    /// What variants of kernels are timed on.
    pub fn tune_work(&self) -> TuneWork<'_> {
        let weights = self.layers.iter().map(|layer| layer.down_proj.weight()).collect();
        TuneWork { weights, caches: self.layers.iter().map(|layer| &layer.kv_cache).collect() }
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

struct Layer {
    input_layernorm: RmsNorm,
    qkv_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    gate_up_proj: Linear,
    down_proj: Linear,
    kv_cache: KvCache,
    heads: Heads,
    activation: Activation,
}

impl Layer {
    async fn load<S: WeightSource>(
        loader: &mut Loader<'_, S>,
        name: &str,
        config: &LlamaConfig,
        capacity: usize,
        format: KvFormat,
    ) -> Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let (query, key_value) = (config.query_size(), config.key_value_size());
        let attn = |part: &str| format!("{name}.self_attn.{part}");
        let mlp = |part: &str| format!("{name}.mlp.{part}");
        let input_layernorm = RmsNorm::load(loader, &format!("{name}.input_layernorm"), config).await?;
        let qkv = [(attn("q_proj"), query), (attn("k_proj"), key_value), (attn("v_proj"), key_value)];
        let qkv_proj = Linear::load_stacked(loader, &qkv, hidden, config.attention_bias, 0).await?;
        let o_proj = Linear::load(loader, &attn("o_proj"), hidden, query, config.attention_bias).await?;
        let post_attention_layernorm =
            RmsNorm::load(loader, &format!("{name}.post_attention_layernorm"), config).await?;
        let gate_up = [(mlp("gate_proj"), ffn), (mlp("up_proj"), ffn)];
        let gate_up_proj = Linear::load_stacked(loader, &gate_up, hidden, config.mlp_bias, 2).await?;
        let down_proj = Linear::load(loader, &mlp("down_proj"), hidden, ffn, config.mlp_bias).await?;
        let heads = config.heads();
        Ok(Self {
            input_layernorm,
            qkv_proj,
            o_proj,
            post_attention_layernorm,
            gate_up_proj,
            down_proj,
            kv_cache: KvCache::new(capacity, heads, format, loader.device()),
            heads,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: Tensor<2>, rope: &Tensor<2>, state: &Buffer) -> Tensor<2> {
        let normed = self.input_layernorm.forward(x.clone());
        let q = self.qkv_proj.forward_rope_cache(normed, rope, &self.kv_cache, state, self.heads);
        let attended = kernels::attention(q, &self.kv_cache, state, self.heads);
        let x = self.o_proj.forward(attended, Activation::None, Some(x));
        let mlp = self.gate_up_proj.forward_gated(self.post_attention_layernorm.forward(x.clone()), self.activation);
        self.down_proj.forward(mlp, Activation::None, Some(x))
    }
}

struct RmsNorm {
    weight: Tensor<1>,
    eps: f32,
}

impl RmsNorm {
    async fn load<S: WeightSource>(loader: &mut Loader<'_, S>, name: &str, config: &LlamaConfig) -> Result<Self> {
        let weight = loader.vector(&[(format!("{name}.weight"), config.hidden_size)]).await?;
        Ok(Self { weight, eps: config.rms_norm_eps })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::rms_norm(x, &self.weight, self.eps)
    }
}
