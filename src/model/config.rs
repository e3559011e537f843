//! The whole model's shape, from the checkpoint's own `config.json`.
//!
//! Published LLaVA configurations leave most fields out, so every default here is the one of transformers' classes
//! (`LlavaConfig`; each family has its own in [`tower`](super::tower) and [`decoder`](super::decoder)). A field this library
//! cannot honour is an error that names it.

use serde_json::Value;

use super::decoder::{self, DecoderSpec};
use super::fields::{Fields, LARGEST_SIZE};
use super::tower::{self, TowerSpec};
use crate::Result;
use crate::activation::Activation;

/// A `model_type` of the whole model, and what transformers' class for it has as defaults.
struct Layout {
    model_type: &'static str,
    tower: &'static str,
    decoder: &'static str,
    image_token_id: usize,
    feature_layer: i64,
    select_strategy: &'static str,
    /// Whether the tower ends in a map, or in hidden states of a transformer.
    is_map: bool,
}

const LAYOUTS: &[Layout] = &[
    Layout {
        model_type: "llava",
        tower: "clip_vision_model",
        decoder: "llama",
        image_token_id: 32000,
        feature_layer: -2,
        select_strategy: "default",
        is_map: false,
    },
    Layout {
        model_type: "fast_vlm",
        tower: "timm_wrapper",
        decoder: "qwen2",
        image_token_id: 151646,
        feature_layer: -1,
        select_strategy: "full",
        is_map: true,
    },
];

/// Which positions of the vision tower's hidden state become image tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectStrategy {
    /// All but the first, which is the class token where there is one.
    Default,
    /// All of them.
    Full,
}

/// What turns a picture into positions of the prompt: vision tower and projector.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    pub tower: TowerSpec,
    pub projector_hidden_act: Activation,
    pub multimodal_projector_bias: bool,
    pub image_token_id: u32,
    /// The vision tower's hidden states that the projector reads, side by side: 0 is the input of the first layer,
    /// `n` the output of layer `n`, always before `post_layernorm`. Negative values of the file are resolved.
    pub feature_layers: Vec<usize>,
    pub select_strategy: SelectStrategy,
}

impl VisionConfig {
    /// Reads the vision side of a model.
    fn read(root: &Fields, layout: &Layout) -> Result<Self> {
        let fields = root.section("vision_config")?;
        let tower = tower::read(&fields, layout.tower)?;
        if matches!(tower, TowerSpec::Convolutional(_)) != layout.is_map {
            let problem = format!("a {} has no tower of this kind", layout.model_type);
            return Err(fields.error("model_type", problem));
        }
        let layer_key = "vision_feature_layer";
        let layer = |value: &Value| hidden_state(&tower, value).map_err(|problem| root.error(layer_key, problem));
        let feature_layers = match root.get(layer_key) {
            None => vec![layer(&Value::from(layout.feature_layer))?],
            Some(Value::Array(list)) if list.is_empty() => return Err(root.error(layer_key, "the list is empty")),
            Some(Value::Array(list)) => list.iter().map(layer).collect::<Result<_>>()?,
            Some(value) => vec![layer(value)?],
        };
        if tower.hidden_size() as u64 * feature_layers.len() as u64 > LARGEST_SIZE as u64 {
            return Err(root.error(layer_key, format!("{} layers are too many", feature_layers.len())));
        }
        let strategy_key = "vision_feature_select_strategy";
        let select_strategy = match root.str(strategy_key, layout.select_strategy)? {
            "default" if layout.is_map => {
                return Err(root.error(strategy_key, "must be `full`: no place of a map is left out"));
            }
            "default" => SelectStrategy::Default,
            "full" => SelectStrategy::Full,
            other => return Err(root.error(strategy_key, format!("`{other}` is not one of default, full"))),
        };
        let image_token = if root.get("image_token_id").is_some() { "image_token_id" } else { "image_token_index" };
        Ok(Self {
            projector_hidden_act: root.activation("projector_hidden_act", Activation::Gelu)?,
            multimodal_projector_bias: root.bool("multimodal_projector_bias", true)?,
            image_token_id: root.count(image_token, layout.image_token_id, 0, u32::MAX as usize)? as u32,
            feature_layers,
            select_strategy,
            tower,
        })
    }

