//! A loaded model and one request at a time: picture and prompt in, text out, piece by piece.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use web_time::Instant;

use crate::config::LlavaConfig;
use crate::error::{Error, Result};
use crate::image::{self, AspectRatio, Picture, PreprocessorConfig};
use crate::kernels::{self, launch};
use crate::model::Llava;
use crate::prompt::{Message, Prompt};
use crate::sampler::Sampling;
use crate::tokenizer::{TextStream, Tokenizer};
use crate::weights::WeightSource;

/// Positions kept when the caller does not say: the checkpoint's own limit, but no more than this.
const DEFAULT_CONTEXT: usize = 2048;
/// Tokens are read back in groups sized to take about this long, so that streaming looks smooth.
const READ_BACK_MS: f64 = 60.0;
/// Most decode steps queued before a read-back.
const MAX_STEPS_PER_READ: usize = 16;

/// Options of [`Engine::load`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// Positions the key-value cache holds: picture, prompt and answer together.
    pub context_length: Option<usize>,
}

/// One request, in the hosted model's field names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Input {
    pub prompt: Option<String>,
    pub messages: Option<Vec<Message>>,
    /// Take the prompt as it stands, `<image>` included.
    pub raw: bool,
    /// Most tokens to generate; 512 where absent.
    pub max_tokens: Option<usize>,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How a picture that is not square is made so; the checkpoint's own way where absent.
    pub image_aspect_ratio: Option<AspectRatio>,
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its answer, or a stop string appeared.
    Stop,
    /// `max_tokens` or the context length was reached.
    Length,
    /// The caller's callback said so.
    Aborted,
}

/// Milliseconds spent, and the decode rate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timings {
    pub image: f64,
    pub prefill: f64,
    pub decode: f64,
    pub tokens_per_second: f64,
}

/// The answer to one request.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    pub description: String,
    /// Every generated token, the end-of-sequence token included.
    pub token_ids: Vec<u32>,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub finish_reason: FinishReason,
    pub timings: Timings,
}

/// A model on the GPU with its tokenizer, its caches and the recorded decode step.
pub struct Engine {
    model: Llava,
    config: LlavaConfig,
    tokenizer: Tokenizer,
    preprocessor: PreprocessorConfig,
    context_length: usize,
    name: String,
    quantization: String,
    gpu: launch::Gpu,
    buffers: DecodeBuffers,
    decode_step: launch::Recorded<()>,
    /// Embeddings of the last picture, by the hash of its pixel values.
    last_image: Option<([u8; 32], Tensor<2>)>,
}

/// What the decode step reads and writes on the GPU. The recorded step refers to these very buffers, so they are
/// written in place and never replaced.
struct DecodeBuffers {
    /// `[position, step, token, 0]`.
    state: Tensor<1, Int>,
    params: Tensor<1, Int>,
    /// Per token of the vocabulary: bit 0 = in the prompt, the rest = times generated.
    seen: Tensor<1, Int>,
    /// Generated tokens by step.
    tokens: Tensor<1, Int>,
}

impl DecodeBuffers {
    fn new(vocab: usize, capacity: usize, device: &Device) -> Self {
        let words = |len| launch::persistent_words(len, device);
        Self { state: words(4), params: words(Sampling::WORDS), seen: words(vocab), tokens: words(capacity) }
    }

    /// Draws from `logits` `[1, vocab]` and moves the state on.
    fn sample(&self, logits: Tensor<2>) {
        kernels::sample(logits, &self.params, &self.seen, &self.tokens, &self.state);
    }
}

