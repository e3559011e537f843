//! Kernels compared with their naive versions at load, on shapes that are multiples of no tile: drivers exist that compile
//! a shader without a word and compute something else. With outliers too, as real layers have them: what overflows
//! on the way is no number.
//!
//! Buffers are each comparison's own, and no placeholder is bound: a launch that fails takes those it was given with it.

use std::collections::BTreeSet;

use burn::tensor::TensorData;

use super::linear_variant::MIN_MAT_ROWS;
use super::*;
use crate::device;
use crate::error::Result;
use crate::quant::CHUNK;

/// What the inputs of a comparison are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// From -1 to 1.
    Plain,
    /// The same, with some numbers beyond the largest f16.
    Outliers,
}

impl Inputs {
    /// Numbers without a pattern that a wrong index could meet by chance.
    fn numbers(self, len: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| ((i ^ seed).wrapping_mul(2654435761) >> 8) as f32 / 8388608.0 - 1.0;
        let scale = |i: u32| if self == Inputs::Outliers && i % 37 == 5 { 1e5 } else { 1.0 };
        (0..len as u32).map(|i| number(i) * scale(i)).collect()
    }
}

fn rows(values: &[f32], cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / cols, cols]), device)
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// Whether `actual` is within `tolerance` of `expected`, relative to the largest number expected.
fn close(actual: &[f32], expected: &[f32], tolerance: f32) -> bool {
    let magnitude = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    // Written so that a NaN is not close.
    actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * magnitude)
}

/// The selected variant of a linear layer for `n` rows on weights of one format.
pub struct Linear<'a> {
    n: usize,
    format: Format,
    inputs: Inputs,
    /// What the variant makes of x, and how close it comes.
    read: Vec<f32>,
    tolerance: f32,
    x: Tensor<2>,
    norm: Option<Tensor<1>>,
    device: &'a Device,
}

/// Columns of x: three blocks; of plain numbers half a step of the widest tiles beside whole ones.
fn cols(format: Format) -> usize {
    if format.is_quantized() { 3 * format.block() } else { 5 * CHUNK / 2 }
}

/// Of norms.
const EPS: f32 = 1e-5;

/// Rows of the weight.
const OUT: usize = 67;

/// Rows of x.
fn rows_of(use_: LinearUse) -> usize {
    match use_ {
        LinearUse::Vec => 1,
        LinearUse::Few => 9,
        LinearUse::Mat => MIN_MAT_ROWS + 1,
    }
}

/// Whether a row among few comes out as the same bits as among many, in the selected variants of both.
pub async fn few_as_many(format: Format, device: &Device) -> Result<bool> {
    let (few, many) = (rows_of(LinearUse::Few), rows_of(LinearUse::Mat));
    let cols = cols(format);
    let bytes = format.encode("weight", OUT, cols, &Inputs::Plain.numbers(OUT * cols, 1))?;
    let weight = Weight::from_bytes(bytes, format, OUT, cols, device);
    let x = Inputs::Plain.numbers(many * cols, 2);
    let mut outputs = Vec::new();
    for n in [few, many] {
        let out = linear(rows(&x[..n * cols], cols, device), &weight, None, None, Activation::None);
        outputs.push(device::read_floats(out).await?.into_iter().map(f32::to_bits).take(few * OUT).collect::<Vec<_>>());
    }
    Ok(outputs[0] == outputs[1])
}

impl<'a> Linear<'a> {
    pub fn new(use_: LinearUse, format: Format, inputs: Inputs, device: &'a Device) -> Self {
        let x = inputs.numbers(rows_of(use_) * cols(format), 2);
        Self::of(use_, format, inputs, &x, None, device)
    }

    /// The same with a norm ahead, for layers that take one.
    pub fn normed(use_: LinearUse, format: Format, inputs: Inputs, device: &'a Device) -> Self {
        let x = inputs.numbers(rows_of(use_) * cols(format), 2);
        let weight = Inputs::Plain.numbers(cols(format), 9);
        Self::of(use_, format, inputs, &x, Some(&weight), device)
    }

