//! What is found out about the variants of operations on a device.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{KvCache, Weight};

/// The decoder's own weights and caches, over which launches are timed in turn: no cache of the GPU holds what the next
/// one reads, unless it does so in an answer too.
pub struct TuneWork<'a> {
    /// A matrix of each layer.
    pub weights: Vec<&'a Weight>,
    /// Gate and up of each layer.
    pub gated: Vec<&'a Weight>,
    /// Of each layer.
    pub caches: Vec<&'a KvCache>,
}

/// What was found about one operation.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    pub variant: &'static str,
    /// Microseconds of a launch, for each variant that was timed; nothing where there was no choice.
    pub microseconds: BTreeMap<&'static str, f64>,
    /// Variants that failed the comparison on this adapter.
    pub wrong: Vec<&'static str>,
}

/// By operation: `linear_vec`, `linear_few`, `linear_mat`, `linear_norm`, `attention_decode`, `attention_flash`.
pub type Variants = BTreeMap<&'static str, Chosen>;
