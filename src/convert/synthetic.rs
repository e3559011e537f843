//! Models with made-up weights and a real geometry, for trying what carries gigabytes without having them: as a Hugging
//! Face folder or as a bundle.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use half::f16;
use safetensors::tensor::{Dtype, View, serialize_to_file};
use serde_json::{Value, json};

use super::{Checkpoint, Needed, Options, Role, Summary, hf, plan};
use crate::bundle::{self, BundleHead, ModelInfo};
use crate::model::config::LlavaConfig;
use crate::parallel;
use crate::progress::{Meter, Report};
use crate::quant::Format;
use crate::text::template::Template;
use crate::{Error, Result};

/// Most bytes of a shard, as `save_pretrained` had it when LLaVA-1.5 was published.
const SHARD: usize = 5_000_000_000;
/// Ids before the first that stands for text: `<unk>`, `<s>`, `</s>` and the bytes.
const FIXED_TOKENS: usize = 3 + 256;

/// A model that is made as it is read: every value follows from the seed, the tensor's name and the value's place.
#[derive(Debug)]
pub struct Synthetic {
    name: String,
    json: Value,
    config: LlavaConfig,
    template: &'static Template,
    tensors: BTreeMap<String, Needed>,
    seed: u64,
}

impl Synthetic {
    /// The model called `geometry`: `llava-1.5-7b`, `llava-1.5-13b`, or the path of a config.json.
    ///
    /// # Errors
    /// There is no such model or file, or its configuration is not supported.
    pub fn new(geometry: &str, seed: u64) -> Result<Self> {
        let json = match geometry {
            "llava-1.5-7b" => llava_1_5(json!({})),
            "llava-1.5-13b" => llava_1_5(json!({
                "hidden_size": 5120, "intermediate_size": 13824, "num_attention_heads": 40, "num_hidden_layers": 40,
                "num_key_value_heads": 40,
            })),
            path => {
                let cure = "give llava-1.5-7b, llava-1.5-13b or the path of a config.json";
                let problem =
                    |error: &dyn ToString| Error::input("synthetic", format!("{}; {cure}", error.to_string()));
                let bytes = fs::read(path).map_err(|error| problem(&format!("`{path}`: {error}")))?;
                serde_json::from_slice(&bytes).map_err(|error| problem(&format!("`{path}` is no JSON: {error}")))?
            }
        };
        let config = LlavaConfig::from_json(&json, &Value::Null)?;
        let template = Template::of(json["model_type"].as_str().unwrap_or_default(), config.decoder)?;
        let image = config.vision.as_ref().map(|vision| vision.image_token_id as usize);
        let end = config.text.vocab_size.saturating_sub(template.special.len());
        if !(FIXED_TOKENS..end).contains(&image.unwrap_or(FIXED_TOKENS)) {
            let problem = format!("must lie in {FIXED_TOKENS}..{end} to leave room for bytes and special tokens");
            return Err(Error::unsupported("image_token_index", problem));
        }
        let file = Path::new(geometry).file_name().unwrap_or_default().to_string_lossy();
        let name = format!("synthetic {}", file.trim_end_matches(".json"));
        let tensors =
            plan(&config).iter().flat_map(Needed::sources).map(|needed| (needed.name.clone(), needed)).collect();
        Ok(Self { name, json, config, template, tensors, seed })
    }

    /// The tensors of the model, as a checkpoint has them.
    pub fn needed(&self) -> impl Iterator<Item = &Needed> {
        self.tensors.values()
    }

    /// Writes the model as a bundle into `out`.
    ///
    /// # Errors
    /// As [`super::write`].
    pub fn bundle(&self, out: &Path, options: &Options) -> Result<Summary> {
        let model = ModelInfo {
            name: options.name.clone().unwrap_or_else(|| self.name.clone()),
            license: options.license.clone().unwrap_or_default(),
            source: format!("random weights, seed {}", self.seed),
        };
        let head = BundleHead {
            model,
            config: self.json.clone(),
            generation: json!({}),
            preprocessor: self.preprocessor(),
            quantization: options.format.map_or("f16", Format::name).into(),
            ..BundleHead::default()
        };
        super::write(self, &self.config, head, &self.tokenizer(), out, options, Vec::new())
    }

