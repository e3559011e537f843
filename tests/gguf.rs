//! GGUF files: those of llama.cpp's own writer (tests/golden/gguf_files.py), and some that the tests write themselves.
//! That such a pair runs as transformers does is in tests/golden.rs.

#[path = "gguf/k_blocks.rs"]
mod k_blocks;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use futures_lite::future::block_on;
use half::f16;
use llava_web::{
    Error,
    bundle::reader::TensorReader,
    bundle::{FolderSource, Manifest},
    convert::{Checkpoint, Options, gguf, hf, plan, synthetic::Synthetic},
    device,
    engine::{Engine, Input, LoadOptions},
    image::Picture,
    model::config::LlavaConfig,
    quant::Format,
    text::prompt::Prompt,
    text::template::LLAVA_1_5,
    text::tokenizer::Tokenizer,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Weights of one block of ggml's plain formats.
const BLOCK: usize = 32;

fn golden(path: &str) -> PathBuf {
    PathBuf::from("tests/golden").join(path)
}

fn file(name: &str) -> Vec<u8> {
    fs::read(golden("gguf").join(name)).unwrap()
}

// ---- what llama.cpp wrote ----

#[test]
fn blocks_have_the_values_llama_cpp_gives_them() {
    let bytes = file("blocks.gguf");
    let parsed = gguf::parse(&bytes).unwrap();
    let mut kinds = 0;
    for (name, tensor) in parsed.tensors.iter().filter(|(name, _)| !name.ends_with(".values")) {
        let kind = tensor.kind.unwrap();
        assert_eq!((kind.name(), &tensor.shape[..]), (*name, &[3, 512][..]));
        let expected: Vec<f32> = bytemuck::pod_collect_to_vec(parsed.tensors[format!("{name}.values").as_str()].bytes);
        let mut values = Vec::new();
        kind.decode(tensor.bytes, &mut values);
        assert_eq!(values, expected, "{name}");
        kinds += 1;

        let (mut quants, mut scales) = (Vec::new(), Vec::new());
        let format = kind.format();
        let carried = kind.carry(name, format, tensor.bytes, &mut quants, &mut scales).unwrap();
        assert_eq!(carried, matches!(*name, "Q4_0" | "Q4_1" | "Q8_0" | "Q4_K" | "Q5_K" | "Q6_K"), "{name}");
        if carried {
            assert_eq!(format.decode_part(&quants, &scales), expected, "{name}");
        } else {
            assert!(quants.is_empty() && scales.is_empty());
        }
    }
    assert_eq!(kinds, 10);
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn rebuilt_tokenizers_give_the_ids_of_llama_cpp() {
    let expected: BTreeMap<String, Vec<Case>> = serde_json::from_slice(&file("tokens.json")).unwrap();
    assert_eq!(expected.len(), 4);
    for (name, cases) in &expected {
        let bytes = file(&format!("{name}.gguf"));
        let parsed = gguf::parse(&bytes).unwrap();
        let rows = parsed.tensors["token_embd.weight"].shape[0];
        let rebuilt = gguf::rebuild_tokenizer(&parsed, rows, name == "gqa-f16").unwrap();
        let tokenizer = Tokenizer::from_bytes(&rebuilt.json).unwrap();
        for Case { text, ids } in cases {
            assert_eq!(&tokenizer.encode_text(text).unwrap(), ids, "{name} {text:?}");
        }
        assert_eq!(rebuilt.image_token_id, (name == "gqa-f16").then_some(408));
    }
    // And back again, as the Hugging Face tokenizer of the same checkpoint does.
    let bytes = file("gqa-f16.gguf");
    let rebuilt = gguf::rebuild_tokenizer(&gguf::parse(&bytes).unwrap(), 414, true).unwrap();
    let rebuilt = Tokenizer::from_bytes(&rebuilt.json).unwrap();
    let original = Tokenizer::from_bytes(&fs::read(golden("checkpoints/gqa/tokenizer.json")).unwrap()).unwrap();
    for Case { ids, .. } in &expected["gqa-f16"] {
        assert_eq!(rebuilt.decode(ids).unwrap(), original.decode(ids).unwrap());
    }
}

#[test]
fn a_decoder_alone_answers_as_it_does_beside_the_tower() {
    let temp = tempfile::tempdir().unwrap();
    let (model, mmproj) = (golden("gguf/gqa-f16.gguf"), golden("gguf/gqa-mmproj-f16.gguf"));
    let engine = |mmproj: Option<&PathBuf>| {
        let out = temp.path().join(if mmproj.is_some() { "pair" } else { "alone" });
        let summary = gguf::convert(&model, mmproj.map(PathBuf::as_path), &out, &Options::new(None)).unwrap();
        assert_eq!(summary.manifest.quantization, "f16");
        let source = FolderSource::open(&out).unwrap();
        let tokenizer = source.tokenizer().unwrap();
        let load = async {
            let gpu = device::open().await?;
            Engine::load(gpu, &source, &tokenizer, LoadOptions::default()).await
        };
        block_on(load).unwrap()
    };
    let (mut pair, mut alone) = (engine(Some(&mmproj)), engine(None));
    assert_eq!((&pair.info()["image_tokens"], &alone.info()["image_tokens"]), (&16.into(), &0.into()));
    for prompt in ["What is in this picture?", "The square"] {
        let input = |raw: bool| Input { prompt: Some(prompt.into()), raw, max_tokens: Some(16), ..Input::default() };
        for raw in [true, false] {
            let ask = |engine: &mut Engine| block_on(engine.generate(None, &input(raw), &mut |_, _| true)).unwrap();
            let (alone, pair) = (ask(&mut alone), ask(&mut pair));
            assert_eq!((alone.token_ids, alone.prompt_tokens), (pair.token_ids, pair.prompt_tokens));
        }
    }
    let picture = Picture { width: 2, height: 2, rgb: vec![9; 12] }.into();
    let error = block_on(alone.generate(Some(&picture), &Input::default(), &mut |_, _| true)).unwrap_err().to_string();
    assert!(error.contains("`image`") && error.contains("load a LLaVA model"), "{error}");
}

// ---- what the tests write ----

/// The types the writer knows, with ggml's ids.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q8_0 = 8,
    Q4K = 12,
    Q5K = 13,
    Q6K = 14,
}

#[derive(Default, Clone)]
struct Writer {
    metadata: Vec<(String, Vec<u8>)>,
    /// Name, shape (rows first), type id, bytes.
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Writer {
    fn put(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.into(), [&kind.to_le_bytes(), value].concat()));
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.put(key, 4, &value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.put(key, 6, &value.to_le_bytes());
    }

    fn str(&mut self, key: &str, value: &str) {
        self.put(key, 8, &text(value));
    }

    fn list(&mut self, key: &str, kind: u32, elements: &[Vec<u8>]) {
        let head = [&kind.to_le_bytes()[..], &(elements.len() as u64).to_le_bytes()].concat();
        self.put(key, 9, &[head, elements.concat()].concat());
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            bytes.extend([text(key), value.clone()].concat());
        }
        let mut data = Vec::new();
        for (name, shape, kind, tensor) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|side| bytes.extend((*side as u64).to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(tensor);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        bytes
    }

    /// Vectors stay f32, and matrices whose columns are no blocks f16. Our own quants become ggml's blocks, so that what
    /// is converted back must be the very same.
    fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32], kind: Type) {
        let cols = *shape.last().unwrap();
        let kind = match kind {
            _ if shape.len() == 1 => Type::F32,
            Type::Q4K | Type::Q5K | Type::Q6K if !cols.is_multiple_of(k_blocks::WEIGHTS) => {
                panic!("{name}: {cols} columns")
            }
            Type::Q4_0 | Type::Q4_1 | Type::Q8_0 if !cols.is_multiple_of(BLOCK) => Type::F16,
            kind => kind,
        };
        let rows = values.len() / cols;
        let blocks = |format: Format, quants: usize, scales: usize| -> Vec<u8> {
            let encoded = format.encode(name, rows, cols, values).unwrap();
            let split = format.quants_len(rows, cols).unwrap();
            let pairs = encoded[split..].chunks_exact(scales).zip(encoded[..split].chunks_exact(quants));
            pairs.flat_map(|(scale, quants)| [scale, quants].concat()).collect()
        };
        let bytes = match kind {
            Type::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Type::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Type::Q4_1 => blocks(Format::Q4, 16, 4),
            Type::Q8_0 => blocks(Format::Q8, 32, 2),
            Type::Q4K => blocks(Format::Q4K, 128, 16).chunks(144).flat_map(k_blocks::q4_k).collect(),
            Type::Q5K => blocks(Format::Q5K, 160, 16).chunks(176).flat_map(k_blocks::q5_k).collect(),
            Type::Q6K => blocks(Format::Q6K, 192, 18).chunks(210).flat_map(k_blocks::q6_k).collect(),
            Type::Q4_0 => values.chunks(BLOCK).flat_map(|block| q4_0(block).0).collect(),
        };
        self.tensors.push((name.into(), shape.into(), kind as u32, bytes));
    }
}

