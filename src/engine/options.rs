//! How a model is loaded.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kernels::{KvFormat, Precision};

/// Options of [`Engine::load`](super::Engine::load).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// Positions the key-value cache holds: picture, prompt and answer together.
    pub context_length: Option<usize>,
    /// How the cache stores keys and values: f16 halves its memory, and what attention reads per token, at a small loss.
    /// Where absent it is f16 if the heads' size is a multiple of 8, else f32.
    pub kv_cache: Option<KvFormat>,
    /// Which kernel variants may run; where absent those that suit the adapter ([`Precision::suited`]).
    pub precision: Option<Precision>,
    /// Variants chosen on this adapter before, by operation: they are not timed again.
    pub variants: BTreeMap<String, String>,
}
