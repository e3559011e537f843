//! What the choice of kernel variants depends on beside the adapter.

use std::collections::HashSet;

use super::limits;
use super::options::LoadOptions;
use crate::bundle::Manifest;
use crate::error::Result;
use crate::kernels::{KvFormat, ModelShapes, VisionShapes};
use crate::model;
use crate::model::config::{LlavaConfig, VisionConfig};
use crate::model::parameters::Role;
use crate::quant::Format;

/// Names what the choice of kernel variants depends on beside the adapter.
///
/// # Errors
/// As [`LlavaConfig::from_json`] for the manifest's config.json.
pub fn variants_key(manifest: &Manifest, options: &LoadOptions) -> Result<String> {
    let config = LlavaConfig::from_json(&manifest.config, &manifest.generation)?;
    let kv_cache = limits::kv_format_of(&config, options.kv_cache)?;
    let key = (model_shapes(manifest, &config, kv_cache), options.precision);
    Ok(serde_json::to_string(&key).expect("plain numbers and names"))
}

/// What the model's pipelines depend on, by the manifest.
pub fn model_shapes(manifest: &Manifest, config: &LlavaConfig, kv_cache: KvFormat) -> ModelShapes {
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
        depthwise: tower.depthwise().iter().map(|window| (window.kernel, window.stride)).collect(),
    });
    let mut norms = vec![text.norm.shape(text.hidden_size)];
    norms.extend(config.vision.iter().flat_map(|vision| vision.tower.norms()));
    ModelShapes {
        decoder: formats(&|role| role == Role::Decoder),
        head: formats(&|role| matches!(role, Role::Embedding | Role::Head)),
        norms,
        intermediate: text.intermediate_size,
        layers: text.num_hidden_layers,
        heads: text.heads(),
        vision,
        kv_cache,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::kernels::Precision;

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
        let key = |edit: &dyn Fn(&mut Value), options| variants_key(&manifest(edit), &options).unwrap();
        let small = key(&|_| (), LoadOptions::default());
        // What the answer needs otherwise does not matter.
        let same = LoadOptions { context_length: Some(99), ..LoadOptions::default() };
        assert_eq!(key(&|config| config["eos_token_id"] = 1.into(), same), small);
        let f32 = LoadOptions { kv_cache: Some(KvFormat::F32), ..LoadOptions::default() };
        let mut keys = vec![small, key(&|_| (), f32)];
        for precision in [Precision::Exact, Precision::Half, Precision::Fast] {
            keys.push(key(&|_| (), LoadOptions { precision: Some(precision), ..LoadOptions::default() }));
        }
        for field in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"] {
            keys.push(key(&|config| config[field] = 64.into(), LoadOptions::default()));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "{keys:?}");
    }
}
