//! The operations on the GPU: a launch each.

use std::collections::BTreeMap;

use burn::backend::Cube;
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{advance, attention, depthwise, embedding, layer_norm, linear, rms_norm, sample, tune};
use crate::activation::Activation;
use crate::device::gpu::GpuTensor;
use crate::device::{Buffer, Opened};
use crate::error::Result;
use crate::kernels::{
    DeviceOps, Heads, KvCache, LlavaOps, ModelShapes, Operand, Precision, TuneWork, Variants, WeightLayout, Window,
};

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
        norm: Operand<Self>,
        eps: f32,
        weight: Buffer,
        bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        let norm = norm.into_option().map(|weight| (weight, eps));
        linear::launch_gated(x, norm, &weight, bias.into_option(), layout, act)
    }

    fn linear_rope_cache(
        x: FloatTensor<Self>,
        norm: Operand<Self>,
        eps: f32,
        weight: Buffer,
        bias: Operand<Self>,
        rope: FloatTensor<Self>,
        kv: KvCache,
        state: Buffer,
        layout: WeightLayout,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let norm = norm.into_option().map(|weight| (weight, eps));
        linear::launch_rope_cache(x, norm, &weight, bias.into_option(), rope, &kv, &state, layout, heads)
    }

    fn attention(q: FloatTensor<Self>, kv: KvCache, state: Buffer, heads: Heads) -> FloatTensor<Self> {
        attention::launch(q, &kv, &state, heads)
    }

    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        attention::launch_full(qkv, heads)
    }

    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Operand<Self>,
        window: Window,
        act: Activation,
    ) -> FloatTensor<Self> {
        depthwise::launch(x, weight, bias.into_option(), window, act)
    }

    fn sample(logits: FloatTensor<Self>, params: Buffer, seen: Buffer, tokens: Buffer, state: Buffer) {
        sample::launch(logits, &params, &seen, &tokens, &state)
    }
}

impl DeviceOps for Cube {
    fn embed_drawn(state: &GpuTensor, weight: &Buffer, layout: WeightLayout, start: usize) -> FloatTensor<Self> {
        embedding::launch_drawn(state, weight, layout, start)
    }

    fn advance(state: &GpuTensor, by: usize) {
        advance::launch(state, by)
    }

    fn sample_lanes() -> usize {
        sample::lanes()
    }

    async fn tune(
        opened: &Opened,
        shapes: &ModelShapes,
        precision: Precision,
        work: &TuneWork<'_>,
        stored: &BTreeMap<String, String>,
    ) -> Result<Variants> {
        tune::tune(opened, shapes, precision, work, stored).await
    }

    fn select(variants: &Variants) {
        tune::select(variants);
    }
}