/// A block, and the values it stands for.
fn q4_0(values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let d = f16::from_f32(largest / 7.0);
    let q = |value: f32| if d == f16::ZERO { 8 } else { (value / d.to_f32() + 8.0).round().clamp(0.0, 15.0) as u8 };
    let packed = (0..BLOCK / 2).map(|j| q(values[j]) | q(values[j + BLOCK / 2]) << 4);
    let block = d.to_le_bytes().into_iter().chain(packed).collect();
    (block, values.iter().map(|value| d.to_f32() * (f32::from(q(*value)) - 8.0)).collect())
}

/// A stretch of rows in llama.cpp's order: the halves of each head take turns.
fn interleave(values: &[f32], heads: usize, width: usize) -> Vec<f32> {
    let half = values.len() / heads / 2;
    let row = |at: usize| values[at * width..][..width].to_vec();
    let (size, half) = (half * 2 / width, half / width);
    (0..heads)
        .flat_map(|head| (0..half).flat_map(move |pair| [head * size + pair, head * size + half + pair]))
        .flat_map(row)
        .collect()
}

/// The checkpoint `gqa` as a decoder's file and a projector's, of llama.cpp's newer names, without a token `<image>`.
/// `decoder` and `vision` are the types of the matrices.
fn pair(decoder: Type, vision: Type) -> (Writer, Writer) {
    pair_of(&golden("checkpoints/gqa"), decoder, vision)
}

