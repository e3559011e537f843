//! A loaded model and one request at a time: picture and prompt in, text out, piece by piece.

mod cache_record;
mod pace;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use web_time::Instant;

use self::cache_record::{ImageHash, Prefix, Slot};
use self::pace::Pace;
use crate::bundle::Manifest;
use crate::bundle::source::ChunkSource;
use crate::device;
use crate::error::{Error, Result};
use crate::fields::{self, NoOther};
use crate::image::{self, AspectRatio, Patches, PreprocessorConfig, Source};
use crate::kernels::{self, KvFormat, ModelShapes, Precision, Variants, VisionShapes};
use crate::model::config::{LlavaConfig, VisionConfig};
use crate::model::parameters::Role;
use crate::model::{self, Llava};
use crate::parts::{self, Parts};
use crate::quant::Format;
use crate::text::prompt::{Message, Prompt};
use crate::text::sampling::Sampling;
use crate::text::tokenizer::{TextStream, Tokenizer};

/// Positions kept when the caller does not say: the checkpoint's own limit, but no more than this.
const DEFAULT_CONTEXT: usize = 2048;
/// Most positions that run through the decoder at once: it bounds the activations (90 MB of gate and up for a 7B model)
/// and the time of a single launch.
const MAX_PREFILL: usize = 1024;
/// Positions of the warm-up's prompt, half of them the picture's: enough for the kernels for many rows.
const WARM_UP: usize = 8;

/// Options of [`Engine::load`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// Positions the key-value cache holds: picture, prompt and answer together.
    pub context_length: Option<usize>,
    /// How the cache stores keys and values: f16 halves its memory, and what attention reads per token, at a small loss.
    pub kv_cache: KvFormat,
    /// Which kernel variants may run.
    pub precision: Precision,
    /// Variants chosen on this adapter before, by operation: they are not timed again.
    pub variants: BTreeMap<String, String>,
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
    #[serde(deserialize_with = "fields::count")]
    pub max_tokens: Option<usize>,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How a picture that is not square is made so; the checkpoint's own way where absent.
    pub image_aspect_ratio: Option<AspectRatio>,
    #[serde(flatten)]
    pub sampling: Sampling,
    #[serde(flatten)]
    pub no_other: NoOther,
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
    /// Of those, positions whose keys and values were still there from the requests before.
    pub cached_tokens: usize,
    pub completion_tokens: usize,
    pub finish_reason: FinishReason,
    pub timings: Timings,
}

/// A model on the GPU with its tokenizer, its caches and the recorded decode step.
pub struct Engine {
    model: Llava,
    config: LlavaConfig,
    tokenizer: Tokenizer,
    /// `None` in a model without a vision tower.
    preprocessor: Option<PreprocessorConfig>,
    context_length: usize,
    kv_cache: KvFormat,
    name: String,
    quantization: String,
    gpu: device::Gpu,
    precision: Precision,
    variants: Variants,
    buffers: DecodeBuffers,
    decode_step: device::Recorded<()>,
    last_image: Option<LastImage>,
    /// What the key-value caches hold.
    cached: Prefix,
}

/// The picture encoded last.
struct LastImage {
    file: Option<FileHash>,
    hash: ImageHash,
    /// `[image tokens, hidden]`
    features: Tensor<2>,
}

/// SHA-256 of an encoded picture and of how it is made square: tells a known file without decoding it.
type FileHash = [u8; 32];

/// A request's picture.
struct Image {
    file: Option<FileHash>,
    hash: ImageHash,
    content: Content,
}

enum Content {
    /// Embeddings of the picture encoded last.
    Known(Box<Tensor<2>>),
    New(Patches),
}

/// A tokenized prompt, ready to run.
struct Request {
    ids: Vec<u32>,
    /// Positions of the picture in `ids`.
    image: Option<Range<usize>>,
    slots: Vec<Slot>,
}

