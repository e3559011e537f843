//! End to end through the code that answers requests, on random weights: loading, encoding a picture, prefill, decoding
//! at several contexts, launches and host time per token.

use burn::tensor::{Device, Int, Tensor, TensorData};
use llava_web::Result;
use llava_web::bundle::Manifest;
use llava_web::device::{self, Buffer, Recorded};
use llava_web::engine::{Engine, Input, LoadOptions};
use llava_web::image::Picture;
use llava_web::kernels::{self, KvFormat};
use llava_web::model::config::{LlavaConfig, VisionConfig};
use llava_web::model::{LanguageModel, Loader, MultiModalProjector, Vision, VisionTower};
use llava_web::quant::Format;
use llava_web::text::sampling::Sampling;
use serde_json::{Value, json};
use web_time::Instant;

use crate::Bench;
use crate::clock::{self, median, since, wanted_rounds};
use crate::random::{Random, RandomSource};
use crate::step;

const CONTEXTS: [usize; 3] = [64, 256, 2048];
const TINY_CONTEXTS: [usize; 3] = [4, 8, 16];
const PROMPT: usize = 64;
/// Most steps between two read-backs.
const MOST_STEPS: usize = 64;
/// Batches of steps that are timed together.
const BATCHES: usize = 3;
/// Steps from a context on, at most: room behind the longest one.
const ROOM: usize = BATCHES * MOST_STEPS;
/// Launches enqueued in a row when the host is timed: natively CubeCL waits for the GPU when 512 are under way.
const HOST_LAUNCHES: usize = 400;

/// The models of the default one, and their manifests and tokenizers.
const DEFAULT_MODELS: [(&str, &str, &[u8]); 2] = [
    (
        "default model (photographs)",
        include_str!("../../models/llava-photos/manifest.json"),
        include_bytes!("../../models/llava-photos/tokenizer.json"),
    ),
    (
        "default model (drawings)",
        include_str!("../../models/llava-sketches/manifest.json"),
        include_bytes!("../../models/llava-sketches/tokenizer.json"),
    ),
];

/// A decoder's shape: hidden size, layers, heads, key/value heads, inner size, vocabulary.
pub type Shape = [usize; 6];

/// The decoders measured by themselves, all at q4.
const DECODERS: [(&str, Shape, bool); 5] = [
    ("T", [256, 6, 4, 4, 704, 2048], false),
    ("S (SmolLM2-135M)", [576, 30, 9, 3, 1536, 49152], true),
    ("32 tiny layers", [128, 32, 2, 2, 128, 512], false),
    ("7B, 1 layer", [4096, 1, 32, 32, 11008, 2048], false),
    ("7B, 2 layers", [4096, 2, 32, 32, 11008, 2048], false),
];

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (name, manifest, tokenizer) in DEFAULT_MODELS {
        if bench.wants(name) {
            default_model(bench, name, manifest, tokenizer).await?;
        }
    }
    if bench.wants("V") {
        let tower = small_tower(bench.size(384, 32), bench.size(6, 1));
        vision(bench, "V", &tower, Format::Q4).await?;
    }
    let mut layers = Vec::new();
    for (name, shape, tied) in DECODERS {
        if !bench.wants(name) {
            continue;
        }
        let shape = if bench.options.tiny { [64, shape[1].min(2), 4, 2, 96, 96] } else { shape };
        let config = decoder_config(shape, tied);
        let source = RandomSource::new(&config, "language_model", Format::Q4);
        let decoder = Decoder::load(bench, name, &config, &source).await?;
        decoder.measure_prefill(bench, PROMPT).await?;
        if name.starts_with("7B") {
            layers.push(decoder);
        } else {
            measure_decode(bench, &[&decoder]).await?;
            decoder.measure_host(bench).await?;
            step::run(bench, name, shape, contexts(bench)[1]).await?;
        }
        bench.opened.device.memory_cleanup();
    }
    if !layers.is_empty() {
        let decoders: Vec<&Decoder> = layers.iter().collect();
        let times = measure_decode(bench, &decoders).await?;
        for decoder in &layers {
            decoder.measure_host(bench).await?;
        }
        if let [one, two] = &times[..] {
            one_layer(bench, one, two, layers[1].step.launches() - layers[0].step.launches());
        }
    }
    drop(layers);
    bench.opened.device.memory_cleanup();
    if bench.options.seven_b {
        whole_7b(bench).await?;
    }
    Ok(())
}