    /// Number of prompt positions that one image takes.
    pub fn image_tokens(&self) -> usize {
        match self.select_strategy {
            SelectStrategy::Default => self.tower.positions() - 1,
            SelectStrategy::Full => self.tower.positions(),
        }
    }

    /// Number of vision layers that have to run; those above are never used.
    pub fn layers_needed(&self) -> usize {
        self.feature_layers.iter().copied().max().unwrap_or(0)
    }

    /// Columns of the projector's first layer.
    pub fn projector_input_size(&self) -> usize {
        self.tower.hidden_size() * self.feature_layers.len()
    }
}

/// Resolves one `vision_feature_layer` as Python indexes `hidden_states`, which has one entry more than layers; or says what
/// is wrong with it.
fn hidden_state(tower: &TowerSpec, value: &Value) -> std::result::Result<usize, String> {
    let states = tower.states() as i64;
    let index = value.as_i64().filter(|index| (-states..states).contains(index));
    let index = index
        .ok_or_else(|| format!("{value} is not a layer of a tower with {} hidden states to read", tower.states()))?;
    Ok(if index < 0 { (index + states) as usize } else { index as usize })
}

/// The whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlavaConfig {
    /// `None`: a decoder alone, which answers prompts without a picture.
    pub vision: Option<VisionConfig>,
    pub text: DecoderSpec,
    /// The decoder's family.
    pub decoder: &'static str,
    /// Tokens that end the answer.
    pub eos_token_ids: Vec<u32>,
}

