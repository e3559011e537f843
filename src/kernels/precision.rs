//! How exactly products are computed.

use serde::{Deserialize, Serialize};

use crate::device::Adapter;

/// To how many bits the inputs of products may be rounded, where that is faster; sums are in f32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// To none: they are f32 throughout.
    Exact,
    /// The weights of products with many rows (a prompt, a picture) to f16, of which the largest is 65504; with subgroup matrices
    /// what they are multiplied with, too. On CPUs as [`Precision::Exact`].
    Half,
    /// Those too, and to 8 bits, as other engines do by default.
    Fast,
}

impl Precision {
    /// What is taken where nothing is asked for: f16 is what GPUs that have it are made for.
    pub fn suited(adapter: &Adapter) -> Self {
        if adapter.features.f16 && !adapter.software { Self::Half } else { Self::Exact }
    }
}