pub fn emit(bench: &mut Bench<'_>, model: &str, metric: &str, value: f64, unit: &str) {
    bench.emit(json!({ "section": "model", "name": model, "metric": metric, "value": value, "unit": unit }));
}

/// What two layers take beyond one: a layer alone, without embedding, head and draw. From the fastest rounds, as a difference
/// of medians is mostly what else the machine was doing.
fn one_layer(bench: &mut Bench<'_>, one: &[f64], two: &[f64], launches: usize) {
    let contexts = contexts(bench);
    let name = "7B layer (2 layers - 1)";
    emit(bench, name, "dispatches", launches as f64, "");
    let times: Vec<f64> = one.iter().zip(two).map(|(one, two)| two - one).collect();
    for (context, ms) in contexts.iter().zip(&times) {
        emit(bench, name, &format!("decode@{context}"), *ms, "ms");
    }
    emit(bench, name, "speed at 2048 of 256", times[1] / times[2], "");
}

fn decoder_config([hidden, layers, heads, kv_heads, ffn, vocab]: Shape, tied: bool) -> LlavaConfig {
    config(json!({
        "model_type": "llava",
        "text_config": {
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "intermediate_size": ffn, "vocab_size": vocab,
            "tie_word_embeddings": tied, "max_position_embeddings": 4096,
        },
    }))
}

/// V at its own size: a 384-wide 6-layer tower of 65 positions, all layers of which are run.
fn small_tower(hidden: usize, layers: usize) -> LlavaConfig {
    config(json!({
        "model_type": "llava", "vision_feature_layer": -1,
        "vision_config": {
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": hidden.div_ceil(64),
            "intermediate_size": 4 * hidden, "image_size": 112, "patch_size": 14,
        },
    }))
}

/// llava-1.5-7b-hf's.
fn config_7b() -> LlavaConfig {
    config(json!({
        "model_type": "llava", "text_config": { "vocab_size": 32064, "max_position_embeddings": 4096 },
    }))
}

fn config(json: Value) -> LlavaConfig {
    LlavaConfig::from_json(&json, &Value::Null).expect("a supported configuration")
}

/// A decoder on the GPU with its step recorded, as the engine has it.
struct Decoder {
    name: String,
    vocab: usize,
    contexts: [usize; 3],
    device: Device,
    work: Work,
    step: Recorded<()>,
}

/// What a step reads and changes.
struct Work {
    llama: LanguageModel,
    state: Buffer,
    params: Buffer,
    seen: Buffer,
    tokens: Buffer,
}

impl Work {
    /// From the token drawn last to the next one.
    fn step(&self) {
        let hidden = self.llama.forward(self.llama.embed_drawn(&self.state), &self.state);
        kernels::sample(self.llama.logits(hidden), &self.params, &self.seen, &self.tokens, &self.state);
    }
}

impl Decoder {
    async fn load(bench: &mut Bench<'_>, name: &str, config: &LlavaConfig, source: &RandomSource) -> Result<Self> {
        let device = bench.opened.device.clone();
        let capacity = contexts(bench)[2] + ROOM;
        let start = Instant::now();
        let llama =
            LanguageModel::load(&mut Loader::new(source, &device), &config.text, capacity, KvFormat::F32).await?;
        device::sync(&device).await?;
        let load = since(start) - source.made_in_ms.get();
        emit(bench, name, "weights", source.bytes() as f64 / 1e6, "MB");
        emit(bench, name, "load", load, "ms");
        Self::record(bench, name, config.text.vocab_size, llama, capacity).await
    }