/// A made-up model of that shape whose decoder is 256 wide, in a folder of its own.
fn wide() -> tempfile::TempDir {
    let config = fs::read(golden("checkpoints/gqa/config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    for (field, value) in [("hidden_size", 256), ("intermediate_size", 512), ("head_dim", 64)] {
        config["text_config"][field] = value.into();
    }
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("wide.json");
    fs::write(&path, config.to_string()).unwrap();
    Synthetic::new(&path.to_string_lossy(), 3).unwrap().folder(temp.path(), |_| ()).unwrap();
    temp
}

/// The same of the checkpoint in `folder`, of that one's shape but for widths.
fn pair_of(folder: &Path, decoder: Type, vision: Type) -> (Writer, Writer) {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    let checkpoint = hf::HfCheckpoint::open(folder, false).unwrap();
    let parsed = LlavaConfig::from_json(&config, &Value::Null).unwrap();

    let mut model = Writer::default();
    model.str("general.architecture", "llama");
    let text_config = &config["text_config"];
    for (key, field) in [
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("rope.dimension_count", "head_dim"),
    ] {
        model.u32(&format!("llama.{key}"), text_config[field].as_u64().unwrap() as u32);
    }
    model.f32("llama.attention.layer_norm_rms_epsilon", text_config["rms_norm_eps"].as_f64().unwrap() as f32);
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(bytes).collect();
    let types: Vec<_> = (0..tokens.len()).map(|id| [2, 3, 3].get(id).copied().unwrap_or(6)).collect();
    model.str("tokenizer.ggml.model", "llama");
    model.list("tokenizer.ggml.tokens", 8, &tokens.iter().map(|token| text(token)).collect::<Vec<_>>());
    model.list("tokenizer.ggml.scores", 6, &vec![0f32.to_le_bytes().to_vec(); tokens.len()]);
    model.list(
        "tokenizer.ggml.token_type",
        5,
        &types.iter().map(|kind: &i32| kind.to_le_bytes().to_vec()).collect::<Vec<_>>(),
    );
    model.u32("tokenizer.ggml.eos_token_id", 2);

    let mut mmproj = Writer::default();
    mmproj.str("general.architecture", "clip");
    mmproj.str("clip.vision.projector_type", "mlp");
    let vision_config = &config["vision_config"];
    for (key, field) in [
        ("image_size", "image_size"),
        ("patch_size", "patch_size"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
    ] {
        mmproj.u32(&format!("clip.vision.{key}"), vision_config[field].as_u64().unwrap() as u32);
    }
    // This one keeps the last layer, and says which to read.
    mmproj.u32("clip.vision.block_count", 3);
    mmproj.list("clip.vision.feature_layer", 5, &[2i32.to_le_bytes().to_vec()]);
    mmproj.f32("clip.vision.attention.layer_norm_epsilon", 1e-5);

    for needed in plan(&parsed) {
        let elements = needed.shape.iter().product();
        let mut values = checkpoint.values(&needed.name, 0, elements).unwrap();
        let name = needed.name.as_str();
        if let Some(rest) = name.strip_prefix("language_model.") {
            if name.contains(".q_proj.") {
                values = interleave(&values, 4, needed.shape[1]);
            } else if name.contains(".k_proj.") {
                values = interleave(&values, 2, needed.shape[1]);
            }
            model.tensor(&renamed(rest), &needed.shape, &values, decoder);
        } else {
            // Position and class embedding are vectors to us.
            let kind = if name.contains("position") { Type::F32 } else { vision };
            mmproj.tensor(&renamed(name), &needed.shape, &values, kind);
        }
    }
    (model, mmproj)
}

/// llama.cpp's name of a tensor.
fn renamed(name: &str) -> String {
    let vision = [
        ("vision_tower.vision_model.", "v."),
        ("multi_modal_projector.linear_1", "mm.0"),
        ("multi_modal_projector.linear_2", "mm.2"),
        ("embeddings.", ""),
        ("encoder.layers", "blk"),
        ("class_embedding", "class_embd"),
        ("patch_embedding", "patch_embd"),
        ("position_embedding", "position_embd"),
        ("pre_layrnorm", "pre_ln"),
        ("layer_norm", "ln"),
        ("mlp.fc1", "ffn_up"),
        ("mlp.fc2", "ffn_down"),
        ("self_attn.out_proj", "attn_out"),
    ];
    let text = [
        ("model.embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("model.norm", "output_norm"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let both = ["q", "k", "v"].map(|part| (format!("self_attn.{part}_proj"), format!("attn_{part}")));
    let parts = if name.starts_with("v") || name.starts_with("multi") { &vision[..] } else { &text[..] };
    let name = parts.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
    both.iter().fold(name, |name, (from, to)| name.replace(from, to))
}

struct Written {
    temp: tempfile::TempDir,
}

impl Written {
    fn new(model: &Writer, mmproj: &Writer) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("model.gguf"), model.bytes()).unwrap();
        fs::write(temp.path().join("mmproj.gguf"), mmproj.bytes()).unwrap();
        Self { temp }
    }

    fn out(&self) -> PathBuf {
        self.temp.path().join("bundle")
    }

    fn convert(&self, format: Option<Format>) -> llava_web::Result<Manifest> {
        let path = |name: &str| self.temp.path().join(name);
        let options = Options { force: true, ..Options::new(format) };
        let mmproj = path("mmproj.gguf");
        gguf::convert(&path("model.gguf"), Some(&mmproj), &self.out(), &options).map(|summary| summary.manifest)
    }

    fn error(&self) -> String {
        self.convert(None).unwrap_err().to_string()
    }
}

#[test]
fn a_pair_gives_the_bytes_of_the_hugging_face_folder() {
    let (gqa, wide) = (golden("checkpoints/gqa"), wide());
    for (checkpoint, decoder, vision, format) in [
        (gqa.as_path(), Type::F32, Type::F32, Format::F32),
        (&gqa, Type::F16, Type::F16, Format::F16),
        (&gqa, Type::Q8_0, Type::Q8_0, Format::Q8),
        (&gqa, Type::Q4_1, Type::Q8_0, Format::Q4),
        (wide.path(), Type::Q4K, Type::Q8_0, Format::Q4K),
        (wide.path(), Type::Q5K, Type::Q8_0, Format::Q5K),
        (wide.path(), Type::Q6K, Type::Q8_0, Format::Q6K),
    ] {
        let (model, mmproj) = pair_of(checkpoint, decoder, vision);
        let written = Written::new(&model, &mmproj);
        let folder = tempfile::tempdir().unwrap();
        let original = hf::convert(checkpoint, folder.path(), &Options::new(format)).unwrap().manifest;
        // Left alone, and asked for what it is.
        for asked in [None, Some(format)] {
            let manifest = written.convert(asked).unwrap();
            assert_eq!(manifest.tensors, original.tensors, "{decoder:?}");
            assert_eq!(manifest.chunks, original.chunks, "{decoder:?}");
            assert_eq!(manifest.quantization, format.name());
        }
    }
}

#[test]
fn a_pair_without_an_image_token_gets_one() {
    let (model, mmproj) = pair(Type::Q4_0, Type::Q8_0);
    let written = Written::new(&model, &mmproj);
    let manifest = written.convert(None).unwrap();
    let config = LlavaConfig::from_json(&manifest.config, &manifest.generation).unwrap();
    let vision = config.vision.as_ref().unwrap();
    assert_eq!((config.text.vocab_size, vision.image_token_id), (414, 414));
    assert_eq!((vision.layers_needed(), vision.tower.states(), &config.eos_token_ids[..]), (2, 4, &[2][..]));

    // Q4_0 is carried over exactly, and rows are where they belong.
    let source = FolderSource::open(written.out()).unwrap();
    let checkpoint = hf::HfCheckpoint::open(&golden("checkpoints/gqa"), false).unwrap();
    let mut reader = TensorReader::new(&source);
    for needed in plan(&config).iter().filter(|needed| needed.name.starts_with("language") && needed.shape.len() == 2) {
        let values = checkpoint.values(&needed.name, 0, needed.shape.iter().product()).unwrap();
        let expected: Vec<f32> = values.chunks(BLOCK).flat_map(|block| q4_0(block).1).collect();
        let tensor = block_on(reader.tensor(&needed.name)).unwrap();
        assert_eq!((tensor.format, tensor.decode().unwrap()), (Format::Q4, expected), "{}", needed.name);
    }

    let tokenizer_json = source.tokenizer().unwrap();
    let mut tokenizer = Tokenizer::from_bytes(&tokenizer_json).unwrap();
    let prompt = Prompt::new(&LLAVA_1_5, Some("<image>a"), None, true, true).unwrap();
    let ids = tokenizer.encode(&prompt, 414, 16).unwrap();
    assert_eq!(ids.image, Some(1..17));
    let load = async {
        let gpu = device::open().await?;
        let mut engine = Engine::load(gpu, &source, &tokenizer_json, LoadOptions::default()).await?;
        let input = Input { max_tokens: Some(4), ..Input::default() };
        let picture = Picture { width: 2, height: 2, rgb: vec![9; 12] }.into();
        engine.generate(Some(&picture), &input, &mut |_, _| true).await
    };
    assert!(!block_on(load).unwrap().token_ids.is_empty());
}

#[test]
fn joined_matrices_get_the_widest_format_among_them() {
    let folder = wide();
    // What is quantized once more takes 8 bits, or as many as it had.
    for (all, one, format, joined) in [
        (Type::Q4_1, Type::Q8_0, Format::Q4, Format::Q8),
        (Type::Q4K, Type::Q6K, Format::Q4K, Format::Q8),
        (Type::Q5K, Type::Q6K, Format::Q5K, Format::Q8),
        (Type::Q6K, Type::F16, Format::Q6K, Format::F16),
    ] {
        let (mut model, mmproj) = pair_of(folder.path(), all, Type::Q8_0);
        let (wide, _) = pair_of(folder.path(), one, Type::Q8_0);
        for (narrow, wide) in model.tensors.iter_mut().zip(&wide.tensors) {
            if narrow.0 == "blk.1.attn_v.weight" {
                *narrow = wide.clone();
            }
        }
        let manifest = Written::new(&model, &mmproj).convert(None).unwrap();
        let dtype = |name: &str| manifest.tensors.iter().find(|tensor| tensor.name.ends_with(name)).unwrap().dtype;
        let attention = ["q", "k", "v"].map(|part| dtype(&format!("model.layers.1.self_attn.{part}_proj.weight")));
        assert_eq!(attention, [joined; 3]);
        assert_eq!(dtype("model.layers.0.self_attn.v_proj.weight"), format);
        assert_eq!(dtype("model.layers.1.self_attn.o_proj.weight"), format);
        assert_eq!(manifest.quantization, format.name());
    }
}

#[test]
fn what_cannot_be_converted_is_named() {
    let (model, mmproj) = pair(Type::F16, Type::F16);
    let failing = |edit: &dyn Fn(&mut Writer, &mut Writer), signs: &[&str]| {
        let (mut model, mut mmproj) = (model.clone(), mmproj.clone());
        edit(&mut model, &mut mmproj);
        let written = Written::new(&model, &mmproj);
        let error = written.error();
        assert!(signs.iter().all(|sign| error.contains(sign)), "{signs:?}: {error}");
        assert!(!written.out().join("manifest.json").exists());
    };
    failing(&|model, _| model.str("general.architecture", "qwen2"), &["general.architecture", "says `qwen2`", "llama"]);
    failing(&|model, mmproj| std::mem::swap(model, mmproj), &["--mmproj"]);
    failing(&|model, mmproj| *mmproj = model.clone(), &["--mmproj"]);
    failing(&|_, mmproj| mmproj.str("clip.vision.projector_type", "ldp"), &["projector_type", "ldp"]);
    failing(&|_, mmproj| mmproj.str("clip.vision.mm_patch_merge_type", "spatial_unpad"), &["LLaVA-1.6"]);
    failing(&|model, _| model.u32("llama.expert_count", 8), &["llama.expert_count"]);
    failing(&|model, _| model.u32("split.count", 3), &["split.count", "--merge"]);
    failing(&|model, _| model.u32("llama.rope.dimension_count", 8), &["llama.rope.dimension_count"]);
    failing(&|model, _| model.str("llama.rope.scaling.type", "yarn"), &["llama.rope.scaling.type", "yarn"]);
    failing(&|model, _| model.u32("llama.block_count", 3), &["layers.2", "missing"]);
    failing(&|model, _| model.str("llama.block_count", "3"), &["model.gguf", "llama.block_count", "whole number"]);
    failing(
        &|model, _| model.metadata.retain(|(key, _)| key != "llama.context_length"),
        &["llama.context_length", "missing"],
    );
    failing(&|model, _| model.str("tokenizer.ggml.model", "bert"), &["tokenizer.ggml.model", "bert"]);
    failing(&|model, _| model.metadata.retain(|(key, _)| key != "tokenizer.ggml.tokens"), &["tokenizer.ggml.tokens"]);
    failing(&|model, _| model.list("tokenizer.ggml.scores", 6, &[vec![0; 4]]), &["tokenizer.ggml.scores", "259"]);
    failing(&|model, _| model.u32("tokenizer.ggml.bos_token_id", 5000), &["bos_token_id", "5000"]);
    failing(
        &|model, _| {
            model.str("tokenizer.ggml.model", "gpt2");
            model.list("tokenizer.ggml.merges", 8, &[]);
            model.str("tokenizer.ggml.pre", "tekken");
        },
        &["tokenizer.ggml.pre", "tekken", "smollm"],
    );
    failing(&|model, _| model.u32("tokenizer.ggml.eos_token_id", 999_999), &["eos_token_id", "999999", "414"]);
    failing(&|_, mmproj| mmproj.list("clip.vision.image_mean", 6, &[vec![0; 4]]), &["image_mean"]);
    failing(&|model, _| model.str("general.type", "adapter"), &["adapter", "llama-export-lora"]);
    failing(&|_, mmproj| mmproj.str("adapter.type", "lora"), &["adapter (lora)"]);
    failing(
        &|model, _| {
            model.str("tokenizer.ggml.model", "gpt2");
            model.list("tokenizer.ggml.merges", 8, &[]);
        },
        &["tokenizer.ggml.pre", "nothing is not one of"],
    );
    failing(&|model, _| model.tensors[2].2 = 10, &["ggml type 10", "Q4_K_M"]);
    failing(&|model, _| model.tensors[2].1 = vec![32, 128], &["shape [32, 128]"]);
    failing(&|model, _| drop(model.tensors.remove(2)), &["missing"]);
    // The template of a chat is left out, and that is said.
    let mut chatty = model.clone();
    chatty.str("tokenizer.chat_template", "{{ x }}");
    let summary = {
        let written = Written::new(&chatty, &mmproj);
        let mmproj = written.temp.path().join("mmproj.gguf");
        gguf::convert(&written.temp.path().join("model.gguf"), Some(&mmproj), &written.out(), &Options::new(None))
            .unwrap()
    };
    assert!(summary.notes.iter().any(|note| note.contains("tokenizer.chat_template")), "{summary}");
    // A divisor table of LLaMA-3's scaling is understood, another is not.
    let with_freqs = |divisors: [f32; 8]| {
        let mut model = model.clone();
        model.tensor("rope_freqs.weight", &[8], &divisors, Type::F32);
        Written::new(&model, &mmproj).convert(None)
    };
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192});
    let inv_freq = |scaling: Value| {
        let text = json!({"hidden_size": 64, "num_attention_heads": 4, "rope_scaling": scaling});
        let config = json!({"model_type": "llava", "text_config": text});
        LlavaConfig::from_json(&config, &Value::Null).unwrap().text.inv_freq()
    };
    let (plain, scaled) = (inv_freq(Value::Null), inv_freq(scaling.clone()));
    let divisors: [f32; 8] = std::array::from_fn(|index| plain[index] / scaled[index]);
    assert_eq!((divisors[0], divisors[7]), (1.0, 8.0));
    assert_eq!(with_freqs(divisors).unwrap().config["text_config"]["rope_scaling"], scaling);
    assert!(with_freqs([2.0; 8]).unwrap_err().to_string().contains("rope_freqs.weight"));
}