    /// Writes the model as a Hugging Face folder: f16 shards under the names of LLaVA-1.5's own publication. What makes
    /// it a checkpoint, its JSON files, comes last.
    ///
    /// # Errors
    /// `out` holds a checkpoint or bundle already, has too little room, or cannot be written.
    pub fn folder(&self, out: &Path, report: Report) -> Result<()> {
        if ["config.json", "manifest.json"].iter().any(|file| out.join(file).exists()) {
            let problem = format!("{} already holds a model; choose another folder", out.display());
            return Err(Error::input("out", problem));
        }
        fs::create_dir_all(out).map_err(hf::io_error(out))?;
        let total = self.tensors.values().map(bytes).sum();
        bundle::check_space(out, total as u64)?;
        let shards = self.shards();
        let file = |shard: usize| format!("model-{:05}-of-{:05}.safetensors", shard + 1, shards.len());
        let meter = RefCell::new(Meter::new("writing", total, report));
        let mut map = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            let path = out.join(file(index));
            let views = shard.iter().map(|needed| (&needed.name, LazyTensor { model: self, needed, meter: &meter }));
            serialize_to_file(views, None, &path).map_err(hf::io_error(&path))?;
            map.extend(shard.iter().map(|needed| (needed.name.clone(), file(index))));
        }
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        let files = [
            ("model.safetensors.index.json", index.to_string().into_bytes()),
            ("tokenizer.json", self.tokenizer()),
            ("preprocessor_config.json", self.preprocessor().to_string().into_bytes()),
            ("config.json", self.json.to_string().into_bytes()),
        ];
        for (name, contents) in files {
            let path = out.join(name);
            fs::write(&path, contents).map_err(hf::io_error(&path))?;
        }
        Ok(())
    }

    fn shards(&self) -> Vec<Vec<&Needed>> {
        let mut shards = vec![Vec::new()];
        let mut room = SHARD;
        for needed in self.tensors.values() {
            let bytes = bytes(needed);
            if bytes > room && room < SHARD {
                shards.push(Vec::new());
                room = SHARD;
            }
            room = room.saturating_sub(bytes);
            shards.last_mut().expect("one at least").push(needed);
        }
        shards
    }

    fn preprocessor(&self) -> Value {
        let size = self.config.vision.as_ref().map(|vision| vision.tower.image_size());
        size.map_or_else(|| json!({}), super::clip_preprocessor)
    }

    /// A tokenizer in LLaMA's form that splits text into bytes, with a made-up word for every other id.
    fn tokenizer(&self) -> Vec<u8> {
        let image = self.config.vision.as_ref().map(|vision| vision.image_token_id as usize);
        let words_end = image.unwrap_or(self.config.text.vocab_size);
        let fixed = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
        let words = (FIXED_TOKENS..words_end).map(|id| format!("▁w{id}"));
        let vocab: BTreeMap<String, usize> = fixed.chain(bytes).chain(words).zip(0..).collect();
        let special = |(id, content): (usize, &str)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        };
        let chat = self.template.special.iter().enumerate().map(|(index, token)| (words_end + 1 + index, *token));
        let added =
            [(0, "<unk>"), (1, "<s>"), (2, "</s>")].into_iter().chain(image.map(|id| (id, "<image>"))).chain(chat);
        let added: Vec<Value> = added.map(special).collect();
        let start = json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added,
            "normalizer": null, "pre_tokenizer": null,
            "post_processor": {
                "type": "TemplateProcessing", "single": start, "pair": start,
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
            },
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"},
            ]},
            "model": {
                "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
                "merges": [],
            },
        });
        json.to_string().into_bytes()
    }

    /// Calls `take` with the values `start..end` of `needed`, each as f16 holds it: norms near 1, biases near 0, matrices of
    /// about unit gain, and convolutions of a map of what activations then halve.
    fn make(&self, needed: &Needed, start: usize, end: usize, mut take: impl FnMut(f16)) {
        let vector = needed.role == Role::Vector;
        let cols: usize = needed.shape[1..].iter().product();
        let of_map = matches!((needed.role, &needed.shape[..]), (Role::Vision | Role::Depthwise, [_, _, _, _]));
        let gain = if of_map { std::f32::consts::SQRT_2 } else { 1.0 };
        let spread = if vector { 0.02 } else { gain * (3.0 / cols as f32).sqrt() };
        let state = needed.name.bytes().fold(self.seed, |state, byte| mix(state ^ u64::from(byte)));
        for index in start..end {
            let uniform = (mix(state.wrapping_add(index as u64)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            take(f16::from_f32(needed.centre + spread * uniform));
        }
    }
}

impl Checkpoint for Synthetic {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|needed| needed.shape.as_slice())
    }

    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>> {
        let missing = || Error::bundle(super::tensor(name), "is not of this model");
        let needed = self.tensors.get(name).ok_or_else(missing)?;
        let mut values = Vec::with_capacity(end - start);
        self.make(needed, start, end, |value| values.push(value.to_f32()));
        Ok(values)
    }
}

/// A tensor whose bytes are made when the shard is written, by all cores.
struct LazyTensor<'a> {
    model: &'a Synthetic,
    needed: &'a Needed,
    meter: &'a RefCell<Meter>,
}

impl View for LazyTensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F16
    }

    fn shape(&self) -> &[usize] {
        &self.needed.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let (model, needed) = (self.model, self.needed);
        let mut bytes = vec![0; self.data_len()];
        let part = (bytes.len() / 2).div_ceil(parallel::cores()).max(1);
        thread::scope(|scope| {
            for (index, bytes) in bytes.chunks_mut(part * 2).enumerate() {
                scope.spawn(move || {
                    let (start, mut places) = (index * part, bytes.as_chunks_mut().0.iter_mut());
                    let end = start + places.len();
                    model.make(needed, start, end, |value| {
                        *places.next().expect("a place for every value") = value.to_le_bytes();
                    });
                });
            }
        });
        self.meter.borrow_mut().add(bytes.len());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        bytes(self.needed)
    }
}

/// Bytes in f16.
fn bytes(needed: &Needed) -> usize {
    needed.shape.iter().product::<usize>() * 2
}

/// One step of splitmix64.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// config.json of llava-hf/llava-1.5-7b-hf, with `text` over its text_config.
fn llava_1_5(text: Value) -> Value {
    let mut config = json!({
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "torch_dtype": "float16",
        "ignore_index": -100, "image_token_index": 32000, "pad_token_id": 32001, "projector_hidden_act": "gelu",
        "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064,
        "text_config": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
            "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_hidden_layers": 32,
            "num_key_value_heads": 32, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "vocab_size": 32064,
        },
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
            "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
        },
    });
    for (field, value) in text.as_object().into_iter().flatten() {
        config["text_config"][field] = value.clone();
    }
    config
}
