//! config.json, generation and image settings from GGUF metadata.

use serde_json::{Map, Value, json};

use super::file::{Gguf, broken};
use crate::convert::said;
use crate::model::config::LlavaConfig;
use crate::model::decoder::{Rope, RopeScaling};
use crate::{Error, Result};

/// LLaMA-3.1 and its successors store the frequencies' divisors but not what they were made from; these are what all of
/// them were made from, beside the factor.
const LLAMA3: (f64, f64, u64) = (1.0, 4.0, 8192);

/// The decoder's part of config.json, from a GGUF of LLaMA architecture.
///
/// # Errors
/// Another architecture, or a setting that is missing or not supported.
pub fn text_config(model: &Gguf) -> Result<Value> {
    refuse_adapter(model)?;
    match model.str("general.architecture")? {
        Some("llama") => {}
        Some("clip") => {
            let cure = "is `clip`: this is the projector's file; give it as --mmproj, and the decoder's file first";
            return Err(Error::unsupported("general.architecture", cure));
        }
        other => {
            let problem = format!("says {}; only decoders of `llama` architecture are converted", said(other));
            return Err(Error::unsupported("general.architecture", problem));
        }
    }
    if model.u64("split.count")?.unwrap_or(1) > 1 {
        let cure = "this is one file of several; join them first: llama-gguf-split --merge <first file> <joined file>";
        return Err(Error::unsupported("split.count", cure));
    }
    if model.u64("llama.expert_count")?.unwrap_or(0) > 0 {
        return Err(Error::unsupported("llama.expert_count", "mixtures of experts are not converted"));
    }
    let size = |name: &str| -> Result<u64> {
        let key = format!("llama.{name}");
        model.u64(&key)?.ok_or_else(|| broken(&format!("metadata `{key}`"), "is missing"))
    };
    let optional = |name: &str| model.u64(&format!("llama.{name}"));
    let (hidden, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let head_dim = match optional("attention.key_length")? {
        Some(length) => length,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    for key in ["attention.value_length", "rope.dimension_count"] {
        if let Some(found) = optional(key)?.filter(|found| *found != head_dim) {
            let problem = format!("{found}, but heads have {head_dim}: only whole heads of one size can be run");
            return Err(Error::unsupported(format!("llama.{key}"), problem));
        }
    }
    let eps = model.f64("llama.attention.layer_norm_rms_epsilon")?;
    let embedding =
        model.tensors.get("token_embd.weight").ok_or_else(|| broken("tensor `token_embd.weight`", "is missing"))?;
    let mut config = json!({
        "model_type": "llama",
        "vocab_size": embedding.shape[0],
        "hidden_size": hidden,
        "intermediate_size": size("feed_forward_length")?,
        "num_hidden_layers": size("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": optional("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_dim,
        "max_position_embeddings": size("context_length")?,
        "rms_norm_eps": eps.ok_or_else(|| broken("metadata `llama.attention.layer_norm_rms_epsilon`", "is missing"))?,
        "rope_theta": model.f64("llama.rope.freq_base")?.unwrap_or(10000.0),
        "hidden_act": "silu",
        "attention_bias": model.tensors.contains_key("blk.0.attn_q.bias"),
        "mlp_bias": model.tensors.contains_key("blk.0.ffn_gate.bias"),
        "tie_word_embeddings": !model.tensors.contains_key("output.weight"),
    });
    if let Some(scaling) = rope_scaling(model, &config)? {
        config["rope_scaling"] = scaling;
    }
    Ok(config)
}

fn rope_scaling(model: &Gguf, config: &Value) -> Result<Option<Value>> {
    let linear = |factor: f64| (factor != 1.0).then(|| json!({"rope_type": "linear", "factor": factor}));
    match model.str("llama.rope.scaling.type")? {
        None | Some("none" | "linear") => {}
        Some(other) => {
            let problem = format!("`{other}` is not one of none, linear");
            return Err(Error::unsupported("llama.rope.scaling.type", problem));
        }
    }
    if let Some(freqs) = model.tensors.get("rope_freqs.weight") {
        return llama3(freqs, config).map(Some);
    }
    let older = model.f64("llama.rope.scale_linear")?;
    Ok(linear(model.f64("llama.rope.scaling.factor")?.or(older).unwrap_or(1.0)))
}

/// Finds the settings behind a table of divisors, and makes sure that they give this table.
fn llama3(freqs: &super::file::Tensor, config: &Value) -> Result<Value> {
    let mut divisors = Vec::new();
    if let Ok(kind) = freqs.kind {
        kind.decode(freqs.bytes, &mut divisors);
    }
    let (low, high, trained) = LLAMA3;
    let factor = divisors.iter().copied().fold(1.0, f32::max);
    let scaling = json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                         "original_max_position_embeddings": trained});
    let mut scaled = config.clone();
    scaled["rope_scaling"] = scaling.clone();
    let scaled = LlavaConfig::from_json(&scaled, &Value::Null)?.text;
    let plain = Rope { scaling: RopeScaling::Default, ..scaled.rope.clone() }.inv_freq(scaled.head_dim);
    let expected = plain.iter().zip(scaled.inv_freq()).map(|(plain, scaled)| plain / scaled);
    let same = expected.zip(&divisors).all(|(expected, found)| (expected - found).abs() <= 1e-3 * expected);
    if divisors.len() != plain.len() || !same {
        let problem = "its divisors are not those of LLaMA-3's scaling, the only table that can be run";
        return Err(Error::unsupported("rope_freqs.weight", problem));
    }
    Ok(scaling)
}

/// config.json of the whole model: a plain LLaMA without `mmproj`, else a LLaVA whose picture goes in at
/// `image_token_id`.
///
/// # Errors
/// As [`text_config`], or the projector's file is none of LLaVA-1.5.
pub fn config(model: &Gguf, mmproj: Option<(&Gguf, u32)>) -> Result<Value> {
    let mut text = text_config(model)?;
    let Some((mmproj, image_token_id)) = mmproj else {
        text["architectures"] = json!(["LlamaForCausalLM"]);
        return Ok(text);
    };
    check_projector(mmproj)?;
    let size = |name: &str| -> Result<u64> {
        let key = format!("clip.vision.{name}");
        mmproj.u64(&key)?.ok_or_else(|| broken(&format!("metadata `{key}`"), "is missing"))
    };
    let flag = |name: &str| mmproj.bool(name).map(|flag| flag == Some(true));
    let hidden_act = match (flag("clip.use_gelu")?, flag("clip.use_silu")?) {
        (true, _) => "gelu",
        (_, true) => "silu",
        _ => "quick_gelu",
    };
    let layers = size("block_count")?;
    // The older converter has dropped the layers above the one that is read from, and counted them off.
    let feature_layers = match mmproj.numbers("clip.vision.feature_layer")? {
        Some(layers) if !layers.is_empty() => json!(layers.into_iter().map(|layer| layer as i64).collect::<Vec<_>>()),
        _ => json!(layers),
    };
    let eps = mmproj.f64("clip.vision.attention.layer_norm_epsilon")?;
    Ok(json!({
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": image_token_id,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": mmproj.tensors.contains_key("mm.0.bias"),
        "vision_feature_layer": feature_layers,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": text["tie_word_embeddings"],
        "text_config": text,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": size("embedding_length")?,
            "intermediate_size": size("feed_forward_length")?,
            "num_hidden_layers": layers,
            "num_attention_heads": size("attention.head_count")?,
            "image_size": size("image_size")?,
            "patch_size": size("patch_size")?,
            "hidden_act": hidden_act,
            "layer_norm_eps": eps.unwrap_or(1e-5),
        },
    }))
}

/// An adapter has a model's architecture, but neither its sizes nor its tensors.
fn refuse_adapter(file: &Gguf) -> Result<()> {
    let adapter = file.str("adapter.type")?;
    if adapter.is_none() && file.str("general.type")? != Some("adapter") {
        return Ok(());
    }
    let cure = "merge it into its base model (llama-export-lora) and convert that";
    Err(Error::unsupported("general.type", format!("this is an adapter ({}): {cure}", adapter.unwrap_or("lora"))))
}

fn check_projector(mmproj: &Gguf) -> Result<()> {
    refuse_adapter(mmproj)?;
    let architecture = mmproj.str("general.architecture")?;
    if architecture != Some("clip") {
        let problem = format!(
            "says {} in the --mmproj file, which is no vision tower with a projector (`clip`)",
            said(architecture)
        );
        return Err(Error::unsupported("general.architecture", problem));
    }
    let projector = match mmproj.str("clip.vision.projector_type")? {
        Some(kind) => Some(kind),
        None => mmproj.str("clip.projector_type")?,
    };
    let llava = mmproj.bool("clip.has_llava_projector")?;
    if projector.is_some_and(|kind| kind != "mlp") || (projector.is_none() && llava != Some(true)) {
        let problem = format!("says {}; only LLaVA-1.5's `mlp` is converted", said(projector));
        return Err(Error::unsupported("clip.projector_type", problem));
    }
    let tiles = mmproj.array("clip.vision.image_grid_pinpoints")?.is_some_and(|pinpoints| !pinpoints.is_empty());
    if tiles || mmproj.str("clip.vision.mm_patch_merge_type")?.is_some_and(|kind| kind != "flat") {
        let problem = "pictures are cut into tiles: this is LLaVA-1.6, only LLaVA-1.5 is converted";
        return Err(Error::unsupported("clip.vision.mm_patch_merge_type", problem));
    }
    if mmproj.tensors.contains_key("v.patch_embd.bias") || !mmproj.tensors.contains_key("v.class_embd") {
        let problem = "the vision tower is no CLIP (it has a patch bias, or no class embedding)";
        return Err(Error::unsupported("v.class_embd", problem));
    }
    Ok(())
}

/// What ends an answer: the tokens of `rows` that the file names for it.
pub fn generation(model: &Gguf, rows: usize) -> Result<Value> {
    let mut generation = Map::new();
    let mut ends = Vec::new();
    for key in ["eos", "eot", "eom"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        let Some(id) = model.u64(&key)? else { continue };
        if id >= rows as u64 {
            return Err(broken(&format!("metadata `{key}`"), format!("{id} is no token of {rows}")));
        }
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    if !ends.is_empty() {
        generation.insert("eos_token_id".into(), json!(ends));
    }
    if let Some(id) = model.u64("tokenizer.ggml.bos_token_id")? {
        generation.insert("bos_token_id".into(), json!(id));
    }
    Ok(generation.into())
}

/// The image processor's settings: CLIP's own, with the file's size, mean and deviation.
pub fn preprocessor(mmproj: &Gguf, size: usize) -> Result<Value> {
    let mut settings = crate::convert::clip_preprocessor(size);
    for (key, field) in [("clip.vision.image_mean", "image_mean"), ("clip.vision.image_std", "image_std")] {
        if let Some(numbers) = mmproj.numbers(key)? {
            // Stored as f32, of which the shortest decimal is what was meant.
            let numbers: Vec<Value> =
                numbers.iter().map(|number| json!((*number as f32).to_string().parse::<f64>().ok())).collect();
            settings[field] = numbers.into();
        }
    }
    Ok(settings)
}
