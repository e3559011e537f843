//! Which tensors a model has, by its configuration: what the converter writes and what a made-up model needs.

use crate::model::config::{LlamaConfig, LlavaConfig, VisionConfig};
use crate::quant::Format;

/// What a tensor is for: decides its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Norms, biases, class and position embedding: small, and always f32.
    Vector,
    /// The convolution that cuts the picture into patches: its columns rarely fit blocks.
    PatchEmbedding,
    /// Linear layers of the vision tower.
    Vision,
    /// Linear layers of the projector.
    Projector,
    Embedding,
    /// Linear layers of the decoder.
    Decoder,
    Head,
}

impl Role {
    /// The format for this role when `asked` is asked for: the vision side is never stored below 8 bits, where it
    /// costs most and saves least.
    pub fn format(self, asked: Format) -> Format {
        match self {
            Role::Vector => Format::F32,
            Role::PatchEmbedding if asked.is_quantized() => Format::F16,
            Role::Vision | Role::Projector if asked.bits() < 8.0 => Format::Q8,
            _ => asked,
        }
    }

    /// What a summary calls it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Vector => "norms, biases, positions",
            Role::PatchEmbedding => "patch embedding",
            Role::Vision => "vision tower",
            Role::Projector => "projector",
            Role::Embedding => "token embedding",
            Role::Decoder => "decoder",
            Role::Head => "head",
        }
    }
}

/// One tensor the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Canonical name.
    pub name: String,
    /// Shape in the checkpoint. The bundle folds everything after the rows into columns.
    pub shape: Vec<usize>,
    pub role: Role,
}

impl Needed {
    /// Shape in the bundle: `[rows, cols]` or `[len]`.
    pub fn stored_shape(&self) -> Vec<usize> {
        match self.shape[..] {
            [rows, ref cols @ ..] if cols.len() > 1 => vec![rows, cols.iter().product()],
            _ => self.shape.clone(),
        }
    }
}

/// Every tensor the model needs, in the order in which it loads them.
pub fn plan(config: &LlavaConfig) -> Vec<Needed> {
    let mut plan = Plan(Vec::new());
    if let Some(vision) = &config.vision {
        plan.vision(vision);
        let (text, bias) = (config.text.hidden_size, vision.multimodal_projector_bias);
        plan.linear("multi_modal_projector.linear_1", text, vision.projector_input_size(), bias, Role::Projector);
        plan.linear("multi_modal_projector.linear_2", text, text, bias, Role::Projector);
    }
    plan.decoder(&config.text);
    plan.0
}

struct Plan(Vec<Needed>);

impl Plan {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.0.push(Needed { name: name.into(), shape: shape.into(), role });
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize, bias: bool, role: Role) {
        self.add(format!("{name}.weight"), &[rows, cols], role);
        if bias {
            self.add(format!("{name}.bias"), &[rows], Role::Vector);
        }
    }

    /// Linear layers that the model joins into one: all weights first, so that they lie side by side.
    fn fused(&mut self, names: &[(String, usize)], cols: usize, bias: bool, role: Role) {
        for (name, rows) in names {
            self.add(format!("{name}.weight"), &[*rows, cols], role);
        }
        for (name, rows) in names.iter().filter(|_| bias) {
            self.add(format!("{name}.bias"), &[*rows], Role::Vector);
        }
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), &[width], Role::Vector);
        self.add(format!("{name}.bias"), &[width], Role::Vector);
    }

    fn vision(&mut self, vision: &VisionConfig) {
        let config = &vision.tower;
        let (hidden, patch) = (config.hidden_size, config.patch_size);
        let tower = "vision_tower.vision_model";
        self.add(format!("{tower}.embeddings.class_embedding"), &[hidden], Role::Vector);
        let kernel = [hidden, config.num_channels, patch, patch];
        self.add(format!("{tower}.embeddings.patch_embedding.weight"), &kernel, Role::PatchEmbedding);
        let positions = [config.positions(), hidden];
        self.add(format!("{tower}.embeddings.position_embedding.weight"), &positions, Role::Vector);
        self.layer_norm(&format!("{tower}.pre_layrnorm"), hidden);
        for index in 0..vision.layers_needed() {
            let layer = format!("{tower}.encoder.layers.{index}");
            self.layer_norm(&format!("{layer}.layer_norm1"), hidden);
            let qkv = ["q", "k", "v"].map(|part| (format!("{layer}.self_attn.{part}_proj"), hidden));
            self.fused(&qkv, hidden, true, Role::Vision);
            self.linear(&format!("{layer}.self_attn.out_proj"), hidden, hidden, true, Role::Vision);
            self.layer_norm(&format!("{layer}.layer_norm2"), hidden);
            self.linear(&format!("{layer}.mlp.fc1"), config.intermediate_size, hidden, true, Role::Vision);
            self.linear(&format!("{layer}.mlp.fc2"), hidden, config.intermediate_size, true, Role::Vision);
        }
    }

    fn decoder(&mut self, config: &LlamaConfig) {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (query, key_value) = (config.query_size(), config.key_value_size());
        self.add("language_model.model.embed_tokens.weight", &[vocab, hidden], Role::Embedding);
        for index in 0..config.num_hidden_layers {
            let layer = format!("language_model.model.layers.{index}");
            self.add(format!("{layer}.input_layernorm.weight"), &[hidden], Role::Vector);
            let attention = |part: &str| format!("{layer}.self_attn.{part}_proj");
            let qkv = [(attention("q"), query), (attention("k"), key_value), (attention("v"), key_value)];
            self.fused(&qkv, hidden, config.attention_bias, Role::Decoder);
            self.linear(&attention("o"), hidden, query, config.attention_bias, Role::Decoder);
            self.add(format!("{layer}.post_attention_layernorm.weight"), &[hidden], Role::Vector);
            let gate_up = ["gate", "up"].map(|part| (format!("{layer}.mlp.{part}_proj"), config.intermediate_size));
            self.fused(&gate_up, hidden, config.mlp_bias, Role::Decoder);
            let down = format!("{layer}.mlp.down_proj");
            self.linear(&down, hidden, config.intermediate_size, config.mlp_bias, Role::Decoder);
        }
        self.add("language_model.model.norm.weight", &[hidden], Role::Vector);
        if !config.tie_word_embeddings {
            self.add("language_model.lm_head.weight", &[vocab, hidden], Role::Head);
        }
    }
}