// ---- hostile files ----

#[test]
fn every_cut_is_noticed() {
    let bytes = file("gqa-f16.gguf");
    let parsed = gguf::parse(&bytes).unwrap();
    let end = parsed.tensors.values().map(|tensor| tensor.bytes.as_ptr_range().end as usize).max().unwrap();
    let end = end - bytes.as_ptr() as usize;
    for len in (0..12_000).chain((12_000..end).step_by(997)).chain([end - 1]) {
        assert!(gguf::parse(&bytes[..len]).is_err(), "{len}");
    }
    assert!(gguf::parse(&bytes[..end]).is_ok());
}

#[test]
fn damaged_bytes_never_panic() {
    let original = file("smollm.gguf");
    let (mut bytes, mut state, mut errors) = (original.clone(), 7u64, 0);
    for _ in 0..4000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Most in the header, where the numbers are.
        let at = (state >> 33) as usize % if state.is_multiple_of(3) { original.len() } else { 2000 };
        bytes[at] = (state >> 25) as u8;
        match gguf::parse(&bytes) {
            Ok(parsed) => {
                let _ = gguf::rebuild_tokenizer(&parsed, 330, true);
            }
            Err(Error::Io { .. }) => errors += 1,
            Err(other) => panic!("{other:?}"),
        }
        bytes[at] = original[at];
    }
    assert!(errors > 100, "{errors}");
}