    async fn record(
        bench: &mut Bench<'_>,
        name: &str,
        vocab: usize,
        llama: LanguageModel,
        capacity: usize,
    ) -> Result<Self> {
        let device = bench.opened.device.clone();
        let words = |len| Buffer::zeros(len, &device);
        let (state, params, seen, tokens) = (words(4), words(Sampling::WORDS), words(vocab), words(2 * capacity));
        params.write(&Sampling::default().to_words(0));
        let start = Instant::now();
        let work = Work { llama, state, params, seen, tokens };
        let step = device::record(&device, || work.step()).await?;
        emit(bench, name, "record the step", since(start), "ms");
        if step.launches() > 0 {
            emit(bench, name, "dispatches per token", step.launches() as f64, "");
        }
        Ok(Self { name: name.into(), vocab, contexts: contexts(bench), device, work, step })
    }

    /// Milliseconds from token ids to the first drawn token, `positions` at once.
    async fn prefill(&self, positions: usize) -> Result<f64> {
        let ids: Vec<i32> = (0..positions).map(|i| (i * 37 % self.vocab) as i32).collect();
        let start = Instant::now();
        self.work.state.write(&[0; 4]);
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [positions]), &self.device);
        let hidden = self.work.llama.forward(self.work.llama.embed(ids), &self.work.state);
        let [rows, width] = hidden.dims();
        let logits = self.work.llama.logits(hidden.slice([rows - 1..rows, 0..width]));
        kernels::advance(&self.work.state, positions - 1);
        kernels::sample(logits, &self.work.params, &self.work.seen, &self.work.tokens, &self.work.state);
        self.work.tokens.read().await?;
        Ok(since(start))
    }

    async fn measure_prefill(&self, bench: &mut Bench<'_>, positions: usize) -> Result<()> {
        let first = self.prefill(positions).await?;
        emit(bench, &self.name, &format!("prefill {positions}, first"), first, "ms");
        let mut samples = Vec::new();
        while samples.len() < wanted_rounds(&samples) {
            samples.push(self.prefill(positions).await?);
        }
        emit(bench, &self.name, &format!("prefill {positions}"), median(&samples), "ms");
        Ok(())
    }

    /// Milliseconds a step from position `context` on, in batches of `steps` with a read-back after each. As in the engine
    /// one batch is queued behind the one that is waited for. All of it is timed, from the first launch to the last token:
    /// the end of a batch cannot be told from that of the next, which a driver may wait for as well.
    async fn decode(&self, context: usize, steps: usize) -> Result<f64> {
        self.work.state.write(&[context as u32, 0, 1, 0]);
        device::sync(&self.device).await?;
        let queue = || -> Result<_> {
            for _ in 0..steps {
                self.step.replay(|| self.work.step())?;
            }
            Ok(self.work.tokens.read())
        };
        let start = Instant::now();
        let mut behind = queue()?;
        for _ in 1..BATCHES {
            let queued = queue()?;
            std::mem::replace(&mut behind, queued).await?;
        }
        behind.await?;
        Ok(since(start) / (BATCHES * steps) as f64)
    }

    /// Host time of a replayed step: enqueuing alone, nothing waited for. Where nothing is enqueued there is none.
    async fn measure_host(&self, bench: &mut Bench<'_>) -> Result<()> {
        let Some(steps) = HOST_LAUNCHES.checked_div(self.step.launches()) else { return Ok(()) };
        let steps = steps.clamp(1, 4);
        let mut samples = Vec::new();
        for _ in 0..15 {
            self.work.state.write(&[self.contexts[0] as u32, 0, 1, 0]);
            device::sync(&self.device).await?;
            let start = Instant::now();
            for _ in 0..steps {
                self.step.replay(|| self.work.step())?;
            }
            samples.push(since(start) * 1e3 / steps as f64);
            device::sync(&self.device).await?;
        }
        emit(bench, &self.name, "host per token", median(&samples), "us");
        Ok(())
    }
}

