//! Every hot operation, as one of Burn's backends for each kind of device.
//!
//! One file per operation: what it is, and a `naive` version on plain slices that the tests compare with. How a GPU does it (a
//! hand-written WGSL shader) is in `gpu/`, how a CPU does it (vectors and threads) in `cpu/`, under the same name. [`LlavaOps`] lists
//! them, and the backends that have them.
//!
//! Activations are f32 and row-major. Buffers that outlive a step (caches, `state`, `tokens`, `seen`) are changed in place, so that
//! a recorded step finds its next input where it left it.
//!
//! `state` is four words: `[position, step, token, unused]`. `position` is the cache row of the first row of the
//! current input, `step` the number of tokens drawn, `token` the last one drawn.

#![allow(clippy::unused_unit, reason = "what `backend_extension` makes of an operation without a result")]

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
mod many_rows;
mod operand;
mod precision;
mod rms_norm;
mod rope;
mod sample;
mod shapes;
mod tune;
mod variants;
mod weight;
mod window;

use std::collections::BTreeMap;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Device, Int, Tensor};

use crate::device::{Buffer, Opened, Runtime};
use crate::error::Result;
use crate::quant::Format;
use operand::Operand;

pub use crate::activation::Activation;
#[cfg(feature = "gpu")]
pub use crate::device::gpu::Shader;

pub use advance::advance;
pub use attention::{attention, attention_full};
pub use depthwise::depthwise;
pub use embedding::{embed_drawn, embedding};
#[cfg(feature = "gpu")]
pub use gpu::{
    AttentionUse, AttentionVariant, LinearUse, LinearVariant, NormVariant, attention_variant, linear_variant,
    norm_variant, set_attention_variant, set_linear_variant, set_norm_variant, shaders,
};
pub use heads::Heads;
pub use kv_cache::{KvCache, KvFormat};
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_gated, linear_rope_cache};
pub use many_rows::MANY_ROWS;
pub use precision::Precision;
pub use rms_norm::{RmsNorm, rms_norm};
pub use rope::rope_table;
pub use sample::{BROKEN_LOGITS, sample, sample_lanes};
pub use shapes::{ModelShapes, NormShape, VisionShapes};
pub use tune::{select, tune};
pub use variants::{Chosen, TuneWork, Variants};
pub use weight::{Weight, WeightLayout};
pub use window::Window;

/// The operations on primitives of a backend; the public functions of this module are the same on tensors.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex: cfg(feature = "cpu"))]
pub trait LlavaOps: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: Buffer,
        #[extension_type] bias: Operand<Self>,
        #[extension_type] residual: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self>;
    fn embedding(ids: IntTensor<Self>, weight: Buffer, layout: WeightLayout, start: usize) -> FloatTensor<Self>;
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
    fn linear_gated(
        x: FloatTensor<Self>,
        #[extension_type] norm: Operand<Self>,
        eps: f32,
        weight: Buffer,
        #[extension_type] bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
    fn linear_rope_cache(
        x: FloatTensor<Self>,
        #[extension_type] norm: Operand<Self>,
        eps: f32,
        weight: Buffer,
        #[extension_type] bias: Operand<Self>,
        rope: FloatTensor<Self>,
        kv: KvCache,
        state: Buffer,
        layout: WeightLayout,
        heads: Heads,
    ) -> FloatTensor<Self>;
    fn attention(q: FloatTensor<Self>, kv: KvCache, state: Buffer, heads: Heads) -> FloatTensor<Self>;
    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self>;
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Operand<Self>,
        window: Window,
        act: Activation,
    ) -> FloatTensor<Self>;
    fn sample(logits: FloatTensor<Self>, params: Buffer, seen: Buffer, tokens: Buffer, state: Buffer) -> ();
}

/// What a kind of device does beside: operations on buffers alone, which tell the device, and the choice of how it does all others.
pub trait DeviceOps: Runtime {
    fn embed_drawn(state: &Self::Memory, weight: &Buffer, layout: WeightLayout, start: usize) -> FloatTensor<Self>;
    fn advance(state: &Self::Memory, by: usize);
    /// In how many runs a draw goes through the vocabulary: token `i` is in run `i % lanes`.
    fn sample_lanes() -> usize;
    /// As [`tune`](super::tune).
    fn tune(
        opened: &Opened,
        shapes: &ModelShapes,
        precision: Precision,
        work: &TuneWork<'_>,
        stored: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<Variants>>;
    /// As [`select`](super::select).
    fn select(variants: &Variants);
}

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
