//! The model's shape, from the checkpoint's own `config.json`.
//!
//! Published LLaVA configurations leave most fields out, so every default here is the one of transformers' classes
//! (`LlavaConfig`, `CLIPVisionConfig`, `LlamaConfig`). A field this library cannot honour is an error that names it.

use serde_json::Value;

use crate::kernels::{Activation, Heads};
use crate::{Error, Result};

/// Upper bound of any width, count or length: far above every published model, far below what could overflow.
const LARGEST_SIZE: usize = 1 << 22;
/// A tower with more layers than this is a damaged configuration.
const MOST_LAYERS: usize = 1024;
/// Pixels along one side of the vision tower's input: twice the largest published ones, 48 MiB as floats.
pub const LARGEST_IMAGE: usize = 1 << 11;

/// Which positions of the vision tower's hidden state become image tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectStrategy {
    /// The patches, without the class token.
    Default,
    /// The class token, then the patches.
    Full,
}

/// The CLIP vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Always 3.
    pub num_channels: usize,
    /// Pixels along each side of the square input.
    pub image_size: usize,
    /// Pixels along each side of a patch.
    pub patch_size: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f32,
}

impl ClipConfig {
    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// The heads, as kernels take them.
    pub fn heads(&self) -> Heads {
        Heads { heads: self.num_attention_heads, kv_heads: self.num_attention_heads, head_dim: self.head_dim() }
    }

    /// Number of patches; pixels beyond the last whole patch are not seen.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Length of the tower's sequence: the class token and all patches.
    pub fn positions(&self) -> usize {
        self.patches() + 1
    }

    /// Columns of the patch embedding: all channels of one patch.
    pub fn patch_values(&self) -> usize {
        self.num_channels * self.patch_size * self.patch_size
    }
}

/// How rotary frequencies are stretched beyond the trained length.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    Default,
    Linear { factor: f32 },
    Llama3 { factor: f32, low_freq_factor: f32, high_freq_factor: f32, original_max_position_embeddings: usize },
}

/// The LLaMA decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Fewer than `num_attention_heads`: grouped-query attention.
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub hidden_act: Activation,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub rope_scaling: RopeScaling,
    /// Biases on the q, k, v and o projections.
    pub attention_bias: bool,
    /// Biases on the gate, up and down projections.
    pub mlp_bias: bool,
    /// The head is `embed_tokens`; set here or at the top level of the file.
    pub tie_word_embeddings: bool,
}

impl LlamaConfig {
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

    /// Rotary inverse frequencies, `[head_dim / 2]`, in radians per position.
    pub fn inv_freq(&self) -> Vec<f32> {
        let plain = (0..self.head_dim / 2).map(|i| self.rope_theta.powf(2.0 * i as f32 / self.head_dim as f32).recip());
        match self.rope_scaling {
            RopeScaling::Default => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|freq| freq / factor).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let trained = original_max_position_embeddings as f32;
                let scale = |freq: f32| {
                    let wavelength = 2.0 * std::f32::consts::PI / freq;
                    if wavelength > trained / low_freq_factor {
                        freq / factor
                    } else if wavelength < trained / high_freq_factor {
                        freq
                    } else {
                        let smooth = (trained / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - smooth) * freq / factor + smooth * freq
                    }
                };
                plain.map(scale).collect()
            }
        }
    }
}

/// What turns a picture into positions of the prompt: vision tower and projector.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    pub tower: ClipConfig,
    pub projector_hidden_act: Activation,
    pub multimodal_projector_bias: bool,
    pub image_token_id: u32,
    /// The vision tower's hidden states that the projector reads, side by side: 0 is the input of the first layer,
    /// `n` the output of layer `n`, always before `post_layernorm`. Negative values of the file are resolved.
    pub feature_layers: Vec<usize>,
    pub select_strategy: SelectStrategy,
}

impl VisionConfig {
    /// Number of prompt positions that one image takes.
    pub fn image_tokens(&self) -> usize {
        match self.select_strategy {
            SelectStrategy::Default => self.tower.patches(),
            SelectStrategy::Full => self.tower.positions(),
        }
    }