    fn of(
        use_: LinearUse,
        format: Format,
        inputs: Inputs,
        x: &[f32],
        norm: Option<&[f32]>,
        device: &'a Device,
    ) -> Self {
        let normed = norm.map_or(x.to_vec(), |weight| naive::rms_norm(x, weight, EPS));
        let (read, tolerance) = match linear_variant(use_) {
            variant if variant.rounds_to_bytes() && variant.fits(format) => (naive::bytes(&normed), 1e-2),
            variant if variant.precision() == Precision::Half => (normed, 1e-2),
            _ => (normed, 1e-4),
        };
        let norm = norm.map(|weight| vector(weight, device));
        Self { n: rows_of(use_), format, inputs, read, tolerance, x: rows(x, cols(format), device), norm, device }
    }

    fn norm(&self) -> Option<RmsNorm<'_>> {
        self.norm.as_ref().map(|weight| RmsNorm { weight, eps: EPS })
    }

    /// A weight of `out` rows, and the sums over it.
    fn weight(&self, out: usize) -> Result<(Weight, Vec<u8>)> {
        let cols = cols(self.format);
        let bytes = self.format.encode("weight", out, cols, &Inputs::Plain.numbers(out * cols, 1))?;
        Ok((Weight::from_bytes(bytes.clone(), self.format, out, cols, self.device), bytes))
    }

    fn sums(&self, bytes: &[u8], out: usize, bias: &[f32]) -> Vec<f32> {
        naive::linear(&self.read, bytes, self.format, (out, cols(self.format)), Some(bias), None, Activation::None)
    }

    /// `act(x Wᵀ + bias) + residual`.
    pub async fn sum(&self) -> Result<bool> {
        let (w, bytes) = self.weight(OUT)?;
        let (bias, residual) = (self.inputs.numbers(OUT, 3), self.inputs.numbers(self.n * OUT, 4));
        let act = Activation::QuickGelu;
        let residual_rows = rows(&residual, OUT, self.device);
        let actual = linear(self.x.clone(), &w, Some(&vector(&bias, self.device)), Some(residual_rows), act);
        let shape = (OUT, cols(self.format));
        let expected = naive::linear(&self.read, &bytes, self.format, shape, Some(&bias), Some(&residual), act);
        Ok(close(&device::read_floats(actual).await?, &expected, self.tolerance))
    }

    /// `act(gate) * up`.
    pub async fn gated(&self) -> Result<bool> {
        let (w, bytes) = self.weight(2 * OUT)?;
        let (bias, act) = (self.inputs.numbers(2 * OUT, 3), Activation::Silu);
        let actual = linear_gated(self.x.clone(), self.norm(), &w, Some(&vector(&bias, self.device)), act);
        let expected = naive::gated(&self.sums(&bytes, 2 * OUT, &bias), OUT, act);
        Ok(close(&device::read_floats(actual).await?, &expected, self.tolerance))
    }

    /// The rotation, and the write into a cache of `kv_cache`.
    pub async fn rope_cache(&self, kv_cache: KvFormat) -> Result<bool> {
        let (heads, position) = (Heads { heads: 3, kv_heads: 1, head_dim: 24 }, 2);
        let (out, capacity) = (5 * heads.head_dim, position + self.n);
        let (w, bytes) = self.weight(out)?;
        let (bias, frequencies) = (self.inputs.numbers(out, 3), Inputs::Plain.numbers(heads.head_dim / 2, 8));
        let bias_vector = Some(vector(&bias, self.device));
        let kv = KvCache::new(capacity, heads, kv_cache, self.device);
        let state = Buffer::from_words(&[position as u32, 0, 0, 0], self.device);
        let rope = rope_table(&frequencies, capacity, self.device);
        let (x, norm) = (self.x.clone(), self.norm());
        let q = linear_rope_cache(x, norm, &w, bias_vector.as_ref(), &rope, &kv, &state, heads);
        let (mut k, mut v) = (vec![0.0; capacity * heads.head_dim], vec![0.0; capacity * heads.head_dim]);
        let table = naive::rope_table(&frequencies, capacity);
        let expected = naive::rope_cache(&self.sums(&bytes, out, &bias), &table, &mut k, &mut v, position, heads);
        // The rows before the position were not written and hold anything.
        let written = position * heads.head_dim;
        let tolerance = if kv_cache == KvFormat::F16 { self.tolerance.max(1e-3) } else { self.tolerance };
        for (cache, expected) in [(kv.k, k), (kv.v, v)] {
            let actual = kv_cache.unpack(&cache.read().await?, heads.head_dim);
            if !close(&actual[written..], &expected[written..], tolerance) {
                return Ok(false);
            }
        }
        Ok(close(&device::read_floats(q).await?, &expected, self.tolerance))
    }
}