impl Engine {
    /// Loads the bundle behind `source` with its `tokenizer_json` onto `gpu` and records the decode step.
    pub async fn load<S: WeightSource>(
        gpu: launch::Gpu,
        source: &S,
        tokenizer_json: &[u8],
        options: LoadOptions,
    ) -> Result<Self> {
        let manifest = source.manifest();
        let config = LlavaConfig::from_json(&manifest.config, &manifest.generation)?;
        let preprocessor = PreprocessorConfig::from_json(&manifest.preprocessor, &config)?;
        let tokenizer = Tokenizer::from_bytes(tokenizer_json)?;
        let limit = config.text.max_position_embeddings;
        let context_length = options.context_length.unwrap_or(limit.min(DEFAULT_CONTEXT));
        if !(config.image_tokens() + 1..=limit).contains(&context_length) {
            return Err(Error::input(
                "context_length",
                format!(
                    "{context_length} is outside {}..={limit}: a picture alone takes {} positions, and the model was \
                     trained for {limit}",
                    config.image_tokens() + 1,
                    config.image_tokens()
                ),
            ));
        }
        let device = &gpu.device;
        let model = Llava::load(source, &config, context_length, device).await?;
        let buffers = DecodeBuffers::new(config.text.vocab_size, context_length, device);
        // Greedy while recording: which shaders run does not depend on the values in the buffers.
        launch::write_words(&buffers.params, &Sampling::default().to_words(0));
        let decode_step = launch::record(device, || {
            let llama = &model.language_model;
            let hidden = llama.forward(llama.embed_drawn(&buffers.state), &buffers.state);
            buffers.sample(llama.logits(hidden));
        })
        .await?;
        Ok(Self {
            name: manifest.model.name.clone(),
            quantization: manifest.quantization.clone(),
            model,
            config,
            tokenizer,
            preprocessor,
            context_length,
            gpu,
            buffers,
            decode_step,
            last_image: None,
        })
    }

    /// Answers `input` about `picture`. After every read-back `on_piece(text, tokens so far)` is called with the new
    /// text, which may be empty; when it returns `false` generation stops.
    pub async fn generate(
        &mut self,
        picture: Option<&Picture>,
        input: &Input,
        on_piece: &mut dyn FnMut(&str, usize) -> bool,
    ) -> Result<Output> {
        input.sampling.validate()?;
        let max_tokens = input.max_tokens.unwrap_or(512);
        if max_tokens == 0 {
            return Err(Error::input("max_tokens", "must be at least 1"));
        }
        let prompt = Prompt::new(input.prompt.as_deref(), input.messages.as_deref(), input.raw, picture.is_some())?;
        let ids = self.tokenizer.encode(&prompt, self.config.image_token_id, self.config.image_tokens())?;
        let prompt_tokens = ids.ids.len();
        if prompt_tokens >= self.context_length {
            return Err(Error::input(
                "prompt",
                format!(
                    "picture and prompt take {prompt_tokens} positions, which leaves no room for an answer in a \
                     context of {}; shorten the prompt or load the model with a larger `context_length`",
                    self.context_length
                ),
            ));
        }
        let max_tokens = max_tokens.min(self.context_length - prompt_tokens);

        let mut timings = Timings::default();
        let started = Instant::now();
        let features = match picture {
            Some(picture) => Some(self.image_features(picture, input.image_aspect_ratio).await?),
            None => None,
        };
        timings.image = since(started);

        let prefill_started = Instant::now();
        self.prefill(&ids.ids, ids.image.clone(), features, &input.sampling);
        let mut text = TextStream::new(&self.tokenizer, &input.stop);
        let mut tokens: Vec<u32> = Vec::new();
        let mut queued = 1;
        let mut steps = 1;
        let mut decode_started = Instant::now();
        let finish_reason = loop {
            let read_started = Instant::now();
            let drawn = launch::read_words(&self.buffers.tokens).await?;
            if tokens.is_empty() {
                timings.prefill = since(prefill_started);
                decode_started = Instant::now();
            } else {
                let per_step = since(read_started) / steps as f64;
                steps = ((READ_BACK_MS / per_step.max(0.1)) as usize).clamp(1, MAX_STEPS_PER_READ);
            }
            let mut piece = String::new();
            let mut reason = None;
            for &token in &drawn[tokens.len()..queued] {
                tokens.push(token);
                if self.config.eos_token_ids.contains(&token) {
                    piece.push_str(&text.finish()?);
                    reason = Some(FinishReason::Stop);
                } else {
                    piece.push_str(&text.push(token)?);
                    if text.stopped() {
                        reason = Some(FinishReason::Stop);
                    } else if tokens.len() == max_tokens {
                        piece.push_str(&text.finish()?);
                        reason = Some(FinishReason::Length);
                    }
                }
                if reason.is_some() {
                    break;
                }
            }
            if !on_piece(&piece, tokens.len()) && reason.is_none() {
                reason = Some(FinishReason::Aborted);
            }
            if let Some(reason) = reason {
                break reason;
            }
            steps = steps.min(max_tokens - tokens.len());
            for _ in 0..steps {
                self.decode_step.replay()?;
            }
            queued += steps;
        };
        timings.decode = since(decode_started);
        if tokens.len() > 1 {
            timings.tokens_per_second = (tokens.len() - 1) as f64 * 1e3 / timings.decode.max(0.001);
        }
        Ok(Output {
            description: text.into_text().trim().to_string(),
            completion_tokens: tokens.len(),
            token_ids: tokens,
            prompt_tokens,
            finish_reason,
            timings,
        })
    }