/// Why a run of layers ended before its last.
enum Halt {
    Aborted,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// Between layers: waits for the GPU every few of them, so that what is queued stays short, and then asks whether to go
/// on.
struct Layers<'a> {
    device: &'a Device,
    pace: Pace,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl<'a> Layers<'a> {
    fn new(device: &'a Device, go_on: &'a mut dyn FnMut() -> bool) -> Self {
        Self { device, pace: Pace::new(), go_on }
    }

    async fn after_layer(&mut self) -> std::result::Result<(), Halt> {
        if self.pace.queue(1) {
            device::sync(self.device).await?;
            self.pace.waited();
            if !(self.go_on)() {
                return Err(Halt::Aborted);
            }
        }
        Ok(())
    }
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
        let words = |len| device::persistent_words(len, device);
        Self { state: words(4), params: words(Sampling::WORDS), seen: words(vocab), tokens: words(capacity) }
    }

    /// Draws from `logits` `[1, vocab]` and moves the state on.
    fn sample(&self, logits: Tensor<2>) {
        kernels::sample(logits, &self.params, &self.seen, &self.tokens, &self.state);
    }
}

/// Positions of the caches: as asked for, or the model's own limit up to [`DEFAULT_CONTEXT`].
///
/// `max_binding` is the largest buffer of the GPU in bytes: a layer's keys are one, its values another. www/src/memory.ts
/// has the same rule, because a page asks before it downloads anything.
///
/// # Errors
/// [`Error::Input`] with the largest that fits, or if the heads' size does not fit the cache's format.
fn context_length_of(config: &LlavaConfig, options: &LoadOptions, max_binding: u64) -> Result<usize> {
    let text = &config.text;
    if !options.kv_cache.fits(text.head_dim) {
        let problem = format!("f16 needs heads whose size is a multiple of 8; this model's are {}", text.head_dim);
        return Err(Error::input("kv_cache", problem));
    }
    let trained = text.max_position_embeddings;
    // The table of rotations has a row for each position too.
    let row = 4 * options.kv_cache.width(text.key_value_size()).max(text.head_dim);
    let largest = trained.min(usize::try_from(max_binding / row as u64).unwrap_or(usize::MAX));
    // A text prompt takes one position at least.
    let prompt = config.image_tokens().max(1);
    let least = prompt + 1;
    let asked = options.context_length.unwrap_or(largest.min(DEFAULT_CONTEXT));
    if !(least..=largest).contains(&asked) {
        let what = if config.vision.is_some() { "a picture" } else { "a prompt" };
        let problem = format!(
            "{asked} is outside {least}..={largest}: {what} alone takes {prompt} position(s), the model was trained for \
             {trained}, and each takes {row} bytes of a buffer that may have {max_binding} on this GPU"
        );
        return Err(Error::input("context_length", problem));
    }
    Ok(asked)
}

/// Refuses a model whose widest intermediate result is more than a buffer of the GPU may have.
///
/// # Errors
/// [`Error::Gpu`] naming the fields that decide.
fn check_activations(config: &LlavaConfig, context_length: usize, max_binding: u64) -> Result<()> {
    let refuse = |what: &str, rows: usize, cols: usize| match 4 * rows as u64 * cols as u64 {
        bytes if bytes <= max_binding => Ok(()),
        bytes => Err(Error::Gpu(format!(
            "{what} takes {bytes} bytes, and a buffer of this GPU may have {max_binding}: use another GPU or a smaller model"
        ))),
    };
    if let Some(VisionConfig { tower, .. }) = &config.vision {
        let of = "`vision_config.image_size` and `patch_size`";
        refuse(&format!("a picture of {of}"), tower.patches(), tower.patch_values())?;
        let widest = tower.widest_activation();
        refuse(&format!("a layer of the vision tower on all patches of {of}"), tower.positions(), widest)?;
    }
    let widest = config.text.widest_activation();
    let what = "a layer's `text_config.intermediate_size` or heads, over a part of a prompt,";
    refuse(what, context_length.min(MAX_PREFILL), widest)
}

impl Engine {
    /// Names what the choice of kernel variants depends on beside the adapter: choices ([`LoadOptions::variants`]) may be kept
    /// for loads with the same key.
    ///
    /// # Errors
    /// As [`Engine::load`] for the manifest's config.json.
    pub fn variants_key(manifest: &Manifest, options: &LoadOptions) -> Result<String> {
        let config = LlavaConfig::from_json(&manifest.config, &manifest.generation)?;
        let shapes = model_shapes(manifest, &config, options);
        Ok(serde_json::to_string(&shapes).expect("plain numbers and names"))
    }

