//! Modules by themselves, on made-up weights: every kind of tower and decoder that can be described, against its definition;
//! and what a model's parameters are declared for.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use futures_lite::future::block_on;
use llava_web::activation::Activation;
use llava_web::bundle::source::ChunkSource;
use llava_web::bundle::{FORMAT_NAME, FORMAT_VERSION, FileEntry, Manifest, ModelInfo, Span, TensorEntry};
use llava_web::device;
use llava_web::kernels::{KvFormat, naive};
use llava_web::model::config::{LlavaConfig, SelectStrategy, VisionConfig};
use llava_web::model::decoder::{Biases, DecoderSpec, Fused};
use llava_web::model::norm::{NormKind, NormSpec};
use llava_web::model::tower::TowerSpec;
use llava_web::model::{LanguageModel, Llava, Loader, VisionTower, memory, plan};
use llava_web::quant::Format;
use llava_web::{Error, Result};
use serde_json::{Value, json};

/// Far above what order of summation and a GPU's functions make of numbers near 1.
const TOLERANCE: f32 = 2e-4;

/// A model in memory, all in f32 unless [`Made::stored_as`] something else: each tensor a chunk of its own.
struct Made {
    manifest: Manifest,
    values: BTreeMap<String, Vec<f32>>,
    chunks: Vec<Vec<u8>>,
    /// Names of the chunks read so far.
    read: RefCell<Vec<String>>,
}

impl Made {
    fn new(config: &LlavaConfig) -> Self {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let (mut tensors, mut values, mut chunks) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (chunk, needed) in plan(config).into_iter().enumerate() {
            let shape = needed.stored_shape();
            let len: usize = shape.iter().product();
            let centre = if needed.name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let made: Vec<f32> = (0..len).map(|_| centre + 0.3 * next()).collect();
            chunks.push(made.iter().flat_map(|value| value.to_le_bytes()).collect());
            values.insert(needed.name.clone(), made);
            let spans = vec![Span { chunk, offset: 0, bytes: 4 * len }];
            tensors.push(TensorEntry { name: needed.name, dtype: Format::F32, shape, spans });
        }
        let manifest = Manifest {
            format: FORMAT_NAME.into(),
            version: FORMAT_VERSION,
            model: ModelInfo::default(),
            config: Value::Null,
            generation: Value::Null,
            preprocessor: Value::Null,
            quantization: "f32".into(),
            memory: None,
            tokenizer: FileEntry { file: "tokenizer.json".into(), bytes: 0, sha256: String::new() },
            tensors,
            chunks: Vec::new(),
            total_bytes: 0,
            second: None,
        };
        Self { manifest, values, chunks, read: RefCell::default() }
    }

    /// With all matrices in `format`, and the values that they have there.
    fn stored_as(mut self, format: Format) -> Self {
        for (tensor, chunk) in self.manifest.tensors.iter_mut().zip(&mut self.chunks) {
            let [rows, cols] = tensor.shape[..] else { continue };
            let values = self.values.get_mut(&tensor.name).unwrap();
            *chunk = format.encode(&tensor.name, rows, cols, values).unwrap();
            *values = format.decode(&tensor.name, rows, cols, chunk).unwrap();
            (tensor.dtype, tensor.spans[0].bytes) = (format, chunk.len());
        }
        self
    }

    fn names(&self) -> Vec<String> {
        self.manifest.tensors.iter().map(|tensor| tensor.name.clone()).collect()
    }

    /// A tensor's values; zeros where there is no such tensor.
    fn or_zeros(&self, name: &str, len: usize) -> Vec<f32> {
        self.values.get(name).cloned().unwrap_or_else(|| vec![0.0; len])
    }

    /// `x Wᵀ + bias` over the layers `names`, below each other.
    fn linear(&self, names: &[String], x: &[f32], cols: usize, residual: Option<&[f32]>, act: Activation) -> Vec<f32> {
        let weight: Vec<f32> = names.iter().flat_map(|name| self.values[&format!("{name}.weight")].clone()).collect();
        let rows = weight.len() / cols;
        let of = |name: &String| {
            let rows = self.values[&format!("{name}.weight")].len() / cols;
            self.or_zeros(&format!("{name}.bias"), rows)
        };
        let bias: Vec<f32> = names.iter().flat_map(of).collect();
        let bytes = Format::F32.encode("weight", rows, cols, &weight).unwrap();
        naive::linear(x, &bytes, Format::F32, (rows, cols), Some(&bias), residual, act)
    }

