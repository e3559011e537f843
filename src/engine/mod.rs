//! A loaded model and one request at a time: picture and prompt in, text out, piece by piece.

mod cache_record;
mod decode;
mod decode_buffers;
mod layers;
mod limits;
mod models;
mod options;
mod pace;
mod pictures;
mod prefill;
mod request;
mod seed;
mod shapes;

use web_time::Instant;

use self::cache_record::CacheRecord;
use self::decode::{Decode, record_step};
use self::decode_buffers::DecodeBuffers;
use self::layers::Halt;
use self::limits::MemoryUse;
use self::pictures::{Pictures, encode, sees_nothing};
use self::prefill::prefill;
use self::request::since;
use crate::bundle::Manifest;
use crate::bundle::source::ChunkSource;
use crate::device::{self, Recorded};
use crate::error::{Error, Result};
use crate::image::{Patches, Source};
use crate::kernels::{self, KvFormat, Precision, Variants};
use crate::model::Llava;
use crate::model::config::LlavaConfig;
use crate::parts::{self, Parts};
use crate::text::prompt::Prompt;
use crate::text::sampling::Sampling;
use crate::text::template::Template;
use crate::text::tokenizer::{PromptTokens, Tokenizer};

pub use self::models::Models;
pub use self::options::LoadOptions;
pub use self::request::{FinishReason, Input, Output, Timings};

/// Positions of the warm-up's prompt, half of them the picture's: enough for the kernels for many rows.
const WARM_UP: usize = 8;

/// A model on the GPU with its tokenizer, its caches and the recorded decode step.
pub struct Engine {
    model: Llava,
    config: LlavaConfig,
    template: &'static Template,
    tokenizer: Tokenizer,
    /// `None` in a model without a vision tower.
    pictures: Option<Pictures>,
    context_length: usize,
    kv_cache: KvFormat,
    memory: MemoryUse,
    name: String,
    quantization: String,
    gpu: device::Opened,
    precision: Precision,
    variants: Variants,
    buffers: DecodeBuffers,
    decode_step: Recorded<()>,
    /// What the key-value caches hold.
    cached: CacheRecord,
}

impl Engine {
    /// Names what the choice of kernel variants depends on beside the adapter: choices ([`LoadOptions::variants`]) may be kept
    /// for loads with the same key.
    ///
    /// # Errors
    /// As [`Engine::load`] for the manifest's config.json.
    pub fn variants_key(manifest: &Manifest, options: &LoadOptions) -> Result<String> {
        shapes::variants_key(manifest, options)
    }