fn contexts(bench: &Bench<'_>) -> [usize; 3] {
    if bench.options.tiny { TINY_CONTEXTS } else { CONTEXTS }
}

/// Milliseconds a token of each decoder at each of [`contexts`]: reports the median and returns the least. Rounds go through all
/// of them in turn, so that a slow spell of the machine does not hit one alone.
async fn measure_decode(bench: &mut Bench<'_>, decoders: &[&Decoder]) -> Result<Vec<Vec<f64>>> {
    let contexts = contexts(bench);
    let mut steps = Vec::new();
    for decoder in decoders {
        for context in contexts {
            let once = decoder.decode(context, 1).await?;
            steps.push((bench.round_ms() / once).ceil().clamp(1.0, MOST_STEPS as f64) as usize);
        }
    }
    let mut samples = vec![Vec::new(); steps.len()];
    while samples[0].len() < wanted_rounds(&samples[0]) {
        for (index, (samples, steps)) in samples.iter_mut().zip(&steps).enumerate() {
            let decoder = decoders[index / contexts.len()];
            samples.push(decoder.decode(contexts[index % contexts.len()], *steps).await?);
        }
    }
    let mut least = Vec::new();
    for (decoder, samples) in decoders.iter().zip(samples.chunks(contexts.len())) {
        for (context, samples) in contexts.iter().zip(samples) {
            emit(bench, &decoder.name, &format!("decode@{context}"), median(samples), "ms");
        }
        least.push(samples.iter().map(|samples| clock::least(samples)).collect());
    }
    Ok(least)
}

/// A vision tower by itself, from patches on the host to hidden states on the GPU.
async fn vision(bench: &mut Bench<'_>, name: &str, config: &LlavaConfig, format: Format) -> Result<()> {
    let device = bench.opened.device.clone();
    let source = RandomSource::new(config, "vision_tower", format);
    let start = Instant::now();
    let tower = VisionTower::load(&mut Loader::new(&source, &device), vision_config(config)).await?;
    device::sync(&device).await?;
    emit(bench, name, "weights", source.bytes() as f64 / 1e6, "MB");
    emit(bench, name, "load", since(start) - source.made_in_ms.get(), "ms");
    encode(bench, name, config, async |patches| tower.forward(patches, &mut async || Ok(())).await).await
}

/// The part that sees; every model with a picture in it has one.
fn vision_config(config: &LlavaConfig) -> &VisionConfig {
    config.vision.as_ref().expect("a LLaVA")
}

async fn encode(
    bench: &mut Bench<'_>,
    name: &str,
    config: &LlavaConfig,
    forward: impl AsyncFn(Tensor<2>) -> Result<Tensor<2>>,
) -> Result<()> {
    let device = bench.opened.device.clone();
    let tower = &vision_config(config).tower;
    let shape = tower.patches();
    let values = Random::new(5).floats(shape[0] * shape[1]);
    let mut first = None;
    let mut samples = Vec::new();
    while samples.len() < wanted_rounds(&samples) {
        let start = Instant::now();
        drop(forward(Tensor::from_data(TensorData::new(values.clone(), shape), &device)).await?);
        device::sync(&device).await?;
        match first {
            None => first = Some(since(start)),
            Some(_) => samples.push(since(start)),
        }
    }
    emit(bench, name, "image, first", first.unwrap_or_default(), "ms");
    emit(bench, name, "image", median(&samples), "ms");
    Ok(())
}