    /// Loads the bundle behind `source` with its `tokenizer_json` onto `gpu`, tells `source` when it has read all of it,
    /// records the decode step, and runs a dummy picture and prompt, so that every GPU program the first answer needs
    /// is compiled.
    pub async fn load<S: ChunkSource>(
        gpu: device::Gpu,
        source: &S,
        tokenizer_json: &[u8],
        options: LoadOptions,
    ) -> Result<Self> {
        let manifest = source.manifest();
        let Parts { config, preprocessor, tokenizer } =
            Parts::read(&manifest.config, &manifest.generation, &manifest.preprocessor, tokenizer_json)?;
        let context_length = context_length_of(&config, &options, gpu.adapter.max_binding)?;
        check_activations(&config, context_length, gpu.adapter.max_binding)?;
        let device = &gpu.device;
        let model = Llava::load(source, &config, context_length, options.kv_cache, device).await?;
        source.all_read();
        let shapes = model_shapes(manifest, &config, &options);
        let variants = kernels::tune(&gpu, &shapes, &model.language_model.tune_work(), &options.variants).await?;
        let buffers = DecodeBuffers::new(config.text.vocab_size, context_length, device);
        // Greedy while recording: which shaders run does not depend on the values in the buffers.
        device::write_words(&buffers.params, &Sampling::default().to_words(0));
        let decode_step = device::record(device, || {
            let llama = &model.language_model;
            let hidden = llama.forward(llama.embed_drawn(&buffers.state), &buffers.state);
            buffers.sample(llama.logits(hidden));
        });
        let decode_step = device::validated(&gpu, decode_step).await?;
        let engine = Self {
            name: manifest.model.name.clone(),
            quantization: manifest.quantization.clone(),
            model,
            config,
            tokenizer,
            preprocessor,
            context_length,
            kv_cache: options.kv_cache,
            gpu,
            precision: options.precision,
            variants,
            buffers,
            decode_step,
            last_image: None,
            cached: Prefix::default(),
        };
        device::validated(&engine.gpu, engine.warm_up()).await?;
        Ok(engine)
    }

    /// Answers `input` about `picture`. After every read-back `on_piece(text, tokens so far)` is called with the new
    /// text, which may be empty, and before the first token every few layers with no text; when it returns `false`
    /// generation stops.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::Image`] for what was given; [`Error::Gpu`] if the device was lost, or if the model
    /// computes something that is no number.
    pub async fn generate(
        &mut self,
        picture: Option<&Source>,
        input: &Input,
        on_piece: &mut dyn FnMut(&str, usize) -> bool,
    ) -> Result<Output> {
        input.sampling.validate()?;
        let max_tokens = input.max_tokens.unwrap_or(512);
        if max_tokens == 0 {
            return Err(Error::input("max_tokens", "must be at least 1"));
        }
        if picture.is_some() && self.config.vision.is_none() {
            return Err(sees_nothing());
        }
        let prompt = Prompt::new(input.prompt.as_deref(), input.messages.as_deref(), input.raw, picture.is_some())?;
        // Without a vision tower there is no picture in any prompt, and no id of one.
        let (image_token_id, image_tokens) =
            self.config.vision.as_ref().map_or((u32::MAX, 0), |vision| (vision.image_token_id, vision.image_tokens()));
        let prompt = self.tokenizer.encode(&prompt, image_token_id, image_tokens)?;
        let text_ids = prompt.ids.iter().filter(|id| **id != image_token_id);
        parts::check_ids(text_ids, self.config.text.vocab_size)?;
        if prompt.ids.is_empty() {
            return Err(Error::input("prompt", "is empty, and this model puts no token before it; give it some text"));
        }
        let prompt_tokens = prompt.ids.len();
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

        let image_started = Instant::now();
        let image = match picture {
            Some(picture) => Some(self.image(picture, input.image_aspect_ratio)?),
            None => None,
        };
        let slots = cache_record::slots(&prompt.ids, prompt.image.clone().zip(image.as_ref().map(|image| image.hash)));
        let request = Request { ids: prompt.ids, image: prompt.image, slots };
        // The last position always runs: its logits give the first token. What comes after the prefix is about to be
        // overwritten.
        let cached_tokens = self.cached.keep_common(&request.slots[..prompt_tokens - 1]);
        let mut output = Output {
            description: String::new(),
            token_ids: Vec::new(),
            prompt_tokens,
            cached_tokens,
            completion_tokens: 0,
            finish_reason: FinishReason::Aborted,
            timings: Timings::default(),
        };

        let mut go_on = || on_piece("", 0);
        let features = match (image, &request.image) {
            (Some(image), Some(span)) if span.end > cached_tokens => {
                self.image_features(image, &mut go_on).await.map(Some)
            }
            _ => Ok(None),
        };
        output.timings.image = since(image_started);
        let prefill_started = Instant::now();
        let prefilled = match features {
            Ok(features) => self.prefill(&request, cached_tokens, features, &input.sampling, &mut go_on).await,
            Err(halt) => Err(halt),
        };
        match prefilled {
            Ok(()) => {}
            Err(Halt::Aborted) => return Ok(output),
            Err(Halt::Failed(error)) => return Err(error),
        }
        let steps = self.decode(input, max_tokens, prefill_started, &mut output, on_piece).await?;
        self.cached.extend(request.slots[cached_tokens..].iter().copied());
        // A token's keys and values are written by the step after the one that drew it.
        self.cached.extend(output.token_ids.iter().take(steps).copied().map(Slot::Token));
        Ok(output)
    }

