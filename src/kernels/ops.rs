//! The operations as those of a backend of Burn's: one method each, and which device does it how.

#![allow(clippy::unused_unit, reason = "what `backend_extension` makes of an operation without a result")]

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Cube, Dispatch, ExtensionType, backend_extension};
use burn::tensor::Tensor;

use super::*;
use crate::device::Buffer;
use crate::device::gpu::GpuTensor;

/// A tensor an operation may go without; `Option`, in the form `backend_extension` carries across backends.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    Present(FloatTensor<B>),
    Absent,
}

impl Operand<Cube> {
    pub(super) fn into_option(self) -> Option<GpuTensor> {
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
#[backend_extension(Cube)]
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
    fn sample(logits: FloatTensor<Self>, params: Buffer, seen: Buffer, tokens: Buffer, state: Buffer) -> ();
}

impl LlavaOps for Cube {
    fn linear(
        x: FloatTensor<Self>,
        weight: Buffer,
        bias: Operand<Self>,
        residual: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        linear::launch(x, &weight, bias.into_option(), residual.into_option(), layout, act)
    }

    fn embedding(ids: IntTensor<Self>, weight: Buffer, layout: WeightLayout, start: usize) -> FloatTensor<Self> {
        embedding::launch(ids, &weight, layout, start)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        rms_norm::launch(x, weight, eps)
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        layer_norm::launch(x, weight, bias, eps)
    }

    fn linear_gated(
        x: FloatTensor<Self>,
        weight: Buffer,
        bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        linear::launch_gated(x, &weight, bias.into_option(), layout, act)
    }

    fn linear_rope_cache(
        x: FloatTensor<Self>,
        weight: Buffer,
        bias: Operand<Self>,
        rope: FloatTensor<Self>,
        kv: KvCache,
        state: Buffer,
        layout: WeightLayout,
        heads: Heads,
    ) -> FloatTensor<Self> {
        linear::launch_rope_cache(x, &weight, bias.into_option(), rope, &kv, &state, layout, heads)
    }

    fn attention(q: FloatTensor<Self>, kv: KvCache, state: Buffer, heads: Heads) -> FloatTensor<Self> {
        attention::launch(q, &kv, &state, heads)
    }

    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        attention::launch_full(qkv, heads)
    }

    fn sample(logits: FloatTensor<Self>, params: Buffer, seen: Buffer, tokens: Buffer, state: Buffer) {
        sample::launch(logits, &params, &seen, &tokens, &state)
    }
}
