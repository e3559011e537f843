//! The operations as those of a backend of Burn's, and which backends have them. How each of them does it is in a folder of its own
//! (`gpu/`, `cpu/`).

#![allow(clippy::unused_unit, reason = "what `backend_extension` makes of an operation without a result")]

use std::collections::BTreeMap;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Device, Tensor};

use super::{Heads, KvCache, ModelShapes, TuneWork, Variants, WeightLayout, Window};
use crate::activation::Activation;
use crate::device::{Buffer, Opened, Runtime, each_kind, kind};
use crate::error::Result;

/// A tensor an operation may go without; `Option`, in the form `backend_extension` carries across backends.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    Present(FloatTensor<B>),
    Absent,
}

impl<B: Backend> Operand<B> {
    pub(super) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Operand::Present(tensor) => Some(tensor),
            Operand::Absent => None,
        }
    }
}

impl Operand<Dispatch> {
    pub(super) fn of<const D: usize>(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Operand::Absent, |tensor| Operand::Present(tensor.into_dispatch()))
    }
}

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
    fn linear_gated(
        x: FloatTensor<Self>,
        weight: Buffer,
        #[extension_type] bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
    fn linear_rope_cache(
        x: FloatTensor<Self>,
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
        work: &TuneWork<'_>,
        stored: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<Variants>>;
    /// As [`select`](super::select).
    fn select(variants: &Variants);
}

pub(super) fn embed_drawn(state: &Buffer, weight: &Buffer, layout: WeightLayout, start: usize) -> Tensor<2> {
    each_kind!(Buffer, state, |B, state| Tensor::from_primitive::<B>(B::embed_drawn(state, weight, layout, start)))
}

pub(super) fn advance(state: &Buffer, by: usize) {
    each_kind!(Buffer, state, |B, state| B::advance(state, by))
}

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

/// Sets for this process what [`tune`] chose for a model, where another one was tuned for meanwhile.
pub fn select(device: &Device, variants: &Variants) {
    each_kind!(Kind, kind(device), |B, _| B::select(variants))
}