/// A model in the package, with other weights, through the engine: what a page sees of it.
async fn default_model(bench: &mut Bench<'_>, name: &'static str, manifest: &str, tokenizer: &[u8]) -> Result<()> {
    let source = RandomSource::of(Manifest::from_json(manifest)?);
    let start = Instant::now();
    let mut engine = Engine::load(bench.opened.clone(), &source, tokenizer, LoadOptions::default()).await?;
    emit(bench, name, "weights", source.bytes() as f64 / 1e6, "MB");
    emit(bench, name, "load, with warm-up", since(start) - source.made_in_ms.get(), "ms");
    let picture = |shade: u8| Picture { width: 96, height: 96, rgb: vec![shade; 96 * 96 * 3] }.into();
    let questions = ["What is in this picture?", "Which colour is it?", "How many shapes are there?"];
    let mut firsts = Vec::new();
    // After a first answer a new picture, and a second question about it, three times over.
    let asked = [(10, 0), (20, 1), (20, 2), (30, 0), (30, 1), (40, 2), (40, 0)];
    let mut rates = Vec::new();
    for (shade, question) in asked {
        let input =
            Input { prompt: Some(questions[question].into()), max_tokens: Some(bench.size(32, 3)), ..Input::default() };
        let start = Instant::now();
        let mut first = None;
        let output = engine
            .generate(Some(&picture(shade)), &input, &mut |_, tokens| {
                if tokens > 0 {
                    first.get_or_insert_with(|| since(start));
                }
                true
            })
            .await?;
        firsts.push(first.unwrap_or_default());
        if firsts.len() == 2 {
            emit(bench, name, "image", output.timings.image, "ms");
            emit(bench, name, "prefill", output.timings.prefill, "ms");
        }
        if output.completion_tokens > 1 {
            rates.push(output.timings.decode / (output.completion_tokens - 1) as f64);
        }
    }
    let every_other = |from: usize| median(&firsts[from..].iter().step_by(2).copied().collect::<Vec<_>>());
    let (fresh, again) = (every_other(1), every_other(2));
    emit(bench, name, "first token of all", firsts[0], "ms");
    emit(bench, name, "first token, new picture", fresh, "ms");
    emit(bench, name, "first token, same picture", again, "ms");
    emit(bench, name, "sooner on the same picture", fresh / again, "x");
    if !rates.is_empty() {
        emit(bench, name, "decode", median(&rates), "ms");
    }
    Ok(())
}

/// LLaVA-1.5-7B whole: the vision side at q8, the decoder at q4, as the converter stores it.
async fn whole_7b(bench: &mut Bench<'_>) -> Result<()> {
    let name = "LLaVA-1.5-7B";
    let config = config_7b();
    let device = bench.opened.device.clone();
    let tower = RandomSource::new(&config, "vision_tower", Format::Q8);
    let projector = RandomSource::new(&config, "multi_modal_projector", Format::Q8);
    let decoder = RandomSource::new(&config, "language_model", Format::Q4);
    let sources = [&tower, &projector, &decoder];
    let capacity = contexts(bench)[2] + ROOM;
    let start = Instant::now();
    let (seen, hidden) = (vision_config(&config), config.text.hidden_size);
    let vision = Vision {
        vision_tower: VisionTower::load(&mut Loader::new(&tower, &device), seen).await?,
        multi_modal_projector: MultiModalProjector::load(&mut Loader::new(&projector, &device), seen, hidden).await?,
    };
    let llama = LanguageModel::load(&mut Loader::new(&decoder, &device), &config.text, capacity, KvFormat::F32).await?;
    device::sync(&device).await?;
    let load = since(start) - sources.iter().map(|source| source.made_in_ms.get()).sum::<f64>();
    emit(bench, name, "weights", sources.iter().map(|source| source.bytes()).sum::<usize>() as f64 / 1e6, "MB");
    emit(bench, name, "load", load, "ms");
    encode(bench, name, &config, async |patches| vision.image_features(patches, &mut async || Ok(())).await).await?;
    let decoder = Decoder::record(bench, name, config.text.vocab_size, llama, capacity).await?;
    for positions in [PROMPT, config.image_tokens() + PROMPT] {
        decoder.measure_prefill(bench, positions).await?;
    }
    measure_decode(bench, &[&decoder]).await?;
    decoder.measure_host(bench).await
}
