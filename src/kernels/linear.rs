//! Linear layers on weights in any storage format, with what follows them in the same pass: `act(x Wᵀ + bias) +
//! residual`, `act(gate) * up`, or the rotation of queries and keys and the write into the cache.

use super::*;
use crate::quant::CHUNK;

/// On a GPU the kernels for few rows are used from this many on: a row's results are the same bits there whatever rows run
/// beside it.
pub(super) const MIN_FEW_ROWS: usize = 2;

/// `act(x Wᵀ + bias) + residual`; `residual` must not be `x` itself.
///
/// # Shapes
/// - `x`: `[n, cols]`, `w`: `[rows, cols]`, `bias`: `[rows]`, `residual`: `[n, rows]`
/// - output: `[n, rows]`
pub fn linear(
    x: Tensor<2>,
    w: &Weight,
    bias: Option<&Tensor<1>>,
    residual: Option<Tensor<2>>,
    act: Activation,
) -> Tensor<2> {
    w.side_by_side(|part| {
        Tensor::from_dispatch(Dispatch::linear(
            x.clone().into_dispatch(),
            part.data.clone(),
            Operand::of(w.bias_of(part, bias)),
            Operand::of(w.residual_of(part, residual.as_ref())),
            part.layout,
            act,
        ))
    })
}

/// `act(gate) * up`, where `x Wᵀ + bias` is all of gate, then all of up; of `norm(x)` in the place of `x` where there is one.
///
/// # Shapes
/// - `x`: `[n, cols]`, `w`: `[2 * ffn, cols]`, `bias`: `[2 * ffn]`
/// - output: `[n, ffn]`
pub fn linear_gated(
    x: Tensor<2>,
    norm: Option<RmsNorm<'_>>,
    w: &Weight,
    bias: Option<&Tensor<1>>,
    act: Activation,
) -> Tensor<2> {
    let (x, norm) = match norm {
        // Once, not for each buffer.
        Some(norm) if w.buffers() > 1 => (rms_norm(x, norm.weight, norm.eps), None),
        norm => (x, norm),
    };
    w.side_by_side(|part| {
        Tensor::from_dispatch(Dispatch::linear_gated(
            x.clone().into_dispatch(),
            Operand::of(norm.map(|norm| norm.weight.clone())),
            norm.map_or(0.0, |norm| norm.eps),
            part.data.clone(),
            Operand::of(w.bias_of(part, bias)),
            part.layout,
            act,
        ))
    })
}

/// Takes `x Wᵀ + bias` as all of q, then k, then v; rotates q and k by their position (the two halves of a head are the
/// pairs' first and second members, as in Hugging Face's `rotate_half`), writes k and v into the cache at rows `position
/// + i`, in place, and returns q. What lies beyond the cache's capacity is dropped. `norm` as in [`linear_gated`].
///
/// # Shapes
/// - `x`: `[n, cols]`, `w`: `[(heads + 2 * kv_heads) * head_dim, cols]`, `bias`: as many as `w` has rows
/// - `rope`: `[capacity, head_dim]`, from [`rope_table`]
/// - output: `[n, heads * head_dim]`
#[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
pub fn linear_rope_cache(
    x: Tensor<2>,
    norm: Option<RmsNorm<'_>>,
    w: &Weight,
    bias: Option<&Tensor<1>>,
    rope: &Tensor<2>,
    kv: &KvCache,
    state: &Buffer,
    heads: Heads,
) -> Tensor<2> {
    let part = w.whole();
    Tensor::from_dispatch(Dispatch::linear_rope_cache(
        x.into_dispatch(),
        Operand::of(norm.map(|norm| norm.weight.clone())),
        norm.map_or(0.0, |norm| norm.eps),
        part.data.clone(),
        Operand::of(bias.cloned()),
        rope.clone().into_dispatch(),
        kv.clone(),
        state.clone(),
        part.layout,
        heads,
    ))
}

/// [`linear`] on plain slices; sums in f64.
pub fn naive(
    x: &[f32],
    weight: &[u8],
    format: Format,
    (rows, cols): (usize, usize),
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    act: Activation,
) -> Vec<f32> {
    let weight = format.decode("weight", rows, cols, weight).expect("bytes of the given shape");
    let mut out = Vec::with_capacity(x.len() / cols * rows);
    for x in x.chunks_exact(cols) {
        for (row, weight) in weight.chunks_exact(cols).enumerate() {
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| *x as f64 * *w as f64).sum();
            let sum = sum + bias.map_or(0.0, |bias| bias[row] as f64);
            out.push((act.of(sum) + residual.map_or(0.0, |residual| residual[out.len()] as f64)) as f32);
        }
    }
    out
}

/// What kernels that multiply bytes make of `x`: 8 bits in chunks with one scale each.
pub fn naive_bytes(x: &[f32]) -> Vec<f32> {
    let chunk = |chunk: &[f32]| {
        let top = chunk.iter().fold(0f32, |top, x| top.max(x.abs()));
        let inverse = if top == 0.0 { 0.0 } else { 127.0 / top };
        chunk.iter().map(|x| (x * inverse).round_ties_even() * (top / 127.0)).collect::<Vec<_>>()
    };
    x.chunks(CHUNK).flat_map(chunk).collect()
}

/// The second half of [`linear_gated`] on plain slices: `gate_up` is `[n, 2 * ffn]`.
pub fn naive_gated(gate_up: &[f32], ffn: usize, act: Activation) -> Vec<f32> {
    let row = |row: &[f32]| {
        let (gate, up) = row.split_at(ffn);
        let pair = |(gate, up): (&f32, &f32)| (act.of(*gate as f64) * *up as f64) as f32;
        gate.iter().zip(up).map(pair).collect::<Vec<_>>()
    };
    gate_up.chunks_exact(2 * ffn).flat_map(row).collect()
}
