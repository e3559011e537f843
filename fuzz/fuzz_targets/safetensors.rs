//! The weights of a Hugging Face folder, read as the converter reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llava_web::convert::{Checkpoint, hf::HfCheckpoint, plan};
use llava_web::model::config::LlavaConfig;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    llava_web_fuzz::write("model.safetensors", bytes);
    let Ok(checkpoint) = HfCheckpoint::open(&llava_web_fuzz::path(""), true) else { return };
    let config = json!({
        "model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "num_hidden_layers": 1, "max_position_embeddings": 16,
        "vocab_size": 16, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    });
    let config = LlavaConfig::from_json(&config, &json!({})).expect("a configuration in order");
    for needed in plan(&config) {
        if let Some(shape) = checkpoint.shape(&needed.name) {
            let wanted = shape == needed.shape;
            let elements = needed.shape.iter().product();
            let read = checkpoint.values(&needed.name, 0, elements);
            assert!(!wanted || read.is_err() || read.is_ok_and(|values| values.len() == elements));
        }
    }
});
