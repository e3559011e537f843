//! Tiny checkpoints from the Hugging Face folder to the last token, stage by stage, against transformers
//! (tests/golden/checkpoints.py). Every quantization is compared with transformers on the same dequantized weights.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use burn::tensor::{Tensor, TensorData};
use futures_lite::future::block_on;
use llava_web::{
    bundle::FolderSource,
    bundle::source::ChunkSource,
    convert::{Options, gguf, hf, synthetic::Synthetic},
    device::{self, Buffer},
    engine::{Engine, Input, LoadOptions},
    image::{MAX_PIXELS, Picture, PreprocessorConfig, patches},
    kernels::{self, KvFormat, Variants},
    model::Llava,
    model::config::LlavaConfig,
    quant::Format,
    text::prompt::Prompt,
    text::template::Template,
    text::tokenizer::Tokenizer,
};
use safetensors::SafeTensors;
use serde::Deserialize;

/// Where the top two logits are closer than this, either may win.
const MARGIN: f32 = 6e-3;
/// The most by which a value of any stage may be off; far below the margin, and ten times what lavapipe shows.
const TOLERANCE: f32 = 2e-4;
/// The choice of variants holds for the whole process.
static ALONE: Mutex<()> = Mutex::new(());
/// Pixel values are the same arithmetic, so only the last bit may differ.
const PIXEL_TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    picture: String,
    prompt: String,
    quantizations: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    prompt_ids: Vec<u32>,
    /// Greedy tokens, up to 32 or the end of sequence.
    tokens: Vec<u32>,
    /// How far the chosen logit was above the next, by token.
    margins: Vec<f32>,
}

fn folder() -> PathBuf {
    PathBuf::from("tests/golden")
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "number of values");
    // A NaN must not pass as no difference.
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |most, d| if d <= most { most } else { d })
}

/// Runs the bundle of one checkpoint at one quantization on `opened`, printing the differences by stage.
async fn compare(
    name: &str,
    quantization: &str,
    bundle: &Path,
    golden: &Golden,
    stages: &SafeTensors<'_>,
    opened: device::Opened,
) {
    let name = &format!("{name} on {}", opened.adapter.backend);
    let expected = &golden.quantizations[quantization];
    let stage = |stage: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(stages.tensor(stage).unwrap().data()) };
    let source = FolderSource::open(bundle).unwrap();
    let config = LlavaConfig::from_json(&source.manifest().config, &source.manifest().generation).unwrap();
    let picture = fs::read(folder().join("pictures").join(&golden.picture)).unwrap();
    let picture = Picture::decode(&picture, MAX_PIXELS).unwrap();

    let vision = config.vision.as_ref().unwrap();
    let preprocessor = PreprocessorConfig::from_json(&source.manifest().preprocessor, vision).unwrap();
    let pixels = largest_difference(&preprocessor.preprocess(&picture, None).values, &stage("pixel_values"));
    assert!(pixels <= PIXEL_TOLERANCE, "{name}: pixel values differ by {pixels}");

    let model_type = source.manifest().config["model_type"].as_str().unwrap();
    let template = Template::of(model_type, config.decoder).unwrap();
    let prompt = Prompt::new(template, Some(&golden.prompt), None, false, true).unwrap();
    let mut tokenizer = Tokenizer::with_special(&source.tokenizer().unwrap(), template.special).unwrap();
    let prompt = tokenizer.encode(&prompt, vision.image_token_id, vision.image_tokens()).unwrap();
    assert_eq!(prompt.ids, expected.prompt_ids, "{name}: prompt");

    let device = &opened.device;
    kernels::select(device, &Variants::new());
    let model = Llava::load(&source, &config, expected.prompt_ids.len(), KvFormat::F32, device).await.unwrap();
    let cut = patches(&picture, &preprocessor, None, vision.tower.window()).unwrap();
    let cut = Tensor::from_data(TensorData::new(cut.values, [cut.rows, cut.cols]), device);
    let sees = model.vision.as_ref().unwrap();
    let hidden = sees.vision_tower.forward(cut, &mut async || Ok::<_, Infallible>(())).await.unwrap();
    let features = sees.multi_modal_projector.forward(hidden.clone());
    let span = prompt.image.unwrap();
    let embed = |ids: &[u32]| {
        let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        model.language_model.embed(Tensor::from_data(TensorData::new(ids.clone(), [ids.len()]), device))
    };
    let spliced = vec![embed(&prompt.ids[..span.start]), features.clone(), embed(&prompt.ids[span.end..])];
    let state = Buffer::zeros(4, device);
    let last = model.language_model.forward(Tensor::cat(spliced, 0), &state);
    let [positions, width] = last.dims();
    let logits = model.language_model.logits(last.slice([positions - 1..positions, 0..width]));
    let mut report = String::new();
    for (name, tensor) in [("vision_hidden_state", hidden), ("image_features", features), ("logits", logits)] {
        let found = device::read_floats(tensor).await.unwrap();
        let difference = largest_difference(&found, &stage(&format!("{quantization}.{name}")));
        report.push_str(&format!(" {name} {difference:.1e}"));
        assert!(difference <= TOLERANCE, "{name} {quantization}:{report}");
    }
    println!("{name} {quantization}:{report}");

    let tokenizer_json = source.tokenizer().unwrap();
    let input = Input { prompt: Some(golden.prompt.clone()), max_tokens: Some(32), ..Input::default() };
    let picture = picture.into();
    for variants in token_variants(&opened, Format::from_name(quantization).unwrap()) {
        let asked = variants.clone();
        let exact = LoadOptions { kv_cache: Some(KvFormat::F32), variants, ..LoadOptions::default() };
        let mut engine = Engine::load(opened.clone(), &source, &tokenizer_json, exact).await.unwrap();
        let chosen = &engine.info()["variants"];
        for (operation, variant) in &asked {
            assert_eq!(&chosen[operation]["variant"], variant, "{name} {quantization}: {chosen}");
        }
        // Twice: the second request meets used caches and a remembered picture.
        for _ in 0..2 {
            let output = engine.generate(Some(&picture), &input, &mut |_, _| true).await.unwrap();
            let certain = expected.margins.iter().take_while(|margin| **margin > MARGIN).count();
            let found = &output.token_ids[..certain.min(output.token_ids.len())];
            assert_eq!(found, &expected.tokens[..certain], "{name} {quantization}: tokens by {asked:?}");
            assert_eq!(output.prompt_tokens, expected.prompt_ids.len());
        }
    }
}