/// How much larger than plain numbers queries and values with outliers are: scores that leave little but the largest,
/// and values that an f16 cache can just hold.
fn attention_scales(inputs: Inputs) -> (f32, f32) {
    if inputs == Inputs::Outliers { (20.0, 6e4) } else { (1.0, 1.0) }
}

fn scaled(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    Inputs::Plain.numbers(len, seed).iter().map(|value| value * scale).collect()
}

/// The selected variant of attention of `n` queries over a cache.
pub async fn attention_over_cache(
    n: usize,
    heads: Heads,
    format: KvFormat,
    inputs: Inputs,
    device: &Device,
) -> Result<bool> {
    let (positions, width) = (77, heads.kv_heads * heads.head_dim);
    // Few heads are split over longer caches only.
    let capacity = if heads.heads < 4 { 600 } else { 80 };
    let (q_scale, v_scale) = attention_scales(inputs);
    let (k, v) = (scaled(capacity * width, 5, 1.0), scaled(capacity * width, 6, v_scale));
    let [k, v] = [k, v].map(|values| format.pack(&values, heads.head_dim));
    let cached = |words: &[u32]| Buffer::from_words(words, device);
    let kv = KvCache { k: cached(&k), v: cached(&v), capacity, format };
    let [k, v] = [k, v].map(|words| format.unpack(&words, heads.head_dim));
    let q = scaled(n * heads.heads * heads.head_dim, 7, q_scale);
    let position = positions - n;
    let state = Buffer::from_words(&[position as u32, 0, 0, 0], device);
    let actual = attention(rows(&q, heads.heads * heads.head_dim, device), &kv, &state, heads);
    Ok(close(&device::read_floats(actual).await?, &naive::attention(&q, &k, &v, position, heads), 1e-4))
}

/// The selected variant of attention of 37 positions over each other.
pub async fn attention_over_all(heads: Heads, inputs: Inputs, device: &Device) -> Result<bool> {
    let (q_scale, v_scale) = attention_scales(inputs);
    let width = heads.heads * heads.head_dim;
    let mut qkv = scaled(37 * 3 * width, 5, 1.0);
    for row in qkv.chunks_exact_mut(3 * width) {
        row[..width].iter_mut().for_each(|q| *q *= q_scale);
        row[2 * width..].iter_mut().for_each(|v| *v *= v_scale);
    }
    let actual = attention_full(rows(&qkv, 3 * width, device), heads);
    Ok(close(&device::read_floats(actual).await?, &naive::attention_full(&qkv, heads), 1e-4))
}

/// The operations of which there are no variants to choose from.
pub const WITHOUT_VARIANTS: [&str; 5] = ["rms_norm", "layer_norm", "depthwise", "embedding", "sample"];

/// One of [`WITHOUT_VARIANTS`], as this model runs it.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if a launch fails.
pub async fn without_variants(operation: &str, shapes: &ModelShapes, device: &Device) -> Result<bool> {
    match operation {
        "rms_norm" | "layer_norm" => norms_are_correct(operation, &shapes.norms, device).await,
        "depthwise" => match &shapes.vision {
            Some(vision) => depthwise_is_correct(&vision.depthwise, device).await,
            None => Ok(true),
        },
        "embedding" => embedding_is_correct(&shapes.head, device).await,
        "sample" => sample_is_correct(device).await,
        _ => unreachable!("`{operation}` has variants, or is none"),
    }
}

