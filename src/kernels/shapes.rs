//! What of a model decides which kernels it runs.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Heads, KvFormat};
use crate::quant::Format;

/// What of a model decides which pipelines it runs and on how much: beside the adapter, what a choice of variants depends
/// on.
#[derive(Clone, Debug, Serialize)]
pub struct ModelShapes {
    /// Formats of the matrices of the decoder's layers.
    pub decoder: Vec<Format>,
    /// Formats of token embedding and head.
    pub head: Vec<Format>,
    /// All kinds and widths that run, the decoder's first.
    pub norms: Vec<NormShape>,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: Heads,
    pub vision: Option<VisionShapes>,
    /// Format of keys and values.
    pub kv_cache: KvFormat,
}

/// The part that sees.
#[derive(Clone, Debug, Serialize)]
pub struct VisionShapes {
    /// Formats of the matrices of vision tower and projector.
    pub formats: Vec<Format>,
    /// `None` without attention.
    pub heads: Option<Heads>,
    /// Kernels and strides of its depthwise convolutions.
    pub depthwise: BTreeSet<(usize, usize)>,
}

/// A norm of rows of this many numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormShape {
    RmsNorm(usize),
    LayerNorm(usize),
}

impl NormShape {
    /// The operation that computes it.
    pub fn operation(self) -> &'static str {
        match self {
            Self::RmsNorm(_) => "rms_norm",
            Self::LayerNorm(_) => "layer_norm",
        }
    }
}