    /// What runs where: adapter, context length, model and quantization, as a JSON object.
    pub fn info(&self) -> serde_json::Value {
        serde_json::json!({
            "model": self.name,
            "quantization": self.quantization,
            "context_length": self.context_length,
            "image_tokens": self.config.image_tokens(),
            "adapter": self.gpu.adapter.name,
            "backend": self.gpu.adapter.backend,
        })
    }

    /// Embeddings of `picture`, `[image tokens, hidden]`; the last picture's are kept.
    async fn image_features(&mut self, picture: &Picture, aspect_ratio: Option<AspectRatio>) -> Result<Tensor<2>> {
        let patches = image::patches(picture, &self.preprocessor, aspect_ratio, self.config.vision.patch_size)?;
        let hash: [u8; 32] = Sha256::digest(bytemuck::cast_slice(&patches.values)).into();
        if let Some((last, features)) = &self.last_image
            && *last == hash
        {
            return Ok(features.clone());
        }
        let data = TensorData::new(patches.values, [patches.rows, patches.cols]);
        let features = self.model.image_features(Tensor::from_data(data, &self.gpu.device));
        launch::sync(&self.gpu.device).await?;
        self.last_image = Some((hash, features.clone()));
        Ok(features)
    }

    /// Runs all prompt positions at once and draws the first token.
    fn prefill(
        &self,
        ids: &[u32],
        image: Option<std::ops::Range<usize>>,
        features: Option<Tensor<2>>,
        sampling: &Sampling,
    ) {
        let llama = &self.model.language_model;
        let embed = |ids: &[u32]| {
            let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
            let len = ids.len();
            llama.embed(Tensor::from_data(TensorData::new(ids, [len]), &self.gpu.device))
        };
        let x = match (image, features) {
            (Some(span), Some(features)) => {
                let mut parts = Vec::with_capacity(3);
                if span.start > 0 {
                    parts.push(embed(&ids[..span.start]));
                }
                parts.push(features);
                if span.end < ids.len() {
                    parts.push(embed(&ids[span.end..]));
                }
                Tensor::cat(parts, 0)
            }
            _ => embed(ids),
        };
        let mut seen = vec![0; self.config.text.vocab_size];
        for id in ids {
            if let Some(flag) = seen.get_mut(*id as usize) {
                *flag = 1;
            }
        }
        launch::write_words(&self.buffers.seen, &seen);
        launch::write_words(&self.buffers.params, &sampling.to_words(entropy()));
        launch::write_words(&self.buffers.state, &[0, 0, 0, 0]);
        let hidden = llama.forward(x, &self.buffers.state);
        let [positions, width] = hidden.dims();
        let logits = llama.logits(hidden.slice([positions - 1..positions, 0..width]));
        // `sample` moves the position on by one more, to the first free row of the caches.
        kernels::advance(&self.buffers.state, positions - 1);
        self.buffers.sample(logits);
    }
}

fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// A seed for requests that name none.
fn entropy() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => web_time::SystemTime::now()
            .duration_since(web_time::SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos() as u64),
    }
}
