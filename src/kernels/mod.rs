//! Every hot operation as a hand-written WGSL shader, launched as an operation of Burn's GPU backend.
//!
//! One file per operation: shape checks, a `naive` version on plain slices that the tests compare with, the launch; the
//! shader of the same name lies in `shaders/`. Activations are f32 and row-major. Buffers that outlive a step (caches,
//! `state`, `tokens`, `seen`) are changed in place, so that a recorded step finds its next input where it left it.
//!
//! `state` is four words: `[position, step, token, unused]`. `position` is the cache row of the first row of the
//! current input, `step` the number of tokens drawn, `token` the last one drawn.

mod advance;
mod attention;
mod attention_decode;
mod attention_flash;
mod check;
mod embedding;
mod layer_norm;
mod linear;
mod rms_norm;
mod rope;
mod sample;
mod tune;
mod weight;

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Cube, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

pub use crate::activation::Activation;
use crate::device;
use crate::device::gpu::GpuTensor;
pub use crate::device::gpu::Shader;
use crate::quant::Format;

pub use advance::advance;
pub use attention::{
    AttentionUse, AttentionVariant, attention, attention_full, attention_variant, set_attention_variant,
};
pub use embedding::{embed_drawn, embedding};
pub use layer_norm::layer_norm;
pub use linear::{
    LinearUse, LinearVariant, linear, linear_gated, linear_rope_cache, linear_variant, set_linear_variant,
};
pub use rms_norm::rms_norm;
pub use rope::rope_table;
pub use sample::{BROKEN_LOGITS, sample};
pub use tune::{Chosen, ModelShapes, NormShape, Precision, TuneWork, Variants, VisionShapes, tune};
pub use weight::{Weight, WeightLayout};

/// The operations on plain slices: slow, obvious, and what the GPU is compared with.
pub mod naive {
    pub use super::attention::naive as attention;
    pub use super::attention::naive_full as attention_full;
    pub use super::embedding::naive as embedding;
    pub use super::layer_norm::naive as layer_norm;
    pub use super::linear::{naive as linear, naive_bytes as bytes, naive_gated as gated};
    pub use super::rms_norm::naive as rms_norm;
    pub use super::rope::{naive as rope_cache, naive_table as rope_table};
    pub use super::sample::naive as sample;
}

/// How a [`KvCache`] stores its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KvFormat {
    #[default]
    F32,
    /// Two f16 in a word: word `d` of a head holds the elements `d` and `d + head_dim / 2`. Needs `head_dim` to be a
    /// multiple of 8.
    F16,
}

impl KvFormat {
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Whether heads of this size can be stored so.
    pub fn fits(self, head_dim: usize) -> bool {
        self == KvFormat::F32 || head_dim.is_multiple_of(8)
    }

    /// Words that hold `numbers` numbers.
    pub fn width(self, numbers: usize) -> usize {
        match self {
            KvFormat::F32 => numbers,
            KvFormat::F16 => numbers / 2,
        }
    }

    /// The words of a cache that hold these rows of heads, as floats of the same bits.
    pub fn pack(self, values: &[f32], head_dim: usize) -> Vec<f32> {
        if self == KvFormat::F32 {
            return values.to_vec();
        }
        let bits = |value: &f32| half::f16::from_f32(*value).to_bits() as u32;
        let head = |head: &[f32]| {
            let (low, high) = head.split_at(head_dim / 2);
            let word = |(low, high): (&f32, &f32)| f32::from_bits(bits(low) | bits(high) << 16);
            low.iter().zip(high).map(word).collect::<Vec<f32>>()
        };
        values.chunks_exact(head_dim).flat_map(head).collect()
    }

    /// The numbers in the words of a cache.
    pub fn unpack(self, words: &[f32], head_dim: usize) -> Vec<f32> {
        if self == KvFormat::F32 {
            return words.to_vec();
        }
        let half = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
        let head = |words: &[f32]| {
            let low = words.iter().map(|word| half(word.to_bits()));
            let high = words.iter().map(|word| half(word.to_bits() >> 16));
            low.chain(high).collect::<Vec<f32>>()
        };
        words.chunks_exact(head_dim / 2).flat_map(head).collect()
    }
}

/// Keys and values of the positions seen so far, for one layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    /// `[capacity, words of kv_heads * head_dim numbers]`
    pub k: Tensor<2>,
    /// As `k`.
    pub v: Tensor<2>,
    pub format: KvFormat,
}

impl KvCache {
    /// Room for `capacity` positions; what it holds is undefined until written.
    ///
    /// # Panics
    /// On f16 with a `head_dim` that is not a multiple of 8.
    pub fn new(capacity: usize, heads: Heads, format: KvFormat, device: &Device) -> Self {
        assert!(format.fits(heads.head_dim), "f16 caches need a head_dim that is a multiple of 8");
        let rows = || device::persistent_rows(capacity, format.width(heads.kv_heads * heads.head_dim), device);
        Self { k: rows(), v: rows(), format }
    }
}