    fn norm(&self, name: &str, x: &[f32], NormSpec { kind, eps }: NormSpec) -> Vec<f32> {
        let weight = &self.values[&format!("{name}.weight")];
        match kind {
            NormKind::Rms { offset } => {
                naive::rms_norm(x, &weight.iter().map(|weight| weight + offset).collect::<Vec<_>>(), eps)
            }
            NormKind::LayerNorm { .. } => {
                naive::layer_norm(x, weight, &self.or_zeros(&format!("{name}.bias"), weight.len()), eps)
            }
        }
    }

    /// Logits of the last of `ids`, by definition.
    fn logits(&self, ids: &[usize], spec: &DecoderSpec) -> Vec<f32> {
        let (hidden, heads, n) = (spec.hidden_size, spec.heads(), ids.len());
        let model = "language_model.model";
        let table = &self.values[&format!("{model}.embed_tokens.weight")];
        let mut x: Vec<f32> = ids.iter().flat_map(|id| table[id * hidden..][..hidden].to_vec()).collect();
        let rope = naive::rope_table(&spec.inv_freq(), n);
        for index in 0..spec.num_hidden_layers {
            let layer = |part: &str| format!("{model}.layers.{index}.{part}");
            let names = |fused: bool, joined: &str, parts: &[&str]| match fused {
                true => vec![layer(joined)],
                false => parts.iter().map(|part| layer(part)).collect(),
            };
            let attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
            let qkv = names(spec.fused.qkv, "self_attn.qkv_proj", &attention);
            let normed = self.norm(&layer("input_layernorm"), &x, spec.norm);
            let qkv = self.linear(&qkv, &normed, hidden, None, Activation::None);
            let cache = || vec![0.0; n * heads.kv_heads * heads.head_dim];
            let (mut k, mut v) = (cache(), cache());
            let q = naive::rope_cache(&qkv, &rope, &mut k, &mut v, 0, heads);
            let attended = naive::attention(&q, &k, &v, 0, heads);
            let o = [layer("self_attn.o_proj")];
            x = self.linear(&o, &attended, spec.query_size(), Some(&x), Activation::None);
            let gate_up = names(spec.fused.gate_up, "mlp.gate_up_proj", &["mlp.gate_proj", "mlp.up_proj"]);
            let normed = self.norm(&layer("post_attention_layernorm"), &x, spec.norm);
            let gate_up = self.linear(&gate_up, &normed, hidden, None, Activation::None);
            let mlp = naive::gated(&gate_up, spec.intermediate_size, spec.hidden_act);
            x = self.linear(&[layer("mlp.down_proj")], &mlp, spec.intermediate_size, Some(&x), Activation::None);
        }
        let last = self.norm(&format!("{model}.norm"), &x[(n - 1) * hidden..], spec.norm);
        let head =
            if spec.tie_word_embeddings { format!("{model}.embed_tokens") } else { "language_model.lm_head".into() };
        self.linear(&[head], &last, hidden, None, Activation::None)
    }

    /// The tower's features of `patches`, by definition.
    fn features(&self, patches: &[f32], vision: &VisionConfig) -> Vec<f32> {
        let TowerSpec::Transformer(tower) = &vision.tower else { panic!("{vision:?} is no transformer") };
        let hidden = tower.hidden_size;
        let model = "vision_tower.vision_model";
        let patch = [format!("{model}.embeddings.patch_embedding")];
        let embedded = self.linear(&patch, patches, vision.tower.patches()[1], None, Activation::None);
        let mut x = match tower.class_token {
            true => self.values[&format!("{model}.embeddings.class_embedding")].clone(),
            false => Vec::new(),
        };
        x.extend(embedded);
        let positions = &self.values[&format!("{model}.embeddings.position_embedding.weight")];
        x.iter_mut().zip(positions).for_each(|(x, position)| *x += position);
        if tower.pre_norm {
            x = self.norm(&format!("{model}.pre_layrnorm"), &x, tower.norm);
        }
        for index in 0..vision.layers_needed() {
            let layer = |part: &str| format!("{model}.encoder.layers.{index}.{part}");
            let qkv = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].map(layer);
            let qkv =
                self.linear(&qkv, &self.norm(&layer("layer_norm1"), &x, tower.norm), hidden, None, Activation::None);
            let attended = naive::attention_full(&qkv, tower.heads());
            x = self.linear(&[layer("self_attn.out_proj")], &attended, hidden, Some(&x), Activation::None);
            let normed = self.norm(&layer("layer_norm2"), &x, tower.norm);
            let mlp = self.linear(&[layer("mlp.fc1")], &normed, hidden, None, tower.hidden_act);
            x = self.linear(&[layer("mlp.fc2")], &mlp, tower.intermediate_size, Some(&x), Activation::None);
        }
        match vision.select_strategy {
            SelectStrategy::Full => x,
            SelectStrategy::Default => x[hidden..].to_vec(),
        }
    }
}

