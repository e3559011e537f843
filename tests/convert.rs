//! The converter on tiny Hugging Face folders that the tests write themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use futures_lite::future::block_on;
use half::{bf16, f16};
use llava_web::bundle::reader::TensorReader;
use llava_web::bundle::source::ChunkSource;
use llava_web::bundle::{FolderSource, Manifest, pair};
use llava_web::convert::synthetic::Synthetic;
use llava_web::convert::{Options, Role, Summary, bundle, hf, plan};
use llava_web::model::config::LlavaConfig;
use llava_web::quant::Format;
use llava_web::{Error, Result};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};

const HEAD: &str = "language_model.lm_head.weight";
const EMBEDDING: &str = "language_model.model.embed_tokens.weight";

/// A checkpoint in memory: canonical name -> shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tiny_config() -> Value {
    json!({
        "model_type": "llava", "image_token_index": 49, "vision_feature_layer": -2,
        "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
                          "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
        "text_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 50,
                        "num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": true}
    })
}

/// 49 tokens, and `<image>`.
fn tiny_tokenizer() -> Value {
    let fixed = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let vocab: BTreeMap<String, usize> = fixed.chain((3..49).map(|id| format!("▁w{id}"))).zip(0..).collect();
    let special = |(id, content): (usize, &str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let added: Vec<Value> = [(0, "<unk>"), (1, "<s>"), (2, "</s>"), (49, "<image>")].map(special).into();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": vocab, "merges": []},
    })
}

/// Values that f16 and bf16 hold exactly, so that every number type must give the same bundle.
fn tensors(config: &Value) -> Tensors {
    let config = LlavaConfig::from_json(config, &Value::Null).unwrap();
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        f32::from((state >> 24) as u8 as i8) / 64.0
    };
    let needed = plan(&config).into_iter();
    needed
        .map(|needed| {
            let values = (0..needed.shape.iter().product()).map(|_| next()).collect();
            (needed.name, (needed.shape, values))
        })
        .collect()
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    /// Before transformers 4.52.
    Old,
    /// As `save_pretrained` of transformers 5 writes it.
    Hybrid,
    /// As modules are named now.
    New,
    NewFlatTower,
}

fn key(layout: Layout, name: &str) -> String {
    let flat = |name: &str| name.replace("vision_tower.vision_model.", "vision_tower.");
    let new = |name: &str| match name {
        HEAD => "lm_head.weight".to_owned(),
        name => format!("model.{}", name.replace("language_model.model.", "language_model.")),
    };
    match layout {
        Layout::Old => name.to_owned(),
        Layout::Hybrid => flat(name),
        Layout::New => new(name),
        Layout::NewFlatTower => flat(&new(name)),
    }
}