    /// Number of vision layers that have to run; those above are never used.
    pub fn layers_needed(&self) -> usize {
        self.feature_layers.iter().copied().max().unwrap_or(0)
    }

    /// Columns of the projector's first layer.
    pub fn projector_input_size(&self) -> usize {
        self.tower.hidden_size * self.feature_layers.len()
    }
}

/// The whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlavaConfig {
    /// `None`: a LLaMA alone, which answers prompts without a picture.
    pub vision: Option<VisionConfig>,
    pub text: LlamaConfig,
    /// Tokens that end the answer.
    pub eos_token_ids: Vec<u32>,
}

impl LlavaConfig {
    /// Reads `config.json` of a LLaVA or of a plain LLaMA, and the end tokens from `generation_config.json` (any value
    /// without them will do).
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the field whose value is malformed or cannot be honoured.
    pub fn from_json(config: &Value, generation: &Value) -> Result<Self> {
        let root = Fields::new("", config)?;
        if config.get("mm_vision_tower").is_some() && config.get("text_config").is_none() {
            let cure =
                "this is LLaVA's original layout; use the checkpoint in transformers' layout (usually named *-hf)";
            return Err(root.error("mm_vision_tower", cure));
        }
        let alone = root.str("model_type", "")? == "llama";
        let text_fields = if alone { Fields::new("", config)? } else { root.section("text_config")? };
        let vision = match alone {
            true => None,
            false => {
                root.model_type(None, "llava")?;
                Some(vision(&root)?)
            }
        };
        let mut text = llama(&text_fields)?;
        text.tie_word_embeddings |= root.bool("tie_word_embeddings", false)?;
        let eos_token_ids = [(generation, "generation_config."), (config, ""), (text_fields.value, "text_config.")]
            .into_iter()
            .find_map(|(value, path)| token_ids(value.get("eos_token_id")?, path).transpose())
            .unwrap_or_else(|| Ok(vec![2]))?;
        if let Some(id) = eos_token_ids.iter().find(|id| **id as usize >= text.vocab_size) {
            let problem = format!("{id} is no token of {}, so no answer would ever end", text.vocab_size);
            return Err(root.error("eos_token_id", problem));
        }
        Ok(Self { vision, text, eos_token_ids })
    }

    /// Number of prompt positions that one image takes; 0 for a model that sees none.
    pub fn image_tokens(&self) -> usize {
        self.vision.as_ref().map_or(0, VisionConfig::image_tokens)
    }
}

fn vision(root: &Fields) -> Result<VisionConfig> {
    let tower = clip(&root.section("vision_config")?)?;
    let layer_key = "vision_feature_layer";
    let feature_layers = match root.get(layer_key) {
        None => vec![root.hidden_state(&tower, &Value::from(-2))?],
        Some(Value::Array(list)) if list.is_empty() => return Err(root.error(layer_key, "the list is empty")),
        Some(Value::Array(list)) => list.iter().map(|value| root.hidden_state(&tower, value)).collect::<Result<_>>()?,
        Some(value) => vec![root.hidden_state(&tower, value)?],
    };
    if tower.hidden_size as u64 * feature_layers.len() as u64 > LARGEST_SIZE as u64 {
        return Err(root.error(layer_key, format!("{} layers are too many", feature_layers.len())));
    }
    let select_strategy = match root.str("vision_feature_select_strategy", "default")? {
        "default" => SelectStrategy::Default,
        "full" => SelectStrategy::Full,
        other => {
            let problem = format!("`{other}` is not one of default, full");
            return Err(root.error("vision_feature_select_strategy", problem));
        }
    };
    let image_token = if root.get("image_token_id").is_some() { "image_token_id" } else { "image_token_index" };
    Ok(VisionConfig {
        projector_hidden_act: root.activation("projector_hidden_act", Activation::Gelu)?,
        multimodal_projector_bias: root.bool("multimodal_projector_bias", true)?,
        image_token_id: root.count(image_token, 32000, 0, u32::MAX as usize)? as u32,
        feature_layers,
        select_strategy,
        tower,
    })
}