/// How query heads, key/value heads and their size divide a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// The largest head the attention shader keeps in its registers and workgroup memory.
    pub const MAX_HEAD_DIM: usize = 128;

    /// Whether the kernels can run heads of this size: multiples of 4 up to [`Self::MAX_HEAD_DIM`].
    pub fn fits(head_dim: usize) -> bool {
        head_dim.is_multiple_of(4) && (4..=Self::MAX_HEAD_DIM).contains(&head_dim)
    }

    fn check(&self) {
        let Heads { heads, kv_heads, head_dim } = *self;
        assert!(kv_heads > 0 && heads % kv_heads == 0, "{heads} heads do not share {kv_heads} key/value heads evenly");
        assert!(Self::fits(head_dim), "head_dim {head_dim} is not 4..=128 by 4");
    }
}

/// A variant chosen for this process: its index, or none.
struct Choice(AtomicUsize);

impl Choice {
    const NONE: usize = usize::MAX;

    const fn new() -> Self {
        Self(AtomicUsize::new(Self::NONE))
    }

    fn set(&self, index: Option<usize>) {
        self.0.store(index.unwrap_or(Self::NONE), Ordering::Relaxed);
    }

    fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|index| *index != Self::NONE)
    }
}

/// A tensor an operation may go without; `Option`, in the form `backend_extension` carries across backends.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    Present(FloatTensor<B>),
    Absent,
}

impl Operand<Cube> {
    fn into_option(self) -> Option<GpuTensor> {
        match self {
            Operand::Present(tensor) => Some(tensor),
            Operand::Absent => None,
        }
    }
}

impl Operand<Dispatch> {
    fn of<const D: usize>(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Operand::Absent, |tensor| Operand::Present(tensor.into_dispatch()))
    }
}

/// The operations on primitives of a backend; the public functions of this module are the same on tensors.
#[backend_extension(Cube)]
pub trait LlavaOps: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        #[extension_type] bias: Operand<Self>,
        #[extension_type] residual: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self>;
    fn embedding(
        ids: IntTensor<Self>,
        weight: IntTensor<Self>,
        layout: WeightLayout,
        start: usize,
        first: usize,
        n: usize,
    ) -> FloatTensor<Self>;
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;
    fn linear_gated(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        #[extension_type] bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
    fn linear_rope_cache(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        #[extension_type] bias: Operand<Self>,
        rope: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        layout: WeightLayout,
        heads: Heads,
        format: KvFormat,
    ) -> FloatTensor<Self>;
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
        format: KvFormat,
    ) -> FloatTensor<Self>;
    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self>;
    /// Returns `state`, which it changed.
    fn sample(
        logits: FloatTensor<Self>,
        params: IntTensor<Self>,
        seen: IntTensor<Self>,
        tokens: IntTensor<Self>,
        state: IntTensor<Self>,
    ) -> IntTensor<Self>;
    /// Returns `state`, which it changed.
    fn advance(state: IntTensor<Self>, by: usize) -> IntTensor<Self>;
}

impl LlavaOps for Cube {
    fn linear(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        bias: Operand<Self>,
        residual: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        linear::launch(x, weight, bias.into_option(), residual.into_option(), layout, act)
    }

    fn embedding(
        ids: IntTensor<Self>,
        weight: IntTensor<Self>,
        layout: WeightLayout,
        start: usize,
        first: usize,
        n: usize,
    ) -> FloatTensor<Self> {
        embedding::launch(ids, weight, layout, start, first, n)
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
        weight: IntTensor<Self>,
        bias: Operand<Self>,
        layout: WeightLayout,
        act: Activation,
    ) -> FloatTensor<Self> {
        linear::launch_gated(x, weight, bias.into_option(), layout, act)
    }

    fn linear_rope_cache(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        bias: Operand<Self>,
        rope: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        layout: WeightLayout,
        heads: Heads,
        format: KvFormat,
    ) -> FloatTensor<Self> {
        linear::launch_rope_cache(x, weight, bias.into_option(), rope, k, v, state, layout, heads, format)
    }

    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
        format: KvFormat,
    ) -> FloatTensor<Self> {
        attention::launch(q, k, v, state, heads, format)
    }

    fn attention_full(qkv: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        attention::launch_full(qkv, heads)
    }

    fn sample(
        logits: FloatTensor<Self>,
        params: IntTensor<Self>,
        seen: IntTensor<Self>,
        tokens: IntTensor<Self>,
        state: IntTensor<Self>,
    ) -> IntTensor<Self> {
        sample::launch(logits, params, seen, tokens, state)
    }

    fn advance(state: IntTensor<Self>, by: usize) -> IntTensor<Self> {
        advance::launch(state, by)
    }
}

/// Every variant of every shader, for tests that parse them all.
pub fn shaders() -> Vec<Shader> {
    let mut all = vec![advance::shader(), layer_norm::shader()];
    all.extend(attention_decode::shaders());
    all.extend(attention_flash::shaders());
    all.extend(embedding::shaders());
    all.extend(linear::shaders());
    all.extend(rms_norm::shaders());
    all.extend(sample::shaders());
    all
}