    /// Reads the drawn tokens back and queues further steps until there is a reason to end; fills in `output`. One batch
    /// of steps is queued behind the one that is waited for, so that the GPU does not stand still while the host reads.
    /// Returns the number of steps queued: some may lie beyond the end.
    async fn decode(
        &self,
        input: &Input,
        max_tokens: usize,
        prefill_started: Instant,
        output: &mut Output,
        on_piece: &mut dyn FnMut(&str, usize) -> bool,
    ) -> Result<usize> {
        let mut text = TextStream::new(&self.tokenizer, &input.stop);
        let tokens = &mut output.token_ids;
        let mut queued = 0;
        let mut pace = Pace::new();
        let mut decode_started = Instant::now();
        let mut reading = device::read_words(&self.buffers.tokens);
        output.finish_reason = loop {
            // The prefill drew one more than the steps.
            let drawn = queued + 1;
            let steps = pace.batch().min(max_tokens - drawn);
            for _ in 0..steps {
                self.decode_step.replay()?;
            }
            queued += steps;
            let ahead = (steps > 0).then(|| device::read_words(&self.buffers.tokens));
            let words = reading.await?;
            if tokens.is_empty() {
                output.timings.prefill = since(prefill_started);
                decode_started = Instant::now();
                pace = Pace::new();
            } else {
                pace.queue(drawn - tokens.len());
                pace.waited();
            }
            let mut piece = String::new();
            let mut reason = None;
            for &token in &words[tokens.len()..drawn] {
                if token == kernels::BROKEN_LOGITS {
                    return Err(self.broken_logits(tokens.len()));
                }
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
            match ahead {
                Some(ahead) => reading = ahead,
                None => break FinishReason::Length,
            }
        };
        output.timings.decode = since(decode_started);
        if tokens.len() > 1 {
            output.timings.tokens_per_second = (tokens.len() - 1) as f64 * 1e3 / output.timings.decode.max(0.001);
        }
        output.completion_tokens = tokens.len();
        output.description = text.into_text().trim().to_string();
        Ok(queued)
    }

    /// The error for logits that are no numbers, after `drawn` tokens that were: with what rounds most of what is in use.
    fn broken_logits(&self, drawn: usize) -> Error {
        let mut cures = Vec::new();
        if self.kv_cache == KvFormat::F16 {
            cures.push("load the model with `kv_cache: \"f32\"`");
        }
        if self.precision == Precision::Fast {
            cures.push("load the model with `precision: \"exact\"`");
        }
        cures.extend([
            "update the browser or the graphics driver",
            "convert the model again, from f32 or bf16 if there is one",
        ]);
        Error::Gpu(format!(
            "the model computed something that is no number after {drawn} token(s) of the answer: numbers became too large, or \
             a weight or a kernel variant (model.info.variants) is wrong here. In this order: {}",
            cures.join("; ")
        ))
    }

    /// What runs where: adapter, context length and cache format, model and quantization, as a JSON object.
    pub fn info(&self) -> serde_json::Value {
        serde_json::json!({
            "model": self.name,
            "quantization": self.quantization,
            "context_length": self.context_length,
            "kv_cache": self.kv_cache,
            "image_tokens": self.config.image_tokens(),
            "adapter": self.gpu.adapter.name,
            "backend": self.gpu.adapter.backend,
            "precision": self.precision,
            "variants": self.variants,
        })
    }

    /// Finds out which picture it is. Only a new one is decoded and cut into patches.
    fn image(&self, source: &Source, aspect_ratio: Option<AspectRatio>) -> Result<Image> {
        let file: Option<FileHash> = match source {
            Source::Encoded(bytes) => {
                let way = format!("{aspect_ratio:?}\0");
                Some(Sha256::new_with_prefix(way).chain_update(bytes).finalize().into())
            }
            Source::Decoded(_) => None,
        };
        if let Some(last) = &self.last_image
            && file.is_some()
            && last.file == file
        {
            return Ok(Image { file, hash: last.hash, content: Content::Known(Box::new(last.features.clone())) });
        }
        let (Some(vision), Some(preprocessor)) = (&self.config.vision, &self.preprocessor) else {
            return Err(sees_nothing());
        };
        let picture = source.picture()?;
        let patches = image::patches(&picture, preprocessor, aspect_ratio, vision.tower.patch_size)?;
        let hash = Sha256::digest(bytemuck::cast_slice(&patches.values)).into();
        let content = match &self.last_image {
            Some(last) if last.hash == hash => Content::Known(Box::new(last.features.clone())),
            _ => Content::New(patches),
        };
        Ok(Image { file, hash, content })
    }

    /// Embeddings of a picture, `[image tokens, hidden]`; the last picture's are kept.
    async fn image_features(
        &mut self,
        image: Image,
        go_on: &mut dyn FnMut() -> bool,
    ) -> std::result::Result<Tensor<2>, Halt> {
        let Image { file, hash, content } = image;
        let features = match content {
            Content::Known(features) => *features,
            Content::New(patches) => self.encode(patches, go_on).await?,
        };
        self.last_image = Some(LastImage { file, hash, features: features.clone() });
        Ok(features)
    }

    /// Runs the vision tower and the projector.
    async fn encode(&self, patches: Patches, go_on: &mut dyn FnMut() -> bool) -> std::result::Result<Tensor<2>, Halt> {
        let vision = self.model.vision.as_ref().ok_or_else(sees_nothing)?;
        let patches = TensorData::new(patches.values, [patches.rows, patches.cols]);
        let patches = Tensor::from_data(patches, &self.gpu.device);
        let mut layers = Layers::new(&self.gpu.device, go_on);
        let features = vision.image_features(patches, &mut async || layers.after_layer().await).await?;
        device::sync(&self.gpu.device).await?;
        Ok(features)
    }

    /// Runs the prompt's positions from `start` on and draws the first token. `features` are the picture's, which may be
    /// absent if it lies before `start`.
    async fn prefill(
        &self,
        request: &Request,
        mut start: usize,
        features: Option<Tensor<2>>,
        sampling: &Sampling,
        go_on: &mut dyn FnMut() -> bool,
    ) -> std::result::Result<(), Halt> {
        let llama = &self.model.language_model;
        let mut seen = vec![0; self.config.text.vocab_size];
        for id in &request.ids {
            if let Some(flag) = seen.get_mut(*id as usize) {
                *flag = 1;
            }
        }
        device::write_words(&self.buffers.seen, &seen);
        device::write_words(&self.buffers.params, &sampling.to_words(entropy()));
        device::write_words(&self.buffers.state, &[start as u32, 0, 0, 0]);
        let mut layers = Layers::new(&self.gpu.device, go_on);
        loop {
            let end = request.ids.len().min(start + MAX_PREFILL);
            let x = self.embed(request, start..end, features.as_ref());
            let hidden = llama.prefill(x, &self.buffers.state, &mut async || layers.after_layer().await).await?;
            let [positions, width] = hidden.dims();
            if end == request.ids.len() {
                // `sample` moves the position on by one more, to the first free row of the caches.
                kernels::advance(&self.buffers.state, positions - 1);
                self.buffers.sample(llama.logits(hidden.slice([positions - 1..positions, 0..width])));
                return Ok(());
            }
            kernels::advance(&self.buffers.state, positions);
            start = end;
        }
    }

    /// Embeddings of the prompt's positions `range`, `[range, hidden]`.
    fn embed(&self, request: &Request, range: Range<usize>, features: Option<&Tensor<2>>) -> Tensor<2> {
        let within = |part: Range<usize>| part.start.max(range.start)..part.end.min(range.end);
        let span = request.image.clone().unwrap_or(0..0);
        let text = |part: Range<usize>| {
            let ids: Vec<i32> = request.ids.get(part)?.iter().map(|id| *id as i32).collect();
            let data = TensorData::new(ids.clone(), [ids.len()]);
            (!ids.is_empty()).then(|| self.model.language_model.embed(Tensor::from_data(data, &self.gpu.device)))
        };
        let picture = |part: Range<usize>| {
            let features = features.filter(|_| !part.is_empty())?.clone();
            let width = features.dims()[1];
            Some(features.slice([part.start - span.start..part.end - span.start, 0..width]))
        };
        let parts =
            [text(within(0..span.start)), picture(within(span.clone())), text(within(span.end..request.ids.len()))];
        Tensor::cat(parts.into_iter().flatten().collect(), 0)
    }

    /// Runs a dummy picture, if the model sees pictures, and a dummy prompt through the same code as a request.
    async fn warm_up(&self) -> Result<()> {
        let ids = vec![0; WARM_UP.min(self.context_length - 1)];
        let image = self.config.vision.as_ref().map(|vision| 1..vision.image_tokens().min(WARM_UP / 2));
        let request = Request { ids, image, slots: Vec::new() };
        let run = async {
            let mut features = None;
            if let Some(vision) = &self.config.vision {
                let (rows, cols) = (vision.tower.patches(), vision.tower.patch_values());
                let patches = Patches { rows, cols, values: vec![0.0; rows * cols] };
                features = Some(self.encode(patches, &mut || true).await?);
            }
            self.prefill(&request, 0, features, &Sampling::default(), &mut || true).await
        };
        match run.await {
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Aborted) | Ok(()) => device::read_words(&self.buffers.tokens).await.map(drop),
        }
    }
}

