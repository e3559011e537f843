//! The parts of a model beside its weights, read and tried together: what loading would refuse of them, converting refuses.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::image::{self, Picture, PreprocessorConfig};
use crate::model::config::LlavaConfig;
use crate::text::prompt::Prompt;
use crate::text::template::Template;
use crate::text::tokenizer::Tokenizer;

/// Configuration, image settings, chat format and tokenizer that fit each other.
pub struct Parts {
    pub config: LlavaConfig,
    /// `None` in a model without a vision tower.
    pub preprocessor: Option<PreprocessorConfig>,
    pub template: &'static Template,
    pub tokenizer: Tokenizer,
}

impl Parts {
    /// Reads config.json, generation_config.json, preprocessor_config.json and tokenizer.json, and prepares a picture and a
    /// prompt with them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] or [`Error::Tokenizer`] naming what cannot be honoured, or what does not fit the rest.
    pub fn read(config: &Value, generation: &Value, preprocessor: &Value, tokenizer: &[u8]) -> Result<Self> {
        let model_type = config["model_type"].as_str().unwrap_or_default();
        let config = LlavaConfig::from_json(config, generation)?;
        let template = Template::of(model_type, config.decoder)?;
        let mut tokenizer = Tokenizer::with_special(tokenizer, template.special)?;
        let vision = config.vision.as_ref();
        let preprocessor = vision.map(|vision| PreprocessorConfig::from_json(preprocessor, vision)).transpose()?;
        if let (Some(vision), Some(preprocessor)) = (vision, &preprocessor) {
            // Not square, as most pictures are.
            let picture = Picture { width: 3, height: 2, rgb: vec![0; 18] };
            image::patches(&picture, preprocessor, None, vision.tower.window())?;
            tokenizer.check_image_token(vision.image_token_id)?;
        }
        let prompt = Prompt::new(template, None, None, false, vision.is_some())?;
        let (id, count) = vision.map_or((u32::MAX, 0), |vision| (vision.image_token_id, vision.image_tokens()));
        let tokens = tokenizer.encode(&prompt, id, count)?;
        let positions = config.text.max_position_embeddings;
        if count.max(1) >= positions {
            let problem = format!("is {positions}, and a picture or prompt alone takes {}", count.max(1));
            return Err(Error::unsupported("text_config.max_position_embeddings", problem));
        }
        check_ids(tokens.ids.iter().filter(|token| **token != id), config.text.vocab_size)?;
        Ok(Self { config, preprocessor, template, tokenizer })
    }
}

/// Refuses token ids that the embedding has no rows for.
///
/// # Errors
/// [`Error::Tokenizer`] naming the first of them.
pub fn check_ids<'a>(ids: impl IntoIterator<Item = &'a u32>, vocab_size: usize) -> Result<()> {
    match ids.into_iter().find(|id| **id as usize >= vocab_size) {
        None => Ok(()),
        Some(id) => {
            let cure = "tokenizer.json is of another model; take both files from one checkpoint";
            Err(Error::Tokenizer(format!(
                "gives the id {id}, but config.json has a vocab_size of {vocab_size}: {cure}"
            )))
        }
    }
}
