//! The operations on a CPU: tensors and buffers as slices, for the kernels.

use std::collections::BTreeMap;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{CacheMut, Matrix, Queries, Stored, Visible};
use crate::activation::Activation;
use crate::device::cpu::{CpuTensor, Memory, contiguous, floats, ids, tensor};
use crate::device::{Buffer, Opened};
use crate::error::Result;
use crate::kernels::{
    DeviceOps, Heads, KvCache, KvFormat, LlavaOps, ModelShapes, Operand, Precision, TuneWork, Variants, WeightLayout,
    Window,
};

/// Words of a weight's buffer as the matrix they are.
fn matrix(words: &[u32], layout: WeightLayout) -> Matrix<'_> {
    Matrix::new(bytemuck::cast_slice(words), layout.format, layout.rows, layout.cols)
}

/// `[n, cols]` of a matrix.
fn dims(x: &CpuTensor) -> [usize; 2] {
    x.layout().shape().dims()
}

fn present(operand: Operand<Flex>) -> Option<CpuTensor> {
    operand.into_option().map(contiguous)
}

/// `x`, normalized where there is a norm.
fn normed(x: CpuTensor, norm: Operand<Flex>, eps: f32) -> CpuTensor {
    match norm.into_option() {
        Some(weight) => Flex::rms_norm(x, weight, eps),
        None => contiguous(x),
    }
}