/// What the model's pipelines depend on, by the manifest.
fn model_shapes(manifest: &Manifest, config: &LlavaConfig, options: &LoadOptions) -> ModelShapes {
    let formats = |wanted: &dyn Fn(Role) -> bool| {
        let needed: HashSet<String> =
            model::plan(config).into_iter().filter(|needed| wanted(needed.role)).map(|needed| needed.name).collect();
        let mut formats: Vec<Format> = Vec::new();
        for tensor in manifest.tensors.iter().filter(|tensor| needed.contains(&tensor.name)) {
            if !formats.contains(&tensor.dtype) {
                formats.push(tensor.dtype);
            }
        }
        formats
    };
    let text = &config.text;
    let vision = config.vision.as_ref().map(|VisionConfig { tower, .. }| VisionShapes {
        formats: formats(&|role| matches!(role, Role::PatchEmbedding | Role::Vision | Role::Projector)),
        heads: tower.heads(),
    });
    let mut norms = vec![text.norm.shape(text.hidden_size)];
    norms.extend(config.vision.as_ref().map(|VisionConfig { tower, .. }| tower.norm.shape(tower.hidden_size)));
    ModelShapes {
        decoder: formats(&|role| role == Role::Decoder),
        head: formats(&|role| matches!(role, Role::Embedding | Role::Head)),
        norms,
        intermediate: text.intermediate_size,
        layers: text.num_hidden_layers,
        heads: text.heads(),
        vision,
        kv_cache: options.kv_cache,
        precision: options.precision,
    }
}

