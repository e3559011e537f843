//! What fits: positions of the caches and widths of intermediate results, by the configuration and the largest buffer of
//! the GPU; and what it comes to.

use serde::Serialize;

use crate::bundle::TensorEntry;
use crate::error::{Error, Result};
use crate::kernels::KvFormat;
use crate::model::config::{LlavaConfig, VisionConfig};

/// Positions kept when the caller does not say: the checkpoint's own limit, but no more than this.
const DEFAULT_CONTEXT: usize = 2048;
/// Most positions that run through the decoder at once: it bounds the activations (90 MB of gate and up for a 7B model)
/// and the time of a single launch.
pub const MAX_PREFILL: usize = 1024;

/// Bytes that a loaded model takes on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    /// All tensors, as they are stored.
    pub weights: u64,
    /// Keys and values of all positions.
    pub context: u64,
    /// Intermediate results of a picture or of a part of a prompt, and the table of rotations.
    pub work: u64,
    /// The sum.
    pub total: u64,
}

impl MemoryUse {
    /// What two models take, each with room of its own.
    pub fn and(self, other: Self) -> Self {
        Self {
            weights: self.weights + other.weights,
            context: self.context + other.context,
            work: self.work + other.work,
            total: self.total + other.total,
        }
    }
}

/// How many of the widest intermediate results there is room for: what an operation reads, writes and keeps for later, in an
/// allocator's pages, which are never full. Measured (tests/memory.rs).
const WORK_RESULTS: usize = 4;

/// The memory of a model with these `tensors`. All but these is in [`bundle::Memory`](crate::bundle::Memory) too, so that a page can
/// work it out; www/src/engine/memory.ts has the same rule.
pub fn memory_use(
    config: &LlavaConfig,
    tensors: &[TensorEntry],
    context_length: usize,
    kv_cache: KvFormat,
) -> MemoryUse {
    let text = &config.text;
    let weights = tensors.iter().flat_map(|tensor| &tensor.spans).map(|span| span.bytes as u64).sum();
    let row = 4 * kv_cache.width(text.key_value_size());
    let context = (2 * text.num_hidden_layers * context_length * row) as u64;
    let prompt = context_length.min(MAX_PREFILL) * text.widest_activation();
    let picture = config.vision.as_ref().map_or(0, |vision| vision.tower.largest_activation());
    let work = 4 * (WORK_RESULTS * prompt.max(picture) + context_length * text.head_dim) as u64;
    MemoryUse { weights, context, work, total: weights + context + work }
}

/// The format of keys and values: as asked for, or f16 where it fits the heads. www/src/engine/memory.ts has the same rule, because
/// a page asks before it downloads anything.
///
/// # Errors
/// [`Error::Input`] if the heads' size does not fit what is asked for.
pub fn kv_format_of(config: &LlavaConfig, asked: Option<KvFormat>) -> Result<KvFormat> {
    let head_dim = config.text.head_dim;
    match asked {
        None if KvFormat::F16.fits(head_dim) => Ok(KvFormat::F16),
        None => Ok(KvFormat::F32),
        Some(format) if format.fits(head_dim) => Ok(format),
        Some(_) => {
            let problem = format!("f16 needs heads whose size is a multiple of 8; this model's are {head_dim}");
            Err(Error::input("kv_cache", problem))
        }
    }
}