impl LlavaOps for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight: Buffer,
        bias: Operand<Self>,
        residual: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        let (x, bias, residual) = (contiguous(x), present(bias), present(residual));
        let [n, cols] = dims(&x);
        assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
        let (bias, residual) = (bias.as_ref().map(floats), residual.as_ref().map(floats));
        let out = super::linear(floats(&x), matrix(&weight.cpu().read(), layout), bias, residual, act);
        tensor(out, [n, layout.rows])
    }

    fn embedding(tokens: IntTensor<Self>, weight: Buffer, layout: WeightLayout, start: usize) -> FloatTensor<Self> {
        rows(&ids(tokens), &weight, layout, start)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let [n, cols] = dims(&x);
        assert_eq!(floats(&weight).len(), cols, "rms_norm: weight of rows of {cols}");
        tensor(super::rms_norm(floats(&x), floats(&weight), eps), [n, cols])
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        let [n, cols] = dims(&x);
        assert_eq!(floats(&weight).len(), cols, "layer_norm: weight of rows of {cols}");
        assert_eq!(floats(&bias).len(), cols, "layer_norm: bias of rows of {cols}");
        tensor(super::layer_norm(floats(&x), floats(&weight), floats(&bias), eps), [n, cols])
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
        let (x, bias) = (normed(x, norm, eps), present(bias));
        let [n, cols] = dims(&x);
        assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
        assert!(layout.rows.is_multiple_of(2), "linear_gated: as many rows of gate as of up");
        let out = super::linear_gated(floats(&x), matrix(&weight.cpu().read(), layout), bias.as_ref().map(floats), act);
        tensor(out, [n, layout.rows / 2])
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
        heads.check();
        kv.check(heads);
        let (x, bias, rope) = (normed(x, norm, eps), present(bias), contiguous(rope));
        let [n, cols] = dims(&x);
        assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
        let rows = (heads.heads + 2 * heads.kv_heads) * heads.head_dim;
        assert_eq!(layout.rows, rows, "linear_rope_cache: rows of q, k and v together");
        assert_eq!(dims(&rope), [kv.capacity, heads.head_dim], "linear_rope_cache: shape of the table");
        let position = state.cpu().read()[0] as usize;
        let (mut k, mut v) = (kv.k.cpu().write(), kv.v.cpu().write());
        let cache = CacheMut { k: &mut k, v: &mut v, format: kv.format, position };
        let weight = weight.cpu().read();
        let bias = bias.as_ref().map(floats);
        let out = super::linear_rope_cache(floats(&x), matrix(&weight, layout), bias, floats(&rope), cache, heads);
        tensor(out, [n, heads.heads * heads.head_dim])
    }

    fn attention(q: FloatTensor<Self>, kv: KvCache, state: Buffer, heads: Heads) -> FloatTensor<Self> {
        heads.check();
        kv.check(heads);
        let q = contiguous(q);
        let [n, width] = dims(&q);
        assert_eq!(width, heads.heads * heads.head_dim, "attention: columns of the queries");
        let position = state.cpu().read()[0] as usize;
        let (k, v) = (kv.k.cpu().read(), kv.v.cpu().read());
        let stride = kv.format.width(heads.kv_heads * heads.head_dim);
        let [k, v] = [&k, &v].map(|words| Stored { words, format: kv.format, stride, offset: 0 });
        let queries = Queries { values: floats(&q), stride: width, count: n };
        let visible = Visible::Causal { position, capacity: kv.capacity };
        tensor(super::attention(queries, k, v, visible, heads), [n, width])
    }

    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        heads.check();
        assert_eq!(heads.kv_heads, heads.heads, "attention_full: every head has its own keys and values");
        let qkv = contiguous(qkv);
        let [n, stride] = dims(&qkv);
        let width = heads.heads * heads.head_dim;
        assert_eq!(stride, 3 * width, "attention_full: columns of q, k and v together");
        let values = floats(&qkv);
        let words = bytemuck::cast_slice(values);
        let [k, v] = [width, 2 * width].map(|offset| Stored { words, format: KvFormat::F32, stride, offset });
        let queries = Queries { values, stride, count: n };
        tensor(super::attention(queries, k, v, Visible::All(n), heads), [n, width])
    }

    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Operand<Self>,
        window: Window,
        act: Activation,
    ) -> FloatTensor<Self> {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), present(bias));
        let ([places, channels], bias) = (dims(&weight), bias.as_ref().map(floats));
        window.check(dims(&x), [places, channels], bias.map(<[f32]>::len));
        let out = super::depthwise(floats(&x), floats(&weight), bias, window, act);
        tensor(out, [window.outputs(), channels])
    }

    fn sample(logits: FloatTensor<Self>, params: Buffer, seen: Buffer, tokens: Buffer, state: Buffer) {
        let logits = contiguous(logits);
        let logits = floats(&logits);
        let [mut seen, mut tokens, mut state] = [&seen, &tokens, &state].map(|buffer| buffer.cpu().write());
        assert_eq!(seen.len(), logits.len(), "sample: one word of `seen` for each of {} logits", logits.len());
        super::sample(logits, &params.cpu().read(), &mut seen, &mut tokens, &mut state);
    }
}

impl DeviceOps for Flex {
    fn embed_drawn(state: &Memory, weight: &Buffer, layout: WeightLayout, start: usize) -> CpuTensor {
        let drawn = state.read()[2];
        rows(&[drawn], weight, layout, start)
    }

    fn advance(state: &Memory, by: usize) {
        state.write()[0] += by as u32;
    }

    fn sample_lanes() -> usize {
        1
    }

    /// There is one way to do each, but for single rows in [`Precision::Fast`].
    async fn tune(
        _opened: &Opened,
        _shapes: &ModelShapes,
        precision: Precision,
        _work: &TuneWork<'_>,
        _stored: &BTreeMap<String, String>,
    ) -> Result<Variants> {
        super::set_precision(precision);
        Ok(Variants::new())
    }

    fn select(_: &Variants) {}
}

/// Rows by their ids, of a part of the table that begins with the id `start`; zeros for ids that another part holds.
fn rows(ids: &[u32], weight: &Buffer, layout: WeightLayout, start: usize) -> CpuTensor {
    let out = super::embedding(ids, &matrix(&weight.cpu().read(), layout), start);
    tensor(out, [ids.len(), layout.cols])
}