/// Of the norms that the model runs, those that are `operation`.
async fn norms_are_correct(operation: &str, norms: &[NormShape], device: &Device) -> Result<bool> {
    for inputs in [Inputs::Plain, Inputs::Outliers] {
        for norm in norms.iter().filter(|norm| norm.operation() == operation) {
            let (NormShape::RmsNorm(cols) | NormShape::LayerNorm(cols)) = *norm;
            let (x, weight) = (inputs.numbers(3 * cols, 1), Inputs::Plain.numbers(cols, 2));
            let bias = Inputs::Plain.numbers(cols, 3);
            let (x_rows, w, b) = (rows(&x, cols, device), vector(&weight, device), vector(&bias, device));
            let (actual, expected) = match norm {
                NormShape::RmsNorm(_) => (rms_norm(x_rows, &w, EPS), naive::rms_norm(&x, &weight, EPS)),
                NormShape::LayerNorm(_) => {
                    (layer_norm(x_rows, &w, &b, EPS), naive::layer_norm(&x, &weight, &bias, EPS))
                }
            };
            if !close(&device::read_floats(actual).await?, &expected, 1e-4) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Each of these kernels and strides, on a map that it leaves on all sides.
async fn depthwise_is_correct(kernels: &BTreeSet<(usize, usize)>, device: &Device) -> Result<bool> {
    let (side, channels, act) = (11, 37, Activation::Gelu);
    for inputs in [Inputs::Plain, Inputs::Outliers] {
        for &(kernel, stride) in kernels {
            let window = Window::symmetric(side, kernel, stride);
            let x = inputs.numbers(side * side * channels, 1);
            let weight = Inputs::Plain.numbers(kernel * kernel * channels, 2);
            let bias = Inputs::Plain.numbers(channels, 3);
            let (x_rows, w) = (rows(&x, channels, device), rows(&weight, channels, device));
            let actual = depthwise(x_rows, &w, Some(&vector(&bias, device)), window, act);
            let expected = naive::depthwise(&x, &weight, Some(&bias), window, act);
            if !close(&device::read_floats(actual).await?, &expected, 1e-4) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn embedding_is_correct(formats: &[Format], device: &Device) -> Result<bool> {
    for &format in formats {
        let cols = cols(format);
        let bytes = format.encode("table", OUT, cols, &Inputs::Plain.numbers(OUT * cols, 1))?;
        let table = Weight::from_bytes(bytes.clone(), format, OUT, cols, device);
        let ids = [66, 0, 31, 32, 99];
        let actual = device::read_floats(embedding(Tensor::from_data(ids, device), &table)).await?;
        if !close(&actual, &naive::embedding(&ids.map(|id| id as u32), &bytes, format, OUT, cols), 1e-6) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Greedy and drawn, with every setting; the last logits are no numbers.
async fn sample_is_correct(device: &Device) -> Result<bool> {
    let vocab = 300;
    for (temperature, top_k, top_p) in [(0f32, 0, 1f32), (0.7, 20, 0.9)] {
        let mut params = vec![(temperature == 0.0) as u32, temperature.to_bits(), top_k, top_p.to_bits(), 7, 9];
        params.extend([1.3f32, 0.2, 0.1].map(f32::to_bits));
        let mut seen: Vec<u32> = (0..vocab).map(|token| token as u32 % 3 / 2).collect();
        let (mut tokens, mut state) = (vec![0; 4], vec![5, 0, 0, 0]);
        let [p, s, t, at] = [&params, &seen, &tokens, &state].map(|values| Buffer::from_words(values, device));
        for step in 0..4 {
            let mut logits = scaled(vocab, step, 4.0);
            if step == 3 {
                logits[100] = f32::NAN;
            }
            sample(rows(&logits, vocab, device), &p, &s, &t, &at);
            naive::sample(&logits, sample_lanes(device), &params, &mut seen, &mut tokens, &mut state);
        }
        if (t.read().await?, at.read().await?) != (tokens, state) {
            return Ok(false);
        }
    }
    Ok(true)
}
