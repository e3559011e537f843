//! Every hot operation, as one of Burn's backends for each kind of device.
//!
//! One file per operation: what it is, and a `naive` version on plain slices that the tests compare with. How a GPU does it (a
//! hand-written WGSL shader) is in `gpu/`, how a CPU does it (vectors and threads) in `cpu/`, under the same name.
//!
//! Activations are f32 and row-major. Buffers that outlive a step (caches, `state`, `tokens`, `seen`) are changed in place, so that
//! a recorded step finds its next input where it left it.
//!
//! `state` is four words: `[position, step, token, unused]`. `position` is the cache row of the first row of the
//! current input, `step` the number of tokens drawn, `token` the last one drawn.

mod advance;
#[cfg(test)]
pub(crate) mod alone;
mod attention;
#[cfg(feature = "cpu")]
pub mod cpu;
mod depthwise;
mod embedding;
#[cfg(feature = "gpu")]
mod gpu;
mod heads;
mod kv_cache;
mod layer_norm;
mod linear;
mod ops;
mod rms_norm;
mod rope;
mod sample;
mod shapes;
mod variants;
mod weight;
mod window;

use burn::backend::Dispatch;
use burn::tensor::{Device, Int, Tensor};

use crate::device::Buffer;
use crate::quant::Format;
use ops::Operand;

pub use crate::activation::Activation;
#[cfg(feature = "gpu")]
pub use crate::device::gpu::Shader;

pub use advance::advance;
pub use attention::{attention, attention_full};
pub use depthwise::depthwise;
pub use embedding::{embed_drawn, embedding};
#[cfg(feature = "gpu")]
pub use gpu::{
    AttentionUse, AttentionVariant, LinearUse, LinearVariant, attention_variant, linear_variant, set_attention_variant,
    set_linear_variant, shaders,
};
pub use heads::Heads;
pub use kv_cache::{KvCache, KvFormat};
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_gated, linear_rope_cache};
pub use ops::{DeviceOps, LlavaOps, select, tune};
pub use rms_norm::rms_norm;
pub use rope::rope_table;
pub use sample::{BROKEN_LOGITS, sample, sample_lanes};
pub use shapes::{ModelShapes, NormShape, Precision, VisionShapes};
pub use variants::{Chosen, TuneWork, Variants};
pub use weight::{Weight, WeightLayout};
pub use window::Window;

/// The operations on plain slices: slow, obvious, and what the GPU is compared with.
pub mod naive {
    pub use super::attention::naive as attention;
    pub use super::attention::naive_full as attention_full;
    pub use super::depthwise::naive as depthwise;
    pub use super::embedding::naive as embedding;
    pub use super::layer_norm::naive as layer_norm;
    pub use super::linear::{naive as linear, naive_bytes as bytes, naive_gated as gated};
    pub use super::rms_norm::naive as rms_norm;
    pub use super::rope::{naive as rope_cache, naive_table as rope_table};
    pub use super::sample::naive as sample;
}

/// From this many rows on every operation goes a way where a row's results are the same bits whatever rows run
/// beside it.
pub const MANY_ROWS: usize = match linear::MIN_FEW_ROWS > attention::MAX_DECODE_QUERIES {
    true => linear::MIN_FEW_ROWS,
    false => attention::MAX_DECODE_QUERIES + 1,
};
