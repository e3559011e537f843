//! A model's need of memory, as its manifest tells it to pages.

use super::config::LlavaConfig;
use super::parameters::Cut;
use super::plan::parameters;
use crate::bundle::{LargestWeight, Manifest, Memory};
use crate::{Error, Result};

/// What the model's manifest says, where its tensors take `bytes_of` each.
pub fn memory(config: &LlavaConfig, bytes_of: impl Fn(&str) -> usize) -> Memory {
    let LlavaConfig { vision, text, .. } = config;
    let mut largest_weight = LargestWeight { name: String::new(), bytes: 0 };
    for parameter in parameters(config).iter().filter(|parameter| parameter.cut == Cut::Never) {
        let bytes = parameter.tensors.iter().map(|tensor| bytes_of(&tensor.name) as u64).sum();
        if bytes > largest_weight.bytes {
            largest_weight = LargestWeight { name: parameter.name.clone(), bytes };
        }
    }
    Memory {
        largest_weight,
        layers: text.num_hidden_layers as u64,
        keys: text.key_value_size() as u64,
        head_dim: text.head_dim as u64,
        trained_positions: text.max_position_embeddings as u64,
        image_tokens: config.image_tokens() as u64,
        picture_bytes: vision.as_ref().map_or(0, |vision| 4 * vision.tower.largest_activation() as u64),
        position_bytes: 4 * text.widest_activation() as u64,
    }
}

/// Refuses a manifest that tells pages something else about the model than its config.json does. Sizes are not compared: they
/// follow from how an engine lays out its memory, which a later one may do otherwise, and the page only plans by them.
///
/// # Errors
/// [`Error::Bundle`] naming the field.
pub fn check(manifest: &Manifest, config: &LlavaConfig) -> Result<()> {
    let Some(told) = &manifest.memory else { return Ok(()) };
    let known = memory(config, |_| 0);
    for ((name, told), (_, known)) in told.facts().into_iter().zip(known.facts()) {
        if told != known {
            let problem = format!("`memory.{name}` is {told}, but {known} by config.json; convert the model again");
            return Err(Error::bundle("manifest.json", problem));
        }
    }
    Ok(())
}