impl LlavaConfig {
    /// Reads `config.json` of a LLaVA or of a decoder alone, and the end tokens from `generation_config.json` (any value
    /// without them will do).
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) naming the field whose value is malformed or cannot be honoured.
    pub fn from_json(config: &Value, generation: &Value) -> Result<Self> {
        let root = Fields::new("", config)?;
        if root.get("mm_vision_tower").is_some() && root.get("text_config").is_none() {
            let cure =
                "this is LLaVA's original layout; use the checkpoint in transformers' layout (usually named *-hf)";
            return Err(root.error("mm_vision_tower", cure));
        }
        let model_type = root.str("model_type", "")?;
        let layout = LAYOUTS.iter().find(|layout| layout.model_type == model_type);
        let (vision, text_fields, family) = match layout {
            Some(layout) => (Some(VisionConfig::read(&root, layout)?), root.section("text_config")?, layout.decoder),
            None if decoder::is_family(model_type) => (None, Fields::new("", config)?, ""),
            None => {
                let layouts: Vec<&str> = LAYOUTS.iter().map(|layout| layout.model_type).collect();
                let known = format!("{}, {}", layouts.join(", "), decoder::families());
                return Err(root.error(
                    "model_type",
                    match model_type {
                        "" => format!("is missing; give one of {known}"),
                        other => format!("`{other}` is not one of {known}"),
                    },
                ));
            }
        };
        let (decoder, mut text) = decoder::read(&text_fields, family)?;
        text.tie_word_embeddings |= root.bool("tie_word_embeddings", false)?;
        let mut eos_token_ids = None;
        if generation.is_object() {
            eos_token_ids = Fields::new("generation_config", generation)?.eos_token_ids()?;
        }
        for fields in [&root, &text_fields] {
            if eos_token_ids.is_none() {
                eos_token_ids = fields.eos_token_ids()?;
            }
        }
        let eos_token_ids = eos_token_ids.unwrap_or_else(|| vec![text.eos_token_id]);
        if let Some(id) = eos_token_ids.iter().find(|id| **id as usize >= text.vocab_size) {
            let problem = format!("{id} is no token of {}, so no answer would ever end", text.vocab_size);
            return Err(root.error("eos_token_id", problem));
        }
        Ok(Self { vision, text, decoder, eos_token_ids })
    }

    /// Number of prompt positions that one image takes; 0 for a model that sees none.
    pub fn image_tokens(&self) -> usize {
        self.vision.as_ref().map_or(0, VisionConfig::image_tokens)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;
    use crate::kernels::NormShape;

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
        assert_eq!((config.text.norm.eps, config.text.rope.theta), (1e-5, 10000.0));
        assert_eq!(vision.tower.norms(), [NormShape::LayerNorm(1024)]);
        assert_eq!(config.eos_token_ids, [2]);
        assert!(!config.text.tie_word_embeddings);
        // Without a vision_config the same tower is LLaVA's default; with an empty one it is CLIP's own.
        assert_eq!(parse(json!({"model_type": "llava"})).unwrap().vision, config.vision);
        let empty = parse(json!({"model_type": "llava", "vision_config": {}})).unwrap().vision.unwrap();
        assert_eq!(empty.tower.window().kernel, 32);
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

    fn fast_vlm(edit: impl FnOnce(&mut Value)) -> Result<LlavaConfig> {
        let mut config = json!({
            "model_type": "fast_vlm", "image_token_index": 3,
            "text_config": {"hidden_size": 64, "num_attention_heads": 4, "vocab_size": 160000},
            "vision_config": {"model_type": "timm_wrapper", "architecture": "tf_efficientnet_lite0", "hidden_size": 1280}
        });
        edit(&mut config);
        parse(config)
    }

    #[test]
    fn a_convolutional_tower_has_a_token_for_each_place_of_its_last_map() {
        let lite0 = fast_vlm(|_| ()).unwrap();
        let vision = lite0.vision.clone().unwrap();
        assert_eq!((lite0.image_tokens(), vision.projector_input_size(), lite0.decoder), (49, 1280, "qwen2"));
        assert_eq!((vision.tower.patches(), vision.tower.largest_result()), ([12544, 27], [12544, 96]));
        assert!(lite0.text.bias.qkv && !lite0.text.bias.o);
        let sized = fast_vlm(|config| config["vision_config"]["image_size"] = 97.into()).unwrap();
        assert_eq!(sized.image_tokens(), 16);
        let mci3 = fast_vlm(|config| {
            let args = json!({"inference_mode": true});
            config["vision_config"] = json!({"architecture": "fastvit_mci3", "hidden_size": 3072, "model_args": args});
        });
        let mci3 = mci3.unwrap();
        assert_eq!(mci3.image_tokens(), 256);
        let tower = mci3.vision.unwrap().tower;
        assert_eq!((tower.hidden_size(), tower.heads().unwrap().head_dim), (3072, 32));
        assert_eq!(tower.norms(), [NormShape::LayerNorm(768), NormShape::LayerNorm(1536)]);
    }

    #[test]
    fn what_a_convolutional_tower_cannot_be_is_named() {
        type Edit = fn(&mut Value);
        let cases: [(Edit, &str); 12] = [
            (|config| config["vision_config"]["architecture"] = "resnet50".into(), "vision_config.architecture"),
            (|config| config["vision_config"]["hidden_size"] = 768.into(), "vision_config.hidden_size"),
            (|config| config["vision_config"]["image_size"] = 16.into(), "vision_config.image_size"),
            (
                |config| config["vision_config"]["model_args"] = json!({"act_layer": "gelu"}),
                "vision_config.model_args.act_layer",
            ),
            (|config| config["vision_config"] = json!({"model_type": "clip_vision_model"}), "vision_config.model_type"),
            (|config| config["model_type"] = "llava".into(), "vision_config.model_type"),
            (|config| config["vision_feature_layer"] = (-2).into(), "vision_feature_layer"),
            (|config| config["vision_feature_select_strategy"] = "default".into(), "vision_feature_select_strategy"),
            (|config| config["text_config"]["model_type"] = "gemma".into(), "text_config.model_type"),
            (
                |config| config["vision_config"]["architecture"] = "fastvit_mci3".into(),
                "vision_config.model_args.inference_mode",
            ),
            (
                |config| {
                    let args = json!({"inference_mode": true, "embed_dims": [8, 16, 16, 32, 40]});
                    config["vision_config"] = json!({"architecture": "fastvit_mci3", "model_args": args});
                },
                "vision_config.model_args.embed_dims",
            ),
            (
                |config| {
                    let args = json!({"inference_mode": true, "layers": [1, 2]});
                    config["vision_config"] = json!({"architecture": "fastvit_mci3", "model_args": args});
                },
                "vision_config.model_args.layers",
            ),
        ];
        for (edit, field) in cases {
            match fast_vlm(edit) {
                Err(Error::Unsupported { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

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
            (json!({"text_config": {"sliding_window": 4096}}), "text_config.sliding_window"),
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
