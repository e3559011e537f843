//! Which variants of operations a model runs with on its device.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ops::DeviceOps;
use super::{KvCache, ModelShapes, Weight};
use crate::device::{Opened, each_kind, kind};
use crate::error::Result;

/// The decoder's own weights and caches, over which launches are timed in turn: no cache of the GPU holds what the next
/// one reads, unless it does so in an answer too.
pub struct TuneWork<'a> {
    /// A matrix of each layer.
    pub weights: Vec<&'a Weight>,
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

/// By operation: `linear_vec`, `linear_mat`, `attention_decode`, `attention_flash`.
pub type Variants = BTreeMap<&'static str, Chosen>;

/// Chooses a variant for each hot operation and sets it for this process. `stored` are choices made on the same adapter
/// and for the same `shapes` before, by operation: they are compared, but nothing is timed. On a CPU there is one way to do
/// each.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device is lost, or if no variant of an operation computes correctly on it.
pub async fn tune(
    opened: &Opened,
    shapes: &ModelShapes,
    work: &TuneWork<'_>,
    stored: &BTreeMap<String, String>,
) -> Result<Variants> {
    each_kind!(Kind, kind(&opened.device), |B, _| B::tune(opened, shapes, work, stored).await)
}