fn sees_nothing() -> Error {
    let cure = "this model has no vision tower and answers text alone; leave the picture out, or load a LLaVA model";
    Error::input("image", cure)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_model_too_wide_for_the_buffers_of_the_gpu_is_refused() {
        let fits = |section: &str, fields: Value, megabytes: u64| {
            let config = json!({"model_type": "llava", section: fields});
            check_activations(&LlavaConfig::from_json(&config, &Value::Null).unwrap(), 2048, megabytes << 20)
        };
        fits("text_config", Value::Null, 128).unwrap();
        fits("vision_config", json!({"image_size": 1024, "patch_size": 16}), 128).unwrap();
        let wide = json!({"image_size": 2048, "patch_size": 16, "intermediate_size": 4096});
        for (section, fields, megabytes, named) in [
            ("vision_config", json!({"image_size": 2048, "patch_size": 14}), 32, "image_size"),
            ("vision_config", wide, 128, "vision tower"),
            ("text_config", json!({"intermediate_size": 40000}), 128, "intermediate_size"),
        ] {
            let error = fits(section, fields, megabytes).unwrap_err();
            assert_eq!(error.code(), "gpu");
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn inputs_are_read_or_the_field_is_named() {
        let read = |json: Value| serde_json::from_value::<Input>(json).map_err(|error| error.to_string());
        let input =
            read(json!({"prompt": "a", "max_tokens": 1u64 << 40, "top_k": 1u64 << 40, "seed": u64::MAX})).unwrap();
        assert_eq!(input.max_tokens, Some((1u64 << 40).try_into().unwrap_or(usize::MAX)));
        assert_eq!((input.sampling.top_k, input.sampling.seed), (Some(u32::MAX), Some(u64::MAX)));
        assert_eq!(read(json!({"max_tokens": null})).unwrap().max_tokens, None);
        for json in [json!({"max_token": 5}), json!({"prompt": "a", "top_p": 0.5, "max_token": 5})] {
            assert_eq!(read(json).unwrap_err(), "`max_token` is no field of an input");
        }
    }

    #[test]
    fn a_choice_of_variants_is_kept_for_what_it_was_made_on() {
        let manifest = |edit: &dyn Fn(&mut Value)| {
            let mut json = json!({
                "format": crate::bundle::FORMAT_NAME, "version": crate::bundle::FORMAT_VERSION,
                "model": {"name": "m", "license": "", "source": ""},
                "config": {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 8, "head_dim": 32},
                "generation": {}, "preprocessor": null, "quantization": "q4", "tensors": [], "chunks": [], "total_bytes": 1,
                "tokenizer": {"file": "tokenizer.json", "bytes": 1, "sha256": "0".repeat(64)}
            });
            edit(&mut json["config"]);
            serde_json::from_value::<Manifest>(json).unwrap()
        };
        let key = |edit: &dyn Fn(&mut Value), options| Engine::variants_key(&manifest(edit), &options).unwrap();
        let small = key(&|_| (), LoadOptions::default());
        // What the answer needs otherwise does not matter.
        let same = LoadOptions { context_length: Some(99), ..LoadOptions::default() };
        assert_eq!(key(&|config| config["eos_token_id"] = 1.into(), same), small);
        let f16 = LoadOptions { kv_cache: KvFormat::F16, ..LoadOptions::default() };
        let fast = LoadOptions { precision: Precision::Fast, ..LoadOptions::default() };
        let mut keys = vec![small, key(&|_| (), f16), key(&|_| (), fast)];
        for field in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"] {
            keys.push(key(&|config| config[field] = 64.into(), LoadOptions::default()));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "{keys:?}");
    }

    #[test]
    fn a_context_beyond_the_model_or_the_gpu_is_refused_with_the_largest_that_fits() {
        let text = json!({"max_position_embeddings": 16384});
        let config =
            LlavaConfig::from_json(&json!({"model_type": "llava", "text_config": text}), &Value::Null).unwrap();
        let fits = |context_length, kv_cache, max_binding| {
            let options = LoadOptions { context_length, kv_cache, ..LoadOptions::default() };
            context_length_of(&config, &options, max_binding)
        };
        // A 7B model's keys take 16 KiB a position and layer in f32.
        let (f32, f16, default_limit) = (KvFormat::F32, KvFormat::F16, 128 << 20);
        assert_eq!(fits(Some(8192), f32, default_limit).unwrap(), 8192);
        assert_eq!(fits(Some(16384), f16, default_limit).unwrap(), 16384);
        assert_eq!(fits(None, f32, default_limit).unwrap(), DEFAULT_CONTEXT);
        assert_eq!(fits(None, f32, 16 << 20).unwrap(), 1024);
        for (asked, format, max_binding, largest) in
            [(8193, f32, default_limit, 8192), (16385, f16, 1 << 30, 16384), (1025, f32, 16 << 20, 1024)]
        {
            let error = fits(Some(asked), format, max_binding).unwrap_err();
            assert_eq!(error.code(), "invalid_input");
            assert!(error.to_string().contains(&format!("577..={largest}:")), "{error}");
        }
    }
}