fn write_shard<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a String, &'a (Vec<usize>, Vec<f32>))>,
    dtype: Dtype,
) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(key, (shape, values))| {
            let bytes = match dtype {
                Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
                Dtype::BF16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
                Dtype::I32 => values.iter().flat_map(|&value| (value as i32).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            (key, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(key, shape, bytes)| (key, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// Writes a whole Hugging Face folder, in `shards` files.
fn write_folder(folder: &Path, config: &Value, tensors: &Tensors, layout: Layout, dtype: Dtype, shards: usize) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tiny_tokenizer().to_string()).unwrap();
    let keyed: Tensors = tensors.iter().map(|(name, tensor)| (key(layout, name), tensor.clone())).collect();
    if shards == 1 {
        return write_shard(&folder.join("model.safetensors"), &keyed, dtype);
    }
    let file = |shard: usize| format!("model-{shard}.safetensors");
    for shard in 0..shards {
        let part = keyed.iter().enumerate().filter(|(index, _)| index % shards == shard).map(|(_, tensor)| tensor);
        write_shard(&folder.join(file(shard)), part, dtype);
    }
    let map: BTreeMap<_, _> = keyed.keys().enumerate().map(|(index, key)| (key, file(index % shards))).collect();
    let index = json!({"metadata": {}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// A folder with `config` and `tensors` in the plainest form, and a place for the bundle.
struct Case {
    temp: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
}

impl Case {
    fn new(config: Value) -> Self {
        let tensors = tensors(&config);
        Self { temp: tempfile::tempdir().unwrap(), config, tensors }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.temp.path().join("llava-tiny")
    }

    fn out(&self) -> std::path::PathBuf {
        self.temp.path().join("bundle")
    }

    fn write(&self) -> &Self {
        write_folder(&self.folder(), &self.config, &self.tensors, Layout::Old, Dtype::F32, 1);
        self
    }

    fn convert(&self, format: Format) -> Result<Summary> {
        hf::convert(&self.folder(), &self.out(), &Options { chunk_bytes: 4096, force: true, ..Options::new(format) })
    }

    fn values(&self) -> BTreeMap<String, Vec<f32>> {
        values(&self.out())
    }
}

/// Every tensor of a bundle, decoded.
fn values(bundle: &Path) -> BTreeMap<String, Vec<f32>> {
    let source = FolderSource::open(bundle).unwrap();
    let mut reader = TensorReader::new(&source);
    let names = source.manifest().tensors.iter().map(|tensor| &tensor.name);
    names.map(|name| (name.clone(), block_on(reader.tensor(name)).unwrap().decode().unwrap())).collect()
}

fn message(result: Result<Summary>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_layout_number_type_and_sharding_gives_the_same_bundle() {
    let config = tiny_config();
    let tensors = tensors(&config);
    let mut first: Option<Manifest> = None;
    for layout in [Layout::Old, Layout::Hybrid, Layout::New, Layout::NewFlatTower] {
        for (dtype, shards) in [(Dtype::F32, 1), (Dtype::F16, 3), (Dtype::BF16, 2)] {
            let temp = tempfile::tempdir().unwrap();
            let (folder, out) = (temp.path().join("llava-tiny"), temp.path().join("bundle"));
            write_folder(&folder, &config, &tensors, layout, dtype, shards);
            let summary = hf::convert(&folder, &out, &Options::new(Format::F32)).unwrap();
            assert_eq!(first.get_or_insert(summary.manifest.clone()), &summary.manifest, "{layout:?} {dtype:?}");
            let converted = values(&out);
            assert_eq!(converted.len(), tensors.len());
            for (name, (_, original)) in &tensors {
                assert_eq!(&converted[name], original, "{name} {layout:?} {dtype:?}");
            }
        }
    }
    let manifest = first.unwrap();
    assert_eq!((manifest.model.name.as_str(), &manifest.config), ("llava-tiny", &config));
    let order: Vec<_> = manifest.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let expected = plan(&LlavaConfig::from_json(&config, &Value::Null).unwrap());
    assert_eq!(order, expected.into_iter().map(|needed| needed.name).collect::<Vec<_>>());
    let memory = manifest.memory.unwrap();
    // 64 + 2 * 32 rows of 64 columns in f32.
    let weight = &memory.largest_weight;
    assert_eq!(
        (weight.name.as_str(), weight.bytes),
        ("language_model.model.layers.0.self_attn.qkv_proj.weight", 32768)
    );
    assert_eq!((memory.layers, memory.keys, memory.head_dim, memory.image_tokens), (2, 32, 16, 4));
}

#[test]
fn formats_follow_the_roles() {
    let case = Case::new(tiny_config());
    case.write();
    let needed = plan(&LlavaConfig::from_json(&tiny_config(), &Value::Null).unwrap());
    let role = |name: &str| needed.iter().find(|needed| needed.name == name).unwrap().role;
    for &format in Format::ALL {
        let summary = case.convert(format).unwrap();
        let dtype = |name: &str| summary.manifest.tensors.iter().find(|tensor| tensor.name == name).unwrap().dtype;
        let fitting = |format: Format, cols: usize| match format {
            _ if format.fits(cols) => format,
            Format::Q4K => Format::Q4,
            Format::Q5K | Format::Q6K => Format::Q8,
            _ => Format::F16,
        };
        let vision = if format.bits() < 8.0 { Format::Q8 } else { format };
        let plain = if format == Format::F32 { Format::F32 } else { Format::F16 };
        let tower = "vision_tower.vision_model";
        assert_eq!(dtype("language_model.model.layers.1.mlp.down_proj.weight"), fitting(format, 96));
        assert_eq!([dtype(EMBEDDING), dtype(HEAD)], [fitting(format, 64); 2]);
        assert_eq!(dtype(&format!("{tower}.encoder.layers.0.mlp.fc1.weight")), fitting(vision, 32));
        assert_eq!(dtype("multi_modal_projector.linear_1.weight"), fitting(vision, 32));
        assert_eq!(dtype(&format!("{tower}.embeddings.patch_embedding.weight")), plain);
        for name in ["embeddings.class_embedding", "embeddings.position_embedding.weight", "pre_layrnorm.bias"] {
            assert_eq!(dtype(&format!("{tower}.{name}")), Format::F32);
        }
        assert_eq!(dtype("language_model.model.layers.0.self_attn.q_proj.bias"), Format::F32);
        assert_eq!(summary.manifest.quantization, format.name());

        // Every value is what its format makes of it, and the summary tells how far that is off.
        let (mut squared_error, mut squared_values) = (0.0, 0.0);
        for (name, decoded) in case.values() {
            let (shape, values) = &case.tensors[&name];
            let (stored, cols) = (dtype(&name), shape[1..].iter().product());
            let bytes = stored.encode(&name, shape[0], cols, values).unwrap();
            assert_eq!(decoded, stored.decode(&name, shape[0], cols, &bytes).unwrap(), "{name}");
            if role(&name) == Role::Decoder && stored == format {
                squared_error += decoded.iter().zip(values).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                squared_values += values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
            }
        }
        let total = summary.roles.get(&(Role::Decoder, format.name()));
        let [told_error, told_values] = total.map_or([0.0; 2], |total| [total.squared_error, total.squared_values]);
        assert!((told_error - squared_error).abs() <= 1e-5 * squared_error, "{squared_error}: {summary}");
        assert!((told_values - squared_values).abs() <= 1e-5 * squared_values, "{squared_values}: {summary}");
        assert!(squared_error <= 0.15f64.powi(2) * squared_values, "{summary}");
    }
}

#[test]
fn embedding_and_head_may_have_a_format_of_their_own() {
    let case = Case::new(tiny_config());
    case.write();
    let options = Options { head: Some(Format::Q8), ..Options::new(Format::Q4) };
    hf::convert(&case.folder(), &case.out(), &options).unwrap();
    let in_q4 = case.temp.path().join("in-q4");
    hf::convert(&case.folder(), &in_q4, &Options::new(Format::Q4)).unwrap();
    let [mixed, q4] = [case.out(), in_q4.clone()].map(|folder| FolderSource::open(folder).unwrap().manifest().clone());
    for (tensor, in_q4) in mixed.tensors.iter().zip(&q4.tensors) {
        let expected = if [EMBEDDING, HEAD].contains(&tensor.name.as_str()) { Format::Q8 } else { in_q4.dtype };
        assert_eq!((&tensor.name, tensor.dtype), (&in_q4.name, expected));
    }
    assert_eq!(mixed.quantization, "q4");

    // A bundle's likewise: what has the format already is the same bytes.
    let again = case.temp.path().join("again");
    bundle::convert(&case.out(), &again, &options).unwrap();
    assert_eq!(FolderSource::open(again).unwrap().manifest().chunks, mixed.chunks);
}

#[test]
fn columns_that_are_no_whole_blocks_are_stored_otherwise() {
    let mut config = tiny_config();
    config["text_config"]["intermediate_size"] = json!(90);
    let case = Case::new(config);
    let summary = case.write().convert(Format::Q4).unwrap();
    let down = "language_model.model.layers.0.mlp.down_proj.weight";
    let told = |summary: &Summary, other: &str| {
        let told = summary.notes.iter().find(|note| note.contains(down));
        assert!(told.is_some_and(|note| note.ends_with(&format!("stored as {other}"))), "{summary}");
    };
    told(&summary, "f16");
    assert_eq!(case.values()[down], case.tensors[down].1);
    for (cols, format, other) in
        [(96, Format::Q4K, "q4"), (96, Format::Q5K, "q8"), (96, Format::Q6K, "q8"), (90, Format::Q4K, "f16")]
    {
        let mut config = tiny_config();
        config["text_config"]["intermediate_size"] = json!(cols);
        told(&Case::new(config).write().convert(format).unwrap(), other);
    }
}

#[test]
fn tied_heads_follow_transformers() {
    let mut config = tiny_config();
    config["text_config"]["tie_word_embeddings"] = json!(true);
    let mut case = Case::new(config);
    assert!(!case.tensors.contains_key(HEAD));
    let has_head = |case: &Case| case.values().contains_key(HEAD);

    case.write().convert(Format::F32).unwrap();
    assert!(!has_head(&case));
    // Both there and equal: one is kept.
    let embedding = case.tensors[EMBEDDING].clone();
    case.tensors.insert(HEAD.into(), embedding.clone());
    assert!(case.write().convert(Format::F32).unwrap().notes.iter().all(|note| !note.contains("tie")));
    assert!(!has_head(&case));
    // Only the head there: it serves as embedding.
    case.tensors.remove(EMBEDDING);
    case.write().convert(Format::F32).unwrap();
    assert_eq!(case.values()[EMBEDDING], embedding.1);
    // Both there and different: not tied after all.
    let negative = (embedding.0.clone(), embedding.1.iter().map(|value| -value).collect());
    case.tensors.extend([(EMBEDDING.to_owned(), embedding), (HEAD.to_owned(), negative)]);
    let summary = case.write().convert(Format::F32).unwrap();
    assert!(summary.notes.iter().any(|note| note.contains("both are kept")), "{summary}");
    let config = LlavaConfig::from_json(&summary.manifest.config, &Value::Null).unwrap();
    assert!(has_head(&case) && !config.text.tie_word_embeddings);
    // Not tied and no head at all.
    let mut case = Case::new(tiny_config());
    case.tensors.remove(HEAD);
    assert!(message(case.write().convert(Format::F32)).contains(HEAD));
}

#[test]
fn what_the_model_never_uses_is_left_out() {
    let mut case = Case::new(tiny_config());
    let layer = |index: usize| format!("vision_tower.vision_model.encoder.layers.{index}.mlp.fc1.bias");
    assert!(case.tensors.contains_key(&layer(1)) && !case.tensors.contains_key(&layer(2)));
    let extra = |len: usize| (vec![len], vec![f32::NAN; len]);
    case.tensors.insert(layer(2), extra(64));
    case.tensors.insert("vision_tower.vision_model.post_layernorm.weight".into(), extra(32));
    case.tensors.insert("vision_tower.vision_model.embeddings.position_ids".into(), extra(5));
    case.tensors.insert("language_model.model.layers.0.self_attn.rotary_emb.inv_freq".into(), extra(8));
    case.tensors.insert("image_newline".into(), extra(64));
    let summary = case.write().convert(Format::Q8).unwrap();
    let notes: Vec<_> = summary.notes.iter().filter(|note| !note.contains("preprocessor")).collect();
    assert_eq!(notes.len(), 2, "{summary}");
    assert!(notes[0].starts_with("2 tensors above"), "{summary}");
    assert_eq!(notes[1], "unknown tensor left out: image_newline");
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_named() {
    let fc1 = "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight";
    let mut case = Case::new(tiny_config());
    let (shape, values) = case.tensors[fc1].clone();
    let mut failing = |tensor: Option<(Vec<usize>, Vec<f32>)>, signs: &[&str]| {
        match tensor {
            Some(tensor) => case.tensors.insert(fc1.into(), tensor),
            None => case.tensors.remove(fc1),
        };
        let message = message(case.write().convert(Format::Q4));
        assert!(message.contains(fc1) && signs.iter().all(|sign| message.contains(sign)), "{message}");
        assert!(!case.out().join("manifest.json").exists());
    };
    failing(None, &["is missing"]);
    failing(Some((vec![32, 64], values.clone())), &["[32, 64]", "[64, 32]"]);
    let mut nan = values.clone();
    nan[100] = f32::NAN;
    failing(Some((shape.clone(), nan)), &["NaN"]);
    failing(Some((shape.clone(), vec![1e9; values.len()])), &["65504"]);

    let case = Case::new(tiny_config());
    write_folder(&case.folder(), &case.config, &case.tensors, Layout::Old, Dtype::I32, 1);
    assert!(message(case.convert(Format::Q4)).contains("I32"));
    // What no kernel can run is refused here already.
    let mut case = Case::new(tiny_config());
    case.config["text_config"]["head_dim"] = json!(6);
    let found = message(case.write().convert(Format::Q4));
    assert!(found.contains("`text_config.head_dim`") && found.contains("up to 128"), "{found}");
    // One tensor under two of its names.
    let mut twice = Case::new(tiny_config());
    let head = twice.tensors[HEAD].clone();
    twice.tensors.insert("lm_head.weight".into(), head);
    assert!(message(twice.write().convert(Format::Q4)).contains("both mean"));
    // One tensor in two files.
    let case = Case::new(tiny_config());
    write_folder(&case.folder(), &case.config, &case.tensors, Layout::Old, Dtype::F32, 2);
    write_shard(&case.folder().join("model-1.safetensors"), &case.tensors, Dtype::F32);
    let found = message(case.convert(Format::Q4));
    assert!(
        ["both mean", "of model-0.safetensors", "of model-1.safetensors"].iter().all(|sign| found.contains(sign)),
        "{found}"
    );
}

/// What loading would refuse of the parts beside the weights.
#[test]
fn parts_that_do_not_fit_are_refused() {
    let mut case = Case::new(tiny_config());
    case.config["text_config"]["rope_theta"] = json!(10000.0);
    case.write();
    let failing = |name: &str, text: &str, signs: &[&str]| {
        let path = case.folder().join(name);
        let original = fs::read(&path).ok();
        fs::write(&path, text).unwrap();
        let found = message(case.convert(Format::Q4));
        assert!(signs.iter().all(|sign| found.contains(sign)), "{name} {signs:?}: {found}");
        assert!(!case.out().join("manifest.json").exists());
        match original {
            Some(original) => fs::write(&path, original).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    };
    let tokenizer = |edit: &dyn Fn(&mut Value), signs: &[&str]| {
        let mut json = tiny_tokenizer();
        edit(&mut json);
        failing("tokenizer.json", &json.to_string(), signs);
    };
    tokenizer(&|json| drop(json["added_tokens"].as_array_mut().unwrap().pop()), &["`<image>`", "49", "no such token"]);
    tokenizer(&|json| json["model"]["vocab"]["extra"] = json!(49), &["`<image>`", "49", "the id 50"]);
    let beyond = |json: &mut Value| {
        let model = json["model"].as_object_mut().unwrap();
        model["vocab"].as_object_mut().unwrap().remove("▁w48");
        model["vocab"]["▁beyond"] = json!(77);
        model["unk_token"] = json!("▁beyond");
    };
    tokenizer(&beyond, &["the id 77", "vocab_size of 50"]);
    tokenizer(&|json| json["decoder"]["decoders"][1]["stop"] = json!(1), &["`stop` 1"]);
    for (settings, sign) in [
        (json!({"crop_size": 9}), "crop_size"),
        (json!({"do_center_crop": false}), "crop_size"),
        (json!({"image_processor_type": "SiglipImageProcessor"}), "image_processor_type"),
        (json!({"resample": 1}), "resample"),
        (json!({"image_mean": [0.5]}), "image_mean"),
        (json!({"image_std": [0.5, 0.5]}), "image_std"),
        (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
        (json!({"image_std": 1e-40}), "image_std"),
        (json!({"rescale_factor": 1e300}), "rescale_factor"),
    ] {
        failing("preprocessor_config.json", &settings.to_string(), &[sign]);
    }
    failing("generation_config.json", r#"{"eos_token_id": 999999}"#, &["eos_token_id", "999999"]);
    let mut short = case.config.clone();
    short["text_config"]["max_position_embeddings"] = json!(4);
    failing("config.json", &short.to_string(), &["`text_config.max_position_embeddings`", "is 4", "takes 4"]);
    // As Python writes a number that there is none for.
    let config = case.config.to_string();
    failing("config.json", &config.replace("10000.0", "NaN"), &["`text_config.rope_theta`", "NaN"]);
    fs::write(case.folder().join("config.json"), config.replacen('{', r#"{"unused": [NaN, -Infinity], "#, 1)).unwrap();
    case.convert(Format::Q4).unwrap();
}

#[test]
fn pointers_and_templates_are_named() {
    let case = Case::new(tiny_config());
    write_folder(&case.folder(), &case.config, &case.tensors, Layout::Old, Dtype::F32, 2);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";
    for name in ["config.json", "tokenizer.json", "model.safetensors.index.json", "model-1.safetensors"] {
        let path = case.folder().join(name);
        let original = fs::read(&path).unwrap();
        fs::write(&path, pointer).unwrap();
        let found = message(case.convert(Format::Q4));
        assert!(found.contains(name) && found.contains("git lfs pull"), "{found}");
        fs::write(&path, original).unwrap();
    }
    let notes = || case.convert(Format::Q4).unwrap().notes.join("\n");
    assert!(!notes().contains("template"));
    fs::write(case.folder().join("tokenizer_config.json"), r#"{"chat_template": "{{ x }}"}"#).unwrap();
    fs::write(case.folder().join("chat_template.jinja"), "{{ x }}").unwrap();
    assert!(notes().contains("chat_template.jinja, tokenizer_config.json"), "{}", notes());
    fs::remove_file(case.folder().join("config.json")).unwrap();
    fs::write(case.folder().join("adapter_config.json"), "{}").unwrap();
    assert!(message(case.convert(Format::Q4)).contains("adapter (LoRA)"));
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let case = Case::new(tiny_config());
    write_folder(&case.folder(), &case.config, &case.tensors, Layout::Hybrid, Dtype::BF16, 2);
    let path = |name: &str| case.folder().join(name);
    let failing = |signs: &[&str]| {
        let message = message(case.convert(Format::Q4));
        assert!(signs.iter().all(|sign| message.contains(sign)), "{message}");
    };
    let without = |name: &str, signs: &[&str]| {
        let bytes = fs::read(path(name)).unwrap();
        fs::remove_file(path(name)).unwrap();
        failing(signs);
        fs::write(path(name), bytes).unwrap();
    };
    without("tokenizer.json", &["tokenizer.json", "save_pretrained"]);
    without("config.json", &["config.json"]);
    without("model-1.safetensors", &["model-1.safetensors", "is missing", "model.safetensors.index.json names it"]);
    without("model.safetensors.index.json", &["model.safetensors", "index.json"]);
    let with = |name: &str, bytes: &[u8], signs: &[&str]| {
        let original = fs::read(path(name)).unwrap();
        fs::write(path(name), bytes).unwrap();
        failing(signs);
        fs::write(path(name), original).unwrap();
    };
    let shard = fs::read(path("model-0.safetensors")).unwrap();
    with("model-0.safetensors", &shard[..shard.len() - 1], &["model-0.safetensors", "download it again"]);
    with("model-0.safetensors", &[0xff; 16], &["model-0.safetensors"]);
    with("tokenizer.json", b"{}", &["tokenizer.json", "`model`"]);
    with("tokenizer.json", b"{", &["tokenizer.json", "no JSON"]);
    with("model.safetensors.index.json", br#"{"weight_map": {"a": "../x"}}"#, &["weight_map"]);
    with("model.safetensors.index.json", b"{}", &["weight_map"]);
    let mut quantized = case.config.clone();
    quantized["quantization_config"] = json!({"quant_method": "awq"});
    with("config.json", quantized.to_string().as_bytes(), &["quantization_config", "original"]);
    case.convert(Format::Q4).unwrap();
    // A checkpoint's own folder is no place for a bundle.
    let error = hf::convert(&case.folder(), &case.folder(), &Options::new(Format::Q4)).unwrap_err();
    assert!(matches!(error, Error::Input { field: "out", .. }), "{error}");
}

#[test]
fn generation_and_image_settings_come_along() {
    let case = Case::new(tiny_config());
    let put = |name: &str, json: Value| fs::write(case.write().folder().join(name), json.to_string()).unwrap();
    let preprocessor = |case: &Case| case.convert(Format::Q4).unwrap().manifest.preprocessor;
    case.write();
    assert_eq!(preprocessor(&case)["crop_size"], json!({"height": 8, "width": 8}));
    put("preprocessor_config.json", json!({"size": 1}));
    put("processor_config.json", json!({"patch_size": 4}));
    assert_eq!(preprocessor(&case), json!({"size": 1}));
    put("processor_config.json", json!({"image_processor": {"size": 2}}));
    assert_eq!(preprocessor(&case), json!({"size": 2}));
    put("generation_config.json", json!({"eos_token_id": [5, 6]}));
    let summary = case.convert(Format::Q4).unwrap();
    assert_eq!(summary.manifest.generation, json!({"eos_token_id": [5, 6]}));
}

#[test]
fn a_synthetic_folder_converts_to_the_synthetic_bundle() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    let mut config = tiny_config();
    config["text_config"]["vocab_size"] = 320.into();
    config["image_token_index"] = 300.into();
    fs::write(path("tiny.json"), config.to_string()).unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_llava-convert")).args(args).current_dir(&temp).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let done = |args: &[&str]| assert!(run(args).0, "{args:?}: {}", run(args).1);
    done(&["synthetic", "tiny.json", "folder", "--seed", "7"]);
    done(&["folder", "converted", "--quant", "q4"]);
    done(&["synthetic", "tiny.json", "direct", "--quant", "q4", "--seed", "7"]);
    done(&["synthetic", "tiny.json", "other", "--quant", "q4", "--seed", "8"]);
    let manifest = |name: &str| FolderSource::open(path(name)).unwrap().manifest().clone();
    let (converted, direct, other) = (manifest("converted"), manifest("direct"), manifest("other"));
    assert_eq!((&converted.chunks, &converted.tensors), (&direct.chunks, &direct.tensors));
    assert_eq!((&converted.config, &converted.tokenizer), (&direct.config, &direct.tokenizer));
    assert_ne!(direct.chunks, other.chunks);
    for (args, sign) in [
        (&["synthetic", "tiny.json", "folder"][..], "already holds"),
        (&["synthetic", "llava-2", "new"], "llava-1.5-7b"),
        (&["folder", "new", "--quant", "q4", "--seed", "1"], "--seed"),
    ] {
        let (ok, text) = run(args);
        assert!(!ok && text.contains(sign), "{args:?}: {text}");
    }
}

#[test]
fn a_bundle_converts_to_what_its_checkpoint_would() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    let options = |format| Options { chunk_bytes: 1 << 16, ..Options::new(format) };
    // A transformer's tower, and a convolutional one, of which batch norms are folded away.
    for model in ["gqa", "lite0"] {
        let folder = Path::new("tests/golden/checkpoints").join(model);
        let name = |what: &str| path(&format!("{model}-{what}"));
        let folder = if model == "lite0" {
            Synthetic::new(&folder.join("config.json").to_string_lossy(), 0)
                .unwrap()
                .folder(&name("hf"), |_| ())
                .unwrap();
            name("hf")
        } else {
            folder
        };
        hf::convert(&folder, &name("f32"), &options(Format::F32)).unwrap();
        for format in [Format::F32, Format::F16, Format::Q8, Format::Q4] {
            hf::convert(&folder, &name(format.name()), &Options { force: true, ..options(format) }).unwrap();
            let again = name("again");
            let summary = bundle::convert(&name("f32"), &again, &Options { force: true, ..options(format) }).unwrap();
            let [direct, again] = [name(format.name()), again].map(|name| FolderSource::open(name).unwrap());
            let (direct, again) = (direct.manifest(), again.manifest());
            assert_eq!(
                (&again.chunks, &again.tensors, &again.memory),
                (&direct.chunks, &direct.tensors, &direct.memory)
            );
            assert_eq!((&again.config, &again.tokenizer), (&direct.config, &direct.tokenizer));
            assert_eq!((&again.quantization, &again.model), (&direct.quantization, &direct.model));
            assert!(summary.to_string().contains("made from a bundle in f32"), "{summary}");
        }
        // What is in the format asked for is carried over bit by bit.
        bundle::convert(&name("q4"), &name("same"), &options(Format::Q4)).unwrap();
        let [q4, same] = ["q4", "same"].map(|what| FolderSource::open(name(what)).unwrap().manifest().clone());
        assert_eq!((&q4.chunks, &q4.tensors), (&same.chunks, &same.tensors));
        let text = message(bundle::convert(&name("q4"), &name("none"), &Options::new(None)));
        assert!(text.contains("--quant"), "{text}");
    }
    fs::write(path("pair.json"), r#"{ "first": "gqa-q4", "second": "gqa-q8", "question": "What?", "answer": "a" }"#)
        .unwrap();
    pair(&path("pair.json"), &path("pair"), false).unwrap();
    let text = message(bundle::convert(&path("pair"), &path("none"), &options(Format::Q4)));
    assert!(text.contains("two models"), "{text}");
    // A damaged chunk is found before it is taken for weights.
    let chunk = fs::read_dir(path("gqa-q8/chunks")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&chunk).unwrap();
    bytes[0] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let text = message(bundle::convert(&path("gqa-q8"), &path("none"), &options(Format::Q4)));
    assert!(text.contains("SHA-256"), "{text}");
    assert!(!path("none/manifest.json").exists());
}

#[test]
fn the_published_geometries_are_known() {
    for (name, billions) in [("llava-1.5-7b", 7.05), ("llava-1.5-13b", 13.34)] {
        let model = Synthetic::new(name, 0).unwrap();
        let weights: usize = model.needed().map(|needed| needed.shape.iter().product::<usize>()).sum();
        assert_eq!((weights as f64 / 1e7).round() / 100.0, billions, "{name}");
    }
}

#[test]
fn the_command_line_does_it_too() {
    let case = Case::new(tiny_config());
    case.write();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llava-convert"));
        let output = command.arg(case.folder()).arg(case.out()).args(args).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (ok, text) = run(&["--quant", "q4", "--chunk-bytes", "1024", "--name", "tiny", "--license", "MIT"]);
    assert!(ok && text.contains("tiny:") && text.contains("decoder"), "{text}");
    let source = FolderSource::open(case.out()).unwrap();
    let manifest = source.manifest();
    assert_eq!((manifest.model.license.as_str(), manifest.chunks[0].bytes), ("MIT", 1024));
    for (args, sign) in [
        (&["--quant", "q4"][..], "--force"),
        (&["--quant", "q5"], &Format::names(", ")),
        (&["--quant", "q4", "--head", "q5"], &Format::names(", ")),
        (&["--head", "q8"], "--quant"),
        (&[], "--quant"),
        (&["--quant", "q4", "--what"], "--what"),
        (&["--quant", "q4", "--chunk-bytes", "33554432", "--force"], "chunk-bytes"),
    ] {
        let (ok, text) = run(args);
        assert!(!ok && text.contains(sign), "{args:?}: {text}");
    }
    let (ok, text) = run(&["--quant", "q4", "--head", "q8", "--force"]);
    assert!(ok && text.contains("token embedding"), "{text}");
    assert!(run(&["--quant", "q8", "--force"]).0);
}

#[test]
fn a_llama_alone_converts_too() {
    let llava = tiny_config();
    let mut config = llava["text_config"].clone();
    config["model_type"] = json!("llama");
    let mut case = Case::new(config);
    // As `LlamaForCausalLM.save_pretrained` names them.
    let expected = std::mem::take(&mut case.tensors);
    let short = |name: &str| name.strip_prefix("language_model.").unwrap().to_owned();
    case.tensors = expected.iter().map(|(name, tensor)| (short(name), tensor.clone())).collect();
    let summary = case.write().convert(Format::F32).unwrap();
    assert!(summary.notes.is_empty(), "{summary}");
    assert!(summary.manifest.preprocessor.is_null());
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, (_, values))| (name, values)).collect();
    assert_eq!(case.values(), expected);
}