impl ChunkSource for Made {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        let TensorEntry { name, .. } = &self.manifest.tensors[index];
        self.read.borrow_mut().push(name.clone());
        Ok(self.chunks[index].clone())
    }
}

fn config(edit: impl FnOnce(&mut Value)) -> LlavaConfig {
    let mut json = json!({
        "model_type": "llava", "image_token_index": 39, "vision_feature_layer": -1,
        "vision_config": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
                          "num_attention_heads": 3, "image_size": 13, "patch_size": 4},
        "text_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 40,
                        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12}
    });
    edit(&mut json);
    LlavaConfig::from_json(&json, &Value::Null).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= TOLERANCE * largest, "{what}: {found}, not {expected}, at {at}");
    }
}

/// Logits of the last of `ids`, as the model computes them.
async fn logits(made: &Made, ids: &[usize], spec: &DecoderSpec, opened: &device::Opened) -> Vec<f32> {
    let mut loader = Loader::new(made, &opened.device);
    let model = LanguageModel::load(&mut loader, spec, ids.len(), KvFormat::F32).await.unwrap();
    let data = TensorData::new(ids.iter().map(|id| *id as i32).collect(), [ids.len()]);
    let state = device::Buffer::zeros(4, &opened.device);
    let x = model.forward(model.embed(Tensor::<1, Int>::from_data(data, &opened.device)), &state);
    let last = x.slice([ids.len() - 1..ids.len(), 0..spec.hidden_size]);
    device::read_floats(model.logits(last)).await.unwrap()
}

#[test]
fn a_decoder_in_any_format_computes_what_its_definition_says() {
    let wide = config(|json| {
        json["text_config"]["hidden_size"] = 256.into();
        json["text_config"]["intermediate_size"] = 512.into();
        json["text_config"]["head_dim"] = 64.into();
    });
    let ids = [3usize, 17, 39, 0, 8];
    let mut all = Vec::new();
    for &format in Format::ALL {
        let made = Made::new(&LlavaConfig { vision: None, ..wide.clone() }).stored_as(format);
        let expected = made.logits(&ids, &wide.text);
        // Of several rows, and of one.
        for ids in [&ids[..], &ids[..1]] {
            for opened in [block_on(device::open()).unwrap(), block_on(device::open_cpu()).unwrap()] {
                let found = block_on(logits(&made, ids, &wide.text, &opened));
                let what = format!("{format:?}, {} tokens on {}", ids.len(), opened.adapter.backend);
                assert_close(&found, &made.logits(ids, &wide.text), &what);
            }
        }
        assert!(!all.contains(&expected), "{format:?} is the same as another");
        all.push(expected);
    }
}

#[test]
fn every_kind_of_decoder_computes_what_its_definition_says() {
    let llama = config(|_| ()).text;
    let norm = |kind| NormSpec { kind, ..llama.norm };
    let bias = |qkv, o, gate_up, down| Biases { qkv, o, gate_up, down };
    let kinds = [
        ("llama", llama.clone()),
        ("tied", DecoderSpec { tie_word_embeddings: true, ..llama.clone() }),
        ("biases of q, k and v alone", DecoderSpec { bias: bias(true, false, false, false), ..llama.clone() }),
        ("the other biases", DecoderSpec { bias: bias(false, true, true, true), ..llama.clone() }),
        (
            "fused tensors with biases",
            DecoderSpec {
                fused: Fused { qkv: true, gate_up: true },
                bias: bias(true, false, true, false),
                ..llama.clone()
            },
        ),
        ("a norm of 1 + weight", DecoderSpec { norm: norm(NormKind::Rms { offset: 1.0 }), ..llama.clone() }),
        ("layer norm", DecoderSpec { norm: norm(NormKind::LayerNorm { bias: true }), ..llama.clone() }),
        ("layer norm without bias", DecoderSpec { norm: norm(NormKind::LayerNorm { bias: false }), ..llama.clone() }),
        ("a gate of GELU", DecoderSpec { hidden_act: Activation::GeluTanh, ..llama.clone() }),
    ];
    let ids = [3usize, 17, 39, 0, 8];
    let mut all = Vec::new();
    for (what, spec) in kinds {
        let made =
            Made::new(&LlavaConfig { vision: None, text: spec.clone(), decoder: "llama", eos_token_ids: vec![2] });
        let found = block_on(logits(&made, &ids, &spec, &block_on(device::open()).unwrap()));
        let expected = made.logits(&ids, &spec);
        assert_close(&found, &expected, what);
        assert_eq!(*made.read.borrow(), made.names(), "{what}: read in the order of the plan, each once");
        assert!(!all.contains(&expected), "{what} is the same as another");
        all.push(expected);
    }
}