/// Positions of caches of this format: as `asked` for, or the model's own limit up to [`DEFAULT_CONTEXT`].
///
/// `max_binding` is the largest buffer of the GPU in bytes: a layer's keys are one, its values another. www/src/engine/memory.ts
/// has the same rule, because a page asks before it downloads anything.
///
/// # Errors
/// [`Error::Input`] with the largest that fits.
pub fn context_length_of(
    config: &LlavaConfig,
    asked: Option<usize>,
    kv_cache: KvFormat,
    max_binding: u64,
) -> Result<usize> {
    let text = &config.text;
    let trained = text.max_position_embeddings;
    // The table of rotations has a row for each position too.
    let row = 4 * kv_cache.width(text.key_value_size()).max(text.head_dim);
    let largest = trained.min(usize::try_from(max_binding / row as u64).unwrap_or(usize::MAX));
    // A text prompt takes one position at least.
    let prompt = config.image_tokens().max(1);
    let least = prompt + 1;
    let asked = asked.unwrap_or(largest.min(DEFAULT_CONTEXT));
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
pub fn check_activations(config: &LlavaConfig, context_length: usize, max_binding: u64) -> Result<()> {
    let refuse = |what: &str, [rows, cols]: [usize; 2]| match 4 * rows as u64 * cols as u64 {
        bytes if bytes <= max_binding => Ok(()),
        bytes => Err(Error::Gpu(format!(
            "{what} takes {bytes} bytes, and a buffer of this GPU may have {max_binding}: use another GPU or a smaller model"
        ))),
    };
    if let Some(VisionConfig { tower, .. }) = &config.vision {
        let of = "`vision_config.image_size`";
        refuse(&format!("what the first layer reads of a picture of {of}"), tower.patches())?;
        refuse(&format!("a layer of the vision tower on a picture of {of}"), tower.largest_result())?;
    }
    let widest = config.text.widest_activation();
    let what = "a layer's `text_config.intermediate_size` or heads, over a part of a prompt,";
    refuse(what, [context_length.min(MAX_PREFILL), widest])
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
    fn a_context_beyond_the_model_or_the_gpu_is_refused_with_the_largest_that_fits() {
        let text = json!({"max_position_embeddings": 16384});
        let config =
            LlavaConfig::from_json(&json!({"model_type": "llava", "text_config": text}), &Value::Null).unwrap();
        let fits =
            |context_length, kv_cache, max_binding| context_length_of(&config, context_length, kv_cache, max_binding);
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

    #[test]
    fn keys_and_values_are_f16_where_that_fits_the_heads() {
        let format = |head_dim: usize, asked| {
            let json =
                json!({"model_type": "llama", "hidden_size": 256, "num_attention_heads": 8, "head_dim": head_dim});
            kv_format_of(&LlavaConfig::from_json(&json, &Value::Null).unwrap(), asked)
        };
        assert_eq!(format(64, None).unwrap(), KvFormat::F16);
        assert_eq!(format(12, None).unwrap(), KvFormat::F32);
        assert_eq!(format(64, Some(KvFormat::F32)).unwrap(), KvFormat::F32);
        let error = format(12, Some(KvFormat::F16)).unwrap_err().to_string();
        assert!(error.contains("`kv_cache`") && error.contains("are 12"), "{error}");
    }

    /// LLaVA-1.5-7B by hand.
    #[test]
    fn memory_is_weights_cache_and_the_largest_of_what_is_between() {
        let text = json!({"max_position_embeddings": 4096, "vocab_size": 32064});
        let config =
            LlavaConfig::from_json(&json!({"model_type": "llava", "text_config": text}), &Value::Null).unwrap();
        let entry = |bytes| TensorEntry {
            name: String::new(),
            dtype: crate::quant::Format::F32,
            shape: Vec::new(),
            spans: vec![crate::bundle::Span { chunk: 0, offset: 0, bytes }],
        };
        let memory = memory_use(&config, &[entry(100), entry(28)], 2048, KvFormat::F16);
        assert_eq!((memory.weights, memory.context), (128, 1 << 30));
        // 1024 positions with 11008 inner states; the table has a row for each position of the context.
        assert_eq!(memory.work, 4 * (4 * 1024 * 11008 + 2048 * 128));
        assert_eq!(memory.total, memory.weights + memory.context + memory.work);
        assert_eq!(memory_use(&config, &[], 2048, KvFormat::F32).context, 2 << 30);
    }
}
