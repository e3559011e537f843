//! The models of a bundle: one, or two of which the picture chooses.

use web_time::Instant;

use super::pictures::{FileHash, file_hash};
use super::request::since;
use super::{Engine, FinishReason, Input, LoadOptions, Output, limits};
use crate::bundle::source::ChunkSource;
use crate::bundle::{Manifest, Part};
use crate::device;
use crate::error::{Error, Result};
use crate::image::Source;
use crate::model::config::LlavaConfig;

/// The models of a bundle on one device, and one request at a time.
pub struct Models {
    first: Engine,
    second: Option<Other>,
}

/// The model that is asked where the first one gives a certain answer.
struct Other {
    engine: Engine,
    question: String,
    answer: String,
    /// The file that was looked at last, and whether it is this model's.
    known: Option<(FileHash, bool)>,
}

impl Models {
    /// Loads all models of the bundle behind `source`, as [`Engine::load`] does; `tokenizers` are the files of each, in order.
    /// The second one runs the first one's kernel variants, where these are right for it.
    ///
    /// # Errors
    /// As there, or a tokenizer is missing.
    pub async fn load<S: ChunkSource>(
        gpu: device::Opened,
        source: &S,
        tokenizers: &[impl AsRef<[u8]>],
        mut options: LoadOptions,
    ) -> Result<Self> {
        let tokenizer = |index: usize| {
            let missing = || Error::bundle("tokenizer.json", format!("of model {} is not given", index + 1));
            tokenizers.get(index).map(AsRef::as_ref).ok_or_else(missing)
        };
        let second = source.manifest().second.as_ref();
        if let Some(second) = second {
            let manifests = [source.manifest(), &second.manifest];
            options.context_length = Some(context_length_of(manifests, &options, gpu.adapter.max_binding)?);
        }
        let mut engines = Vec::new();
        for part in Part::all(source) {
            let its = LoadOptions { variants: std::mem::take(&mut options.variants), ..options };
            let engine = Engine::load(gpu.clone(), &part, tokenizer(engines.len())?, its).await?;
            for (&operation, chosen) in &engine.variants {
                options.variants.insert(operation.into(), chosen.variant.into());
            }
            engines.push(engine);
        }
        let other = second.zip(engines.pop_if(|_| second.is_some())).map(|(second, engine)| Other {
            engine,
            question: second.question.clone(),
            answer: second.answer.clone(),
            known: None,
        });
        Ok(Self { first: engines.remove(0), second: other })
    }

    /// Answers `input` about `picture`, as [`Engine::generate`] does, with the model that knows such pictures.
    ///
    /// # Errors
    /// As there.
    pub async fn generate(
        &mut self,
        picture: Option<&Source>,
        input: &Input,
        on_piece: &mut dyn FnMut(&str, usize) -> bool,
    ) -> Result<Output> {
        let started = Instant::now();
        let mut engine = &mut self.first;
        if let Some((second, picture)) = self.second.as_mut().zip(picture) {
            match second.knows(engine, picture, input, &mut || on_piece("", 0)).await? {
                Looked::Aborted(output) => return Ok(output),
                Looked::Knows => engine = &mut second.engine,
                Looked::DoesNot => (),
            }
        }
        let looking = since(started);
        let mut output = engine.generate(picture, input, on_piece).await?;
        output.timings.image += looking;
        Ok(output)
    }

    /// As [`Engine::info`] of the first model, with the names of both, and the memory that both take.
    pub fn info(&self) -> serde_json::Value {
        let mut info = self.first.info();
        if let Some(Other { engine, .. }) = &self.second {
            info["model"] = format!("{} + {}", self.first.name, engine.name).into();
            info["memory"] = serde_json::json!(self.first.memory.and(engine.memory));
        }
        info
    }
}

enum Looked {
    Knows,
    DoesNot,
    /// The caller said stop.
    Aborted(Output),
}

impl Other {
    /// Asks `first` whether the picture is this model's.
    async fn knows(
        &mut self,
        first: &mut Engine,
        picture: &Source,
        input: &Input,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Looked> {
        let file = file_hash(picture, input.image_aspect_ratio);
        if let Some((known, knows)) = self.known
            && file == Some(known)
        {
            return Ok(if knows { Looked::Knows } else { Looked::DoesNot });
        }
        let question = Input {
            prompt: Some(self.question.clone()),
            max_tokens: Some(self.answer.len() + 1),
            image_aspect_ratio: input.image_aspect_ratio,
            ..Input::default()
        };
        let (mut told, mut stopped) = (String::new(), false);
        let mut on_piece = |text: &str, _| {
            told.push_str(text);
            stopped |= !go_on();
            // Any other answer need not be heard to its end.
            !stopped && self.answer.starts_with(told.trim())
        };
        let output = first.generate(Some(picture), &question, &mut on_piece).await?;
        if stopped {
            return Ok(Looked::Aborted(output));
        }
        let knows = output.finish_reason != FinishReason::Aborted && output.description.trim() == self.answer;
        self.known = file.map(|file| (file, knows));
        Ok(if knows { Looked::Knows } else { Looked::DoesNot })
    }
}

/// The positions that both models have room for.
fn context_length_of(manifests: [&Manifest; 2], options: &LoadOptions, max_binding: u64) -> Result<usize> {
    let mut least = usize::MAX;
    for manifest in manifests {
        let config = LlavaConfig::from_json(&manifest.config, &manifest.generation)?;
        let kv_cache = limits::kv_format_of(&config, options.kv_cache)?;
        least = least.min(limits::context_length_of(&config, options.context_length, kv_cache, max_binding)?);
    }
    Ok(least)
}