#[test]
fn every_kind_of_tower_computes_what_its_definition_says() {
    let clip = config(|_| ()).vision.unwrap();
    let (mut bare, mut bias) = (clip.clone(), clip.clone());
    // As SigLIP is.
    let TowerSpec::Transformer(tower) = &mut bare.tower else { unreachable!("CLIP is a transformer") };
    (tower.class_token, tower.pre_norm, tower.patch_bias) = (false, false, true);
    (bare.select_strategy, tower.hidden_act) = (SelectStrategy::Full, Activation::GeluTanh);
    let TowerSpec::Transformer(tower) = &mut bias.tower else { unreachable!("CLIP is a transformer") };
    tower.patch_bias = true;
    for (what, vision, tokens) in [("clip", clip, 9), ("no class token, no first norm", bare, 9), ("a bias", bias, 9)] {
        assert_eq!(vision.image_tokens(), tokens, "{what}");
        let made = Made::new(&LlavaConfig { vision: Some(vision.clone()), ..config(|_| ()) });
        let shape = vision.tower.patches();
        let patches: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.37).sin()).collect();
        let found = block_on(async {
            let gpu = device::open().await.unwrap();
            let tower = VisionTower::load(&mut Loader::new(&made, &gpu.device), &vision).await.unwrap();
            let x = Tensor::from_data(TensorData::new(patches.clone(), shape), &gpu.device);
            device::read_floats(tower.forward(x, &mut async || Ok::<_, Error>(())).await.unwrap()).await.unwrap()
        });
        assert_close(&found, &made.features(&patches, &vision), what);
    }
}

#[test]
fn a_whole_model_is_read_in_the_order_of_its_plan() {
    let config = config(|json| json["text_config"]["attention_bias"] = true.into());
    let made = Made::new(&config);
    block_on(async {
        let gpu = device::open().await.unwrap();
        Llava::load(&made, &config, 16, KvFormat::F32, &gpu.device).await.unwrap();
    });
    assert_eq!(*made.read.borrow(), made.names());
}

#[test]
fn a_manifest_that_contradicts_its_config_is_refused_before_any_weight() {
    let config = config(|_| ());
    let mut made = Made::new(&config);
    let told = memory(&config, |_| 4);
    let mut load = |memory| {
        made.manifest.memory = Some(memory);
        let loaded = block_on(async {
            let gpu = device::open().await?;
            Llava::load(&made, &config, 16, KvFormat::F32, &gpu.device).await
        });
        (loaded.err().map(|error| (error.code(), error.to_string())), made.read.take().is_empty())
    };
    assert_eq!(load(told.clone()), (None, false));
    // How much memory an engine takes is its own affair.
    assert_eq!(load(llava_web::bundle::Memory { picture_bytes: 1, position_bytes: 1, ..told.clone() }).0, None);
    for (field, _) in told.facts() {
        let mut json = serde_json::to_value(&told).unwrap();
        json[field] = 1000.into();
        let (error, unread) = load(serde_json::from_value(json).unwrap());
        let (code, message) = error.unwrap();
        assert_eq!((code, unread), ("bad_bundle", true));
        assert!(message.contains(&format!("`memory.{field}` is 1000, but")), "{message}");
    }
}

#[test]
fn what_pages_plan_by_follows_from_the_parameters() {
    let config = config(|json| json["text_config"]["num_hidden_layers"] = 3.into());
    // The second layer's are wider in bits; the embedding, larger than all, can be cut.
    let bytes = |name: &str| match name {
        name if name.contains("layers.1.self_attn.k_proj") => 50,
        name if name.contains("embed_tokens") => 9000,
        _ => 40,
    };
    let found = memory(&config, bytes);
    let largest = &found.largest_weight;
    assert_eq!(
        (largest.name.as_str(), largest.bytes),
        ("language_model.model.layers.1.self_attn.qkv_proj.weight", 130)
    );
    assert_eq!((found.layers, found.keys, found.head_dim), (3, 24, 12));
    assert_eq!((found.trained_positions, found.image_tokens), (2048, 9));
    assert_eq!((found.picture_bytes, found.position_bytes), (4 * 10 * 72, 4 * 48));
}