/// Kernels that compute tokens: those that suit the device, and of a software adapter's those that would suit a GPU.
fn token_variants(opened: &device::Opened, format: Format) -> Vec<BTreeMap<String, String>> {
    let suited = BTreeMap::new();
    if opened.adapter.backend == "cpu" || !opened.adapter.software {
        return vec![suited];
    }
    let vec = if format.chunk().is_some() { "lanes64-halves" } else { "lanes64" };
    let of_gpus = [("linear_vec", vec), ("linear_norm", "folded"), ("attention_decode", "gpu")];
    vec![suited, of_gpus.map(|(operation, variant)| (operation.into(), variant.into())).into()]
}

/// Compares one checkpoint at `formats`, as bundles that `convert` makes, on each kind of device.
fn checkpoint(name: &str, formats: &[Format], convert: impl Fn(Format, &Path)) {
    let golden = fs::read(folder().join(format!("checkpoints/{name}.json"))).unwrap();
    let golden: Golden = serde_json::from_slice(&golden).unwrap();
    let stages = fs::read(folder().join(format!("checkpoints/{name}.safetensors"))).unwrap();
    let stages = SafeTensors::deserialize(&stages).unwrap();
    for format in formats {
        let out = tempfile::tempdir().unwrap();
        convert(*format, out.path());
        for opened in [block_on(device::open()).unwrap(), block_on(device::open_cpu()).unwrap()] {
            let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            block_on(compare(name, format.name(), out.path(), &golden, &stages, opened));
        }
    }
}

/// The Hugging Face folder at every quantization.
fn folder_checkpoint(name: &str) {
    checkpoint(name, &[Format::F32, Format::F16, Format::Q8, Format::Q4], |format, out| {
        hf::convert(&folder().join("checkpoints").join(name), out, &Options::new(format)).unwrap();
    });
}

/// A made-up model of the config.json in that folder, at every quantization.
fn made_up_checkpoint(name: &str) {
    let config = folder().join("checkpoints").join(name).join("config.json");
    let model = tempfile::tempdir().unwrap();
    Synthetic::new(&config.to_string_lossy(), 0).unwrap().folder(model.path(), |_| ()).unwrap();
    checkpoint(name, &[Format::F32, Format::F16, Format::Q8, Format::Q4], |format, out| {
        hf::convert(model.path(), out, &Options::new(format)).unwrap();
    });
}

/// Grouped-query attention, untied head, shards, keys as `save_pretrained` writes them.
#[test]
fn gqa() {
    folder_checkpoint("gqa");
}

/// Multi-query attention with a head_dim of its own, tied head, bf16, CLS token kept, new keys.
#[test]
fn tied() {
    folder_checkpoint("tied");
}

/// Biases, llama3 rope, two feature layers, widths that no block divides, pictures that no patch divides, f16, old keys.
#[test]
fn biased() {
    folder_checkpoint("biased");
}

/// A convolutional tower, padded as in TensorFlow, on pictures of an odd size; batch norms that the converter folds.
#[test]
fn lite0() {
    made_up_checkpoint("lite0");
}

/// Depthwise convolutions with several kernels a channel, attention, squeeze and excitation, layer scales; Qwen2 and its chat
/// format.
#[test]
fn mci3() {
    made_up_checkpoint("mci3");
}

/// The first of them as llama.cpp's two GGUF files, made by its own writer: the tokenizer, the settings and the pixels come
/// from there too. (tests/gguf.rs shows that other block types give the very bundles compared above.)
#[test]
fn gguf_pair() {
    let file = |name: &str| folder().join("gguf").join(name);
    checkpoint("gqa", &[Format::F16], |_, out| {
        let mmproj = file("gqa-mmproj-f16.gguf");
        gguf::convert(&file("gqa-f16.gguf"), Some(&mmproj), out, &Options::new(None)).unwrap();
    });
}
