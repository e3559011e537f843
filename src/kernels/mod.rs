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
mod embedding;
pub mod launch;
mod layer_norm;
mod linear;
mod rms_norm;
mod rope_cache;
mod sample;
mod silu_mul;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Cube, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Device, Int, Tensor};

use crate::quant::Format;
pub use launch::Shader;

pub use advance::advance;
pub use attention::{attention, attention_full};
pub use embedding::{embed_drawn, embedding};
pub use layer_norm::layer_norm;
pub use linear::{VEC_LANES, linear, set_vec_lanes};
pub use rms_norm::rms_norm;
pub use rope_cache::{rope_cache, rope_table};
pub use sample::sample;
pub use silu_mul::silu_mul;

/// The operations on plain slices: slow, obvious, and what the GPU is compared with.
pub mod naive {
    pub use super::attention::naive as attention;
    pub use super::attention::naive_full as attention_full;
    pub use super::embedding::naive as embedding;
    pub use super::layer_norm::naive as layer_norm;
    pub use super::linear::{naive as linear, naive_activation as activation};
    pub use super::rms_norm::naive as rms_norm;
    pub use super::rope_cache::{naive as rope_cache, naive_table as rope_table};
    pub use super::sample::naive as sample;
    pub use super::silu_mul::naive as silu_mul;
}

/// A linear layer's or an embedding's weight on the GPU, still in its storage format.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The tensor's bytes as 32-bit words, padded with zeros to whole 16 bytes.
    pub data: Tensor<1, Int>,
    pub format: Format,
    /// Output features, or entries of a vocabulary.
    pub rows: usize,
    /// Input features, or the width of an embedding.
    pub cols: usize,
}

impl Weight {
    /// Uploads a tensor's stored bytes.
    ///
    /// # Panics
    /// If the number of bytes is not what `format` needs for `[rows, cols]`: the bundle's manifest was checked before.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>, format: Format, rows: usize, cols: usize, device: &Device) -> Self {
        let bytes = bytes.into();
        assert_eq!(Some(bytes.len()), format.byte_len(rows, cols), "bytes of a [{rows}, {cols}] weight as {format:?}");
        Self { data: launch::upload(bytes, device), format, rows, cols }
    }

    fn layout(&self) -> WeightLayout {
        WeightLayout { format: self.format, rows: self.rows, cols: self.cols }
    }
}

/// What a launch must know of a [`Weight`] beside its words.
#[derive(Clone, Copy, Debug)]
pub struct WeightLayout {
    format: Format,
    rows: usize,
    cols: usize,
}

impl WeightLayout {
    /// Every format, four columns at a time, and one at a time where `cols` is not a multiple of four.
    const KINDS: [(Format, bool); 6] = [
        (Format::Q4, true),
        (Format::Q8, true),
        (Format::F16, true),
        (Format::F32, true),
        (Format::F16, false),
        (Format::F32, false),
    ];

    fn quads(&self) -> bool {
        self.cols.is_multiple_of(4)
    }

    /// The constants `shared/weight.wgsl` and `shared/rows.wgsl` choose by.
    fn constants(format: Format, quads: bool) -> Vec<(&'static str, u32)> {
        let is = |known: Format| (format == known) as u32;
        vec![
            ("Q4", is(Format::Q4)),
            ("Q8", is(Format::Q8)),
            ("F16", is(Format::F16)),
            ("F32", is(Format::F32)),
            ("QUADS", quads as u32),
        ]
    }
}

/// Keys and values of the positions seen so far, for one layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    /// `[capacity, kv_heads * head_dim]`
    pub k: Tensor<2>,
    /// `[capacity, kv_heads * head_dim]`
    pub v: Tensor<2>,
}

impl KvCache {
    /// Room for `capacity` positions of `width` = `kv_heads * head_dim` numbers; what it holds is undefined until
    /// written.
    pub fn new(capacity: usize, width: usize, device: &Device) -> Self {
        let rows = || launch::persistent_rows(capacity, width, device);
        Self { k: rows(), v: rows() }
    }
}

/// How query heads, key/value heads and their size divide a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// The largest head the attention shader keeps in its registers and workgroup memory.
    pub const MAX_HEAD_DIM: usize = 128;

    fn check(&self) {
        let Heads { heads, kv_heads, head_dim } = *self;
        assert!(kv_heads > 0 && heads % kv_heads == 0, "{heads} heads do not share {kv_heads} key/value heads evenly");
        assert!(
            head_dim % 4 == 0 && (4..=Self::MAX_HEAD_DIM).contains(&head_dim),
            "head_dim {head_dim} is not 4..=128 by 4"
        );
    }
}

/// What a linear layer applies to its sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    #[default]
    None,
    /// `x/2 (1 + erf(x/√2))`
    Gelu,
    /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`
    GeluTanh,
    /// `x σ(1.702 x)`
    QuickGelu,
    /// `x σ(x)`
    Silu,
    Relu,
}

impl Activation {
    pub const ALL: [Activation; 6] = [
        Activation::None,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
    ];
}

/// A tensor an operation may go without; `Option`, in the form `backend_extension` carries across backends.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    Present(FloatTensor<B>),
    Absent,
}

impl Operand<Cube> {
    fn into_option(self) -> Option<launch::GpuTensor> {
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
    fn silu_mul(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;
    fn rope_cache(
        qkv: FloatTensor<Self>,
        rope: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
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
        first: usize,
        n: usize,
    ) -> FloatTensor<Self> {
        embedding::launch(ids, weight, layout, first, n)
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

    fn silu_mul(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        silu_mul::launch(gate_up)
    }

    fn rope_cache(
        qkv: FloatTensor<Self>,
        rope: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        rope_cache::launch(qkv, rope, k, v, state, heads)
    }

    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        state: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        attention::launch(q, k, v, state, heads)
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
    let mut all = vec![
        advance::shader(),
        layer_norm::shader(),
        rms_norm::shader(),
        rope_cache::shader(),
        sample::shader(),
        silu_mul::shader(),
    ];
    all.extend(attention::shaders());
    all.extend(embedding::shaders());
    all.extend(linear::shaders());
    all
}
