//! llama.cpp's GGUF files: a decoder of LLaMA architecture, alone or with the projector's file of a LLaVA-1.5.
//!
//! [`parse`] reads the container; `config` and `tokenizer` turn its metadata into what a Hugging Face folder holds; and
//! `checkpoint` offers the tensors, their blocks as they are wherever ours can hold them.

mod blocks;
mod checkpoint;
mod config;
mod file;
mod tokenizer;

use std::path::Path;

use serde_json::Value;

use super::hf::io_error;
use super::mapped::Mapped;
use super::{Options, Summary, refuse_pointer, template_note};
use crate::bundle::{BundleHead, ModelInfo};
use crate::model::config::LlavaConfig;
use crate::{Error, Result};

pub use blocks::Kind;
pub use file::{Array, Gguf, Tensor, parse};
pub use tokenizer::rebuild as rebuild_tokenizer;

/// Converts the decoder in `model`, with the vision tower and projector in `mmproj` if there is one, into a bundle in
/// `out`. Without a format in `options` every matrix keeps the one it has, or gets the nearest that is not narrower.
///
/// # Errors
/// A file is damaged, the model is not supported, or as [`super::write`].
pub fn convert(model: &Path, mmproj: Option<&Path>, out: &Path, options: &Options) -> Result<Summary> {
    let (model_map, mmproj_map) = (map(model)?, mmproj.map(map).transpose()?);
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error| match error {
            Error::Io { what, problem } => Error::Io { what: path, problem: format!("{what} {problem}") },
            other => other,
        }
    };
    let decoder = parse(&model_map).map_err(named(model))?;
    let vision = match (&mmproj_map, mmproj) {
        (Some(map), Some(path)) => Some(parse(map).map_err(named(path))?),
        _ => None,
    };

    let rows = config::text_config(&decoder).map_err(named(model))?["vocab_size"].as_u64().unwrap_or(0) as usize;
    let rebuilt = rebuild_tokenizer(&decoder, rows, vision.is_some()).map_err(named(model))?;
    let config_json = config::config(&decoder, vision.as_ref().zip(rebuilt.image_token_id))?;
    let generation = config::generation(&decoder, rows).map_err(named(model))?;
    let config = LlavaConfig::from_json(&config_json, &generation)?;
    let preprocessor = match (&vision, &config.vision) {
        (Some(gguf), Some(vision)) => config::preprocessor(gguf, vision.tower.image_size())?,
        _ => Value::Null,
    };
    let mut notes: Vec<String> =
        decoder.get("tokenizer.chat_template").map(|_| template_note("tokenizer.chat_template")).into_iter().collect();
    let checkpoint = checkpoint::GgufCheckpoint::new(&decoder, vision.as_ref(), &config, &mut notes)?;

    let stem = model.file_stem().map_or_else(|| "llama".into(), |stem| stem.to_string_lossy().into_owned());
    let text = |key: &str| decoder.str(key).map(|text| text.unwrap_or_default().to_owned());
    let model = ModelInfo {
        name: options.name.clone().unwrap_or(stem),
        license: options.license.clone().map_or_else(|| text("general.license"), Ok)?,
        source: text("general.repo_url")?,
    };
    let quantization = options.format.unwrap_or_else(|| checkpoint.main_format()).name().into();
    let head = BundleHead { model, config: config_json, generation, preprocessor, quantization, memory: None };
    super::write(&checkpoint, &config, head, &rebuilt.json, out, options, notes)
}

fn map(path: &Path) -> Result<Mapped> {
    let map = Mapped::open(path).map_err(io_error(path))?;
    refuse_pointer(path, &map)?;
    Ok(map)
}