    /// Loads the bundle behind `source` with its `tokenizer_json` onto `gpu`, tells `source` when it has read all of it,
    /// records the decode step, and runs a dummy picture and prompt, so that every GPU program the first answer needs
    /// is compiled.
    pub async fn load<S: ChunkSource>(
        gpu: device::Opened,
        source: &S,
        tokenizer_json: &[u8],
        options: LoadOptions,
    ) -> Result<Self> {
        let manifest = source.manifest();
        let Parts { config, preprocessor, template, tokenizer } =
            Parts::read(&manifest.config, &manifest.generation, &manifest.preprocessor, tokenizer_json)?;
        let kv_cache = limits::kv_format_of(&config, options.kv_cache)?;
        let max_binding = gpu.adapter.max_binding;
        let context_length = limits::context_length_of(&config, options.context_length, kv_cache, max_binding)?;
        limits::check_activations(&config, context_length, max_binding)?;
        let device = &gpu.device;
        let model = Llava::load(source, &config, context_length, kv_cache, device).await?;
        source.all_read();
        let shapes = shapes::model_shapes(manifest, &config, kv_cache);
        let precision = options.precision.unwrap_or_else(|| Precision::suited(&gpu.adapter));
        let variants =
            kernels::tune(&gpu, &shapes, precision, &model.language_model.tune_work(), &options.variants).await?;
        let buffers = DecodeBuffers::new(config.text.vocab_size, context_length, device);
        let decode_step = device::validated(&gpu.device, record_step(&model.language_model, &buffers, device)).await?;
        let window = config.vision.as_ref().map(|vision| vision.tower.window());
        let engine = Self {
            name: manifest.model.name.clone(),
            quantization: manifest.quantization.clone(),
            model,
            template,
            tokenizer,
            pictures: preprocessor.zip(window).map(|(preprocessor, window)| Pictures::new(preprocessor, window)),
            memory: limits::memory_use(&config, &manifest.tensors, context_length, kv_cache),
            config,
            context_length,
            kv_cache,
            gpu,
            precision,
            variants,
            buffers,
            decode_step,
            cached: CacheRecord::default(),
        };
        device::validated(&engine.gpu.device, engine.warm_up()).await?;
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
        let (prompt, max_tokens) = self.prompt(input, picture.is_some())?;
        kernels::select(&self.gpu.device, &self.variants);
        let image_started = Instant::now();
        let image = match picture {
            Some(picture) => {
                let pictures = self.pictures.as_ref().ok_or_else(sees_nothing)?;
                Some(pictures.identify(picture, input.image_aspect_ratio)?)
            }
            None => None,
        };
        let slots = cache_record::slots(&prompt.ids, prompt.image.clone().zip(image.as_ref().map(|image| image.hash)));
        let prompt_tokens = prompt.ids.len();
        // The last position always runs: its logits give the first token. What comes after the prefix is about to be
        // overwritten. Where tokens are drawn, a seed must give the same ones whatever was there.
        let cached_tokens = self.cached.keep_common(&slots[..prompt_tokens - 1], input.sampling.draws());
        let mut output = Output {
            model: self.name.clone(),
            description: String::new(),
            token_ids: Vec::new(),
            token_logprobs: Vec::new(),
            prompt_tokens,
            cached_tokens,
            completion_tokens: 0,
            finish_reason: FinishReason::Aborted,
            seed: input.sampling.draws().then(|| input.sampling.seed.unwrap_or_else(seed::pick)),
            timings: Timings::default(),
        };

        let mut go_on = || on_piece("", 0);
        let device = &self.gpu.device;
        let decoder = &self.model.language_model;
        let features = match (image, &prompt.image) {
            (Some(image), Some(span)) if span.end > cached_tokens => {
                let see = self.pictures.as_mut().zip(self.model.vision.as_ref());
                let (pictures, vision) = see.ok_or_else(sees_nothing)?;
                pictures.features(image, vision, device, &mut go_on).await.map(Some)
            }
            _ => Ok(None),
        };
        output.timings.image = since(image_started);
        let prefill_started = Instant::now();
        let prefilled = match features {
            Ok(features) => {
                let sampling = input.sampling.to_words(output.seed.unwrap_or(0));
                self.buffers.begin(cached_tokens, &prompt.ids, &sampling);
                let state = &self.buffers.state;
                prefill(decoder, state, device, &prompt, cached_tokens, features.as_ref(), &mut go_on).await
            }
            Err(halt) => Err(halt),
        };
        match prefilled {
            Ok(logits) => self.buffers.sample(logits),
            Err(Halt::Aborted) => return Ok(output),
            Err(Halt::Failed(error)) => return Err(error),
        }
        let decode = Decode {
            decoder: &self.model.language_model,
            step: &self.decode_step,
            buffers: &self.buffers,
            tokenizer: &self.tokenizer,
            eos_token_ids: &self.config.eos_token_ids,
            stop: &input.stop,
            max_tokens,
            kv_cache: self.kv_cache,
            precision: self.precision,
        };
        let steps = decode.run(prefill_started, &mut output, on_piece).await?;
        self.cached.prefilled(&slots[cached_tokens..]);
        // A token's keys and values are written by the step after the one that drew it.
        self.cached.decoded(&output.token_ids[..steps.min(output.token_ids.len())]);
        Ok(output)
    }

    /// The tokens of a request's prompt, and how many the answer may have.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field.
    fn prompt(&mut self, input: &Input, picture: bool) -> Result<(PromptTokens, usize)> {
        input.sampling.validate()?;
        let max_tokens = input.max_tokens.unwrap_or(512);
        if max_tokens == 0 {
            return Err(Error::input("max_tokens", "must be at least 1"));
        }
        if picture && self.pictures.is_none() {
            return Err(sees_nothing());
        }
        let prompt =
            Prompt::new(self.template, input.prompt.as_deref(), input.messages.as_deref(), input.raw, picture)?;
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
        Ok((prompt, max_tokens.min(self.context_length - prompt_tokens)))
    }

    /// What runs where: adapter, context length and cache format, memory in bytes, model and quantization, as a JSON object.
    pub fn info(&self) -> serde_json::Value {
        serde_json::json!({
            "model": self.name,
            "quantization": self.quantization,
            "context_length": self.context_length,
            "kv_cache": self.kv_cache,
            "memory": self.memory,
            "image_tokens": self.config.image_tokens(),
            "adapter": self.gpu.adapter.name,
            "backend": self.gpu.adapter.backend,
            "precision": self.precision,
            "variants": self.variants,
        })
    }

    /// Runs a dummy picture, if the model sees pictures, and a dummy prompt through the same code as a request.
    async fn warm_up(&self) -> Result<()> {
        let ids = vec![0; WARM_UP.min(self.context_length - 1)];
        let image = self.config.vision.as_ref().map(|vision| 1..vision.image_tokens().min(WARM_UP / 2));
        let prompt = PromptTokens { ids, image };
        let device = &self.gpu.device;
        let decoder = &self.model.language_model;
        let run = async {
            let mut features = None;
            if let Some((config, vision)) = self.config.vision.as_ref().zip(self.model.vision.as_ref()) {
                let [rows, cols] = config.tower.patches();
                let patches = Patches { rows, cols, values: vec![0.0; rows * cols] };
                features = Some(encode(patches, vision, device, &mut || true).await?);
            }
            self.buffers.begin(0, &prompt.ids, &Sampling::default().to_words(0));
            let logits =
                prefill(decoder, &self.buffers.state, device, &prompt, 0, features.as_ref(), &mut || true).await?;
            self.buffers.sample(logits);
            Ok(())
        };
        match run.await {
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Aborted) | Ok(()) => self.buffers.tokens.read().await.map(drop),
        }
    }
}