#[test]
fn numbers_in_the_file_are_not_believed() {
    let mut good = Writer::default();
    good.str("a", "b");
    good.tensor("t", &[2, 32], &[1.0; 64], Type::F32);
    good.tensor("u", &[2, 32], &[1.0; 64], Type::Q8_0);
    let bytes = good.bytes();
    let parsed = gguf::parse(&bytes).unwrap();
    assert_eq!((parsed.str("a").unwrap(), parsed.tensors["u"].bytes.len()), (Some("b"), 68));
    let failing = |bytes: &[u8], sign: &str| {
        let error = gguf::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(sign), "{sign}: {error}");
    };
    let put = |at: usize, value: &[u8], sign: &str| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        failing(&bytes, sign);
    };
    put(0, b"GGML", "no GGUF");
    put(4, &1u32.to_le_bytes(), "version 1");
    put(4, &9u32.to_le_bytes(), "version 9");
    put(4, &3u32.to_be_bytes(), "big-endian");
    let huge = u64::MAX.to_le_bytes();
    put(8, &huge, "ends before");
    put(16, &huge, "ends before");
    put(24, &huge, "ends before");
    put(24, &(u64::MAX / 2).to_le_bytes(), "ends before");
    // `a` = 8 + 1, type 4, length 8, text 1; then the tensor: name 8 + 1, dimensions 4, two sides, type 4, offset 8.
    let tensor = 24 + 9 + 4 + 9;
    put(33, &99u32.to_le_bytes(), "type 99");
    put(37, &huge, "ends before");
    put(tensor + 9, &0u32.to_le_bytes(), "dimensions");
    put(tensor + 9, &5u32.to_le_bytes(), "dimensions");
    put(tensor + 13, &huge, "cannot be stored");
    put(tensor + 13, &(1u64 << 62).to_le_bytes(), "cannot be stored");
    put(tensor + 13, &0u64.to_le_bytes(), "cannot be stored");
    put(tensor + 13, &4096u64.to_le_bytes(), "reach beyond");
    put(tensor + 33, &7u64.to_le_bytes(), "alignment");
    put(tensor + 33, &(u64::MAX - 31).to_le_bytes(), "reach beyond");
    put(tensor + 33, &32u64.to_le_bytes(), "overlaps");

    let with = |key: &str, kind: u32, value: &[u8], sign: &str| {
        let mut writer = good.clone();
        writer.put(key, kind, value);
        failing(&writer.bytes(), sign);
    };
    with("general.alignment", 4, &3u32.to_le_bytes(), "power of two");
    with("general.alignment", 4, &0u32.to_le_bytes(), "power of two");
    with("general.alignment", 8, &text("x"), "whole number");
    let list = |kind: u32, len: u64| [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
    with("x", 9, &list(4, u64::MAX), "overflows");
    with("x", 9, &list(4, u64::MAX / 8), "ends before");
    with("x", 9, &list(8, u64::MAX), "ends before");
    with("x", 9, &list(9, 1), "type 9");
    let mut twice = good.clone();
    twice.tensors.push(twice.tensors[0].clone());
    failing(&twice.bytes(), "twice");
    let mut twice = good.clone();
    twice.metadata.push(twice.metadata[0].clone());
    failing(&twice.bytes(), "twice");
}

// ---- what the fuzzer starts from ----

#[test]
fn the_seeds_of_the_fuzzer_are_in_order() {
    let seeds = |target: &str| {
        let entries = fs::read_dir(format!("fuzz/corpus/{target}")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let folder = tempfile::tempdir().unwrap();
    let convert = |model: &Path, mmproj: Option<&Path>| {
        let options = Options { force: true, ..Options::new(None) };
        if let Err(error) = gguf::convert(model, mmproj, &folder.path().join("bundle"), &options) {
            panic!("{} {mmproj:?}: {error}", model.display());
        }
    };
    for seed in seeds("gguf") {
        convert(&seed, None);
    }
    for seed in seeds("mmproj") {
        convert(Path::new("fuzz/corpus/gguf/type-8"), Some(&seed));
    }
    for seed in seeds("manifest") {
        let manifest = Manifest::from_json(fs::read(&seed).unwrap()).unwrap();
        LlavaConfig::from_json(&manifest.config, &manifest.generation).unwrap();
    }
}