fn clip(fields: &Fields) -> Result<ClipConfig> {
    fields.model_type(Some("clip_vision_model"), "clip_vision_model")?;
    // Without any vision_config, LLaVA's own default is CLIP ViT-L/14 at 336 pixels, not CLIP's class default.
    let default = |clip: usize, llava: usize| if fields.value.is_null() { llava } else { clip };
    let config = ClipConfig {
        hidden_size: fields.size("hidden_size", default(768, 1024))?,
        intermediate_size: fields.size("intermediate_size", default(3072, 4096))?,
        num_hidden_layers: fields.count("num_hidden_layers", default(12, 24), 1, MOST_LAYERS)?,
        num_attention_heads: fields.size("num_attention_heads", default(12, 16))?,
        num_channels: fields.size("num_channels", 3)?,
        image_size: fields.count("image_size", default(224, 336), 1, LARGEST_IMAGE)?,
        patch_size: fields.count("patch_size", default(32, 14), 1, LARGEST_IMAGE)?,
        hidden_act: fields.activation("hidden_act", Activation::QuickGelu)?,
        layer_norm_eps: fields.float("layer_norm_eps", 1e-5)?,
    };
    if config.num_channels != 3 {
        return Err(fields.error("num_channels", "only colour pictures (3 channels) can be seen"));
    }
    if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        return Err(fields.error("num_attention_heads", format!("does not divide hidden_size {}", config.hidden_size)));
    }
    fields.head_size("num_attention_heads", config.head_dim())?;
    if config.patch_size > config.image_size {
        return Err(fields.error("patch_size", format!("is larger than image_size {}", config.image_size)));
    }
    Ok(config)
}

fn llama(fields: &Fields) -> Result<LlamaConfig> {
    fields.model_type(Some("llama"), "llama")?;
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
    let max_position_embeddings = fields.size("max_position_embeddings", 2048)?;
    let (rope_theta, rope_scaling) = rope(fields, max_position_embeddings)?;
    Ok(LlamaConfig {
        vocab_size: fields.size("vocab_size", 32000)?,
        hidden_size,
        intermediate_size: fields.size("intermediate_size", 11008)?,
        num_hidden_layers: fields.count("num_hidden_layers", 32, 1, MOST_LAYERS)?,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings,
        hidden_act: fields.activation("hidden_act", Activation::Silu)?,
        rms_norm_eps: fields.float("rms_norm_eps", 1e-6)?,
        rope_theta,
        rope_scaling,
        attention_bias: fields.bool("attention_bias", false)?,
        mlp_bias: fields.bool("mlp_bias", false)?,
        tie_word_embeddings: fields.bool("tie_word_embeddings", false)?,
    })
}

/// `rope_scaling` (the older spelling, which wins as in transformers) or `rope_parameters`.
fn rope(fields: &Fields, max_position_embeddings: usize) -> Result<(f32, RopeScaling)> {
    let old = fields.get("rope_scaling").is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
    let rope = fields.section(if old { "rope_scaling" } else { "rope_parameters" })?;
    for part in [fields, &rope] {
        if part.float("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(part.error("partial_rotary_factor", "only whole heads can be rotated"));
        }
    }
    let theta = rope.float("rope_theta", fields.float("rope_theta", 10000.0)?)?;
    let type_key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
    let scaling = match rope.str(type_key, "default")? {
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear { factor: rope.required_float("factor")? },
        "llama3" => {
            let name = "original_max_position_embeddings";
            let low_freq_factor = rope.required_float("low_freq_factor")?;
            let high_freq_factor = rope.required_float("high_freq_factor")?;
            if high_freq_factor <= low_freq_factor {
                return Err(rope.error("high_freq_factor", "must be larger than low_freq_factor"));
            }
            RopeScaling::Llama3 {
                factor: rope.required_float("factor")?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: fields.size(name, rope.size(name, max_position_embeddings)?)?,
            }
        }
        other => return Err(rope.error(type_key, format!("`{other}` is not one of default, linear, llama3"))),
    };
    Ok((theta, scaling))
}

/// One id or a list of ids; `None` for null.
fn token_ids(value: &Value, path: &str) -> Result<Option<Vec<u32>>> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| Error::unsupported(format!("{path}eos_token_id"), format!("{value} is not a token id")))
    };
    Ok(match value {
        Value::Null => None,
        Value::Array(list) => Some(list.iter().map(id).collect::<Result<_>>()?),
        value => Some(vec![id(value)?]),
    })
}

/// Typed access to one JSON object; null and missing fields take the default.
struct Fields<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Fields<'a> {
    fn new(path: &str, value: &'a Value) -> Result<Self> {
        let fields = Self { path: path.to_owned(), value };
        match value {
            Value::Object(_) => Ok(fields),
            Value::Null if !path.is_empty() => Ok(fields),
            _ => Err(Error::unsupported(if path.is_empty() { "config" } else { path }, "must be a JSON object")),
        }
    }

    fn section(&self, name: &str) -> Result<Self> {
        Fields::new(&self.name_of(name), self.value.get(name).unwrap_or(&Value::Null))
    }

    fn name_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn error(&self, name: &str, problem: impl Into<String>) -> Error {
        Error::unsupported(self.name_of(name), problem)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn count(&self, name: &str, default: usize, least: usize, most: usize) -> Result<usize> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.error(name, format!("{value} is not a whole number from {least} to {most}")))
    }

    fn size(&self, name: &str, default: usize) -> Result<usize> {
        self.count(name, default, 1, LARGEST_SIZE)
    }

    fn float(&self, name: &str, default: f32) -> Result<f32> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_f64().map(|number| number as f32);
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.error(name, format!("{value} is not a positive number")))
    }

    fn required_float(&self, name: &str) -> Result<f32> {
        self.get(name).ok_or_else(|| self.error(name, "is missing"))?;
        self.float(name, 1.0)
    }

    /// Refuses heads that the attention kernels cannot run; `name` is the field that decides their size.
    fn head_size(&self, name: &str, head_dim: usize) -> Result<()> {
        if Heads::fits(head_dim) {
            return Ok(());
        }
        let largest = Heads::MAX_HEAD_DIM;
        Err(self.error(name, format!("heads of {head_dim} cannot be run, only multiples of 4 up to {largest}")))
    }

    fn bool(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(name, format!("{value} is not true or false")))
    }

    fn str(&self, name: &str, default: &'static str) -> Result<&'a str> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.error(name, format!("{value} is not a string")))
    }

    fn activation(&self, name: &str, default: Activation) -> Result<Activation> {
        if self.get(name).is_none() {
            return Ok(default);
        }
        Ok(match self.str(name, "")? {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Activation::GeluTanh,
            "quick_gelu" => Activation::QuickGelu,
            "silu" | "swish" => Activation::Silu,
            "relu" => Activation::Relu,
            other => {
                let known = "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, relu";
                return Err(self.error(name, format!("`{other}` is not one of {known}")));
            }
        })
    }

    fn model_type(&self, default: Option<&'static str>, expected: &str) -> Result<()> {
        match self.str("model_type", default.unwrap_or(""))? {
            found if found == expected => Ok(()),
            "" => Err(self.error("model_type", format!("is missing; only `{expected}` works here"))),
            found if expected == "llava" => {
                Err(self.error("model_type", format!("`{found}` is not one of llava, llama")))
            }
            found => Err(self.error("model_type", format!("`{found}`; only `{expected}` works here"))),
        }
    }

    /// Resolves one `vision_feature_layer` as Python indexes `hidden_states`, which has one entry more than layers.
    fn hidden_state(&self, vision: &ClipConfig, value: &Value) -> Result<usize> {
        let states = vision.num_hidden_layers as i64 + 1;
        let index = value.as_i64().filter(|index| (-states..states).contains(index));
        let index = index.ok_or_else(|| {
            let problem = format!("{value} is not a layer of a tower with {} layers", vision.num_hidden_layers);
            self.error("vision_feature_layer", problem)
        })?;
        Ok(if index < 0 { (index + states) as usize } else { index as usize })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(config: Value) -> Result<LlavaConfig> {
        LlavaConfig::from_json(&config, &Value::Null)
    }

    #[test]
    fn the_published_7b_config_leans_on_class_defaults() {
        let config = parse(json!({
            "model_type": "llava", "image_token_index": 32000, "vision_feature_layer": -2,
            "text_config": {"max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05,
                            "torch_dtype": "float16", "vocab_size": 32064},
            "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
                              "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24,
                              "patch_size": 14, "projection_dim": 768, "vocab_size": 32000}
        }))
        .unwrap();
        let vision = config.vision.clone().unwrap();
        assert_eq!(config.image_tokens(), 576);
        assert_eq!(vision.layers_needed(), 23);
        assert_eq!(
            (config.text.num_hidden_layers, config.text.head_dim, config.text.intermediate_size),
            (32, 128, 11008)
        );
        assert_eq!((config.text.rms_norm_eps, config.text.rope_theta), (1e-5, 10000.0));
        assert_eq!(vision.tower.layer_norm_eps, 1e-5);
        assert_eq!(config.eos_token_ids, [2]);
        assert!(!config.text.tie_word_embeddings);
        // Without a vision_config the same tower is LLaVA's default; with an empty one it is CLIP's own.
        assert_eq!(parse(json!({"model_type": "llava"})).unwrap().vision, config.vision);
        let empty = parse(json!({"model_type": "llava", "vision_config": {}})).unwrap().vision.unwrap();
        assert_eq!(empty.tower.patch_size, 32);
    }

    #[test]
    fn both_spellings_are_read() {
        let new = parse(json!({
            "model_type": "llava", "image_token_id": 7, "eos_token_id": null,
            "text_config": {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
                            "rope_parameters": {"rope_theta": 500000.0, "rope_type": "linear", "factor": 2},
                            "tie_word_embeddings": true, "eos_token_id": [3, 4]},
            "vision_feature_layer": [-1, 0, 5], "vision_feature_select_strategy": "full"
        }))
        .unwrap();
        let old = parse(json!({
            "model_type": "llava", "image_token_index": 7, "tie_word_embeddings": true,
            "text_config": {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
                            "rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 2.0},
                            "eos_token_id": [3, 4]},
            "vision_feature_layer": [24, -25, 5], "vision_feature_select_strategy": "full"
        }))
        .unwrap();
        assert_eq!(new, old);
        let vision = new.vision.clone().unwrap();
        assert_eq!(vision.feature_layers, [24, 0, 5]);
        assert_eq!((new.image_tokens(), vision.projector_input_size()), (577, 3072));
        assert_eq!((new.text.query_size(), new.text.key_value_size()), (96, 48));
        let generation = json!({"eos_token_id": 9});
        let config = LlavaConfig::from_json(&json!({"model_type": "llava", "eos_token_id": 8}), &generation).unwrap();
        assert_eq!(config.eos_token_ids, [9]);
    }

    #[test]
    fn a_llama_alone_sees_no_picture() {
        let config = json!({"model_type": "llama", "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
                            "tie_word_embeddings": true, "eos_token_id": 7});
        let config = parse(config).unwrap();
        assert_eq!((config.vision.is_none(), config.image_tokens()), (true, 0));
        assert_eq!((config.text.hidden_size, config.text.head_dim, config.text.tie_word_embeddings), (576, 64, true));
        assert_eq!(config.eos_token_ids, [7]);
        match parse(json!({"model_type": "llama", "head_dim": 7})) {
            Err(Error::Unsupported { field, .. }) => assert_eq!(field, "head_dim"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn inverse_frequencies_follow_transformers() {
        // From transformers 5.23's LlamaRotaryEmbedding with hidden_size 64, 4 heads, theta 10000.
        let text = |rope: Value| {
            let text = json!({"hidden_size": 64, "num_attention_heads": 4, "rope_parameters": rope});
            parse(json!({"model_type": "llava", "text_config": text})).unwrap().text.inv_freq()
        };
        let close = |got: Vec<f32>, want: [f32; 8]| {
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() <= 1e-6 * want, "{got} {want}");
            }
        };
        close(text(Value::Null), INV_FREQ);
        close(text(json!({"rope_type": "linear", "factor": 4.0})), INV_FREQ.map(|freq| freq / 4.0));
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 256});
        close(text(llama3), INV_FREQ_LLAMA3);
    }

    const INV_FREQ: [f32; 8] = [1.0, 0.31622776, 0.1, 0.03162278, 0.01, 0.0031622779, 0.001, 0.0003162278];
    const INV_FREQ_LLAMA3: [f32; 8] =
        [1.0, 0.31622776, 0.1, 0.006613107, 0.00125, 0.00039528473, 0.000125, 0.000039528473];

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let cases = [
            (json!({}), "model_type"),
            (json!([1]), "config"),
            (json!({"model_type": "llava_next"}), "model_type"),
            (json!({"model_type": "llava_llama", "mm_vision_tower": "x"}), "mm_vision_tower"),
            (json!({"text_config": {"model_type": "mistral"}}), "text_config.model_type"),
            (json!({"vision_config": {"model_type": "siglip_vision_model"}}), "vision_config.model_type"),
            (json!({"vision_config": {"image_size": [224, 336]}}), "vision_config.image_size"),
            (json!({"vision_config": {"image_size": 4096, "patch_size": 512}}), "vision_config.image_size"),
            (json!({"vision_config": {"num_channels": 1}}), "vision_config.num_channels"),
            (json!({"vision_config": {"hidden_size": 100}}), "vision_config.num_attention_heads"),
            (json!({"vision_feature_layer": 25}), "vision_feature_layer"),
            (json!({"vision_feature_layer": []}), "vision_feature_layer"),
            (json!({"vision_feature_layer": vec![1; 5000]}), "vision_feature_layer"),
            (json!({"vision_feature_select_strategy": "cls"}), "vision_feature_select_strategy"),
            (json!({"projector_hidden_act": "mish"}), "projector_hidden_act"),
            (json!({"text_config": {"rope_scaling": {"type": "yarn"}}}), "text_config.rope_scaling.type"),
            (json!({"text_config": {"rope_scaling": {"type": "linear"}}}), "text_config.rope_scaling.factor"),
            (json!({"text_config": {"partial_rotary_factor": 0.5}}), "text_config.partial_rotary_factor"),
            (json!({"text_config": {"num_key_value_heads": 5}}), "text_config.num_key_value_heads"),
            (json!({"text_config": {"head_dim": 7}}), "text_config.head_dim"),
            (json!({"text_config": {"head_dim": 6}}), "text_config.head_dim"),
            (json!({"text_config": {"head_dim": 132}}), "text_config.head_dim"),
            (json!({"text_config": {"hidden_size": 4096, "num_attention_heads": 16}}), "text_config.head_dim"),
            (
                json!({"text_config": {"head_dim": 128, "num_attention_heads": 4000000}}),
                "text_config.num_attention_heads",
            ),
            (
                json!({"vision_config": {"hidden_size": 1024, "num_attention_heads": 4}}),
                "vision_config.num_attention_heads",
            ),
            (
                json!({"vision_config": {"hidden_size": 60, "num_attention_heads": 10}}),
                "vision_config.num_attention_heads",
            ),
            (json!({"text_config": {"hidden_size": -4}}), "text_config.hidden_size"),
            (json!({"text_config": {"num_hidden_layers": 1e9}}), "text_config.num_hidden_layers"),
            (json!({"text_config": []}), "text_config"),
            (json!({"eos_token_id": "x"}), "eos_token_id"),
            (json!({"eos_token_id": [2, 999999]}), "eos_token_id"),
        ];
        for (mut config, field) in cases {
            if let (Some(map), true) = (config.as_object_mut(), field != "model_type" && !field.starts_with("mm_")) {
                map.insert("model_type".into(), "llava".into());
            }
            match parse(config.clone()) {
                Err(Error::Unsupported { field: found, .. }) => assert_eq!(found, field, "{config}"),
                other => panic!("{config}: {other:?}"),
            }
        }
    }
}
