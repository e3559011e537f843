//! Softmax attention with f32 accumulation: causal over the cache for the decoder, over all positions for the vision
//! tower. One shader, tiled over queries, with an online softmax: scores are never stored beyond one tile of keys.

use super::launch::{self, GpuTensor, Shader, WORKGROUP};
use super::*;

/// Up to this many queries each gets a workgroup of its own, as in decoding.
const MAX_SINGLE_QUERIES: usize = 4;
/// Queries of a workgroup otherwise.
const QUERY_TILE: usize = 16;

fn shader(head_dim: usize, queries: usize, full: bool) -> Shader {
    let lanes = WORKGROUP / queries;
    let constants = vec![
        ("HEAD_QUADS", head_dim as u32 / 4),
        ("QUERIES", queries as u32),
        ("LANES", lanes as u32),
        ("OWN_QUADS", (head_dim / 4).div_ceil(lanes) as u32),
        ("KEYS", if queries == 1 { 64 } else { 32 }),
        ("FULL", full as u32),
    ];
    let dims: &[&str] =
        if full { &["n", "heads", "scale: f32"] } else { &["n", "heads", "kv_heads", "capacity", "scale: f32"] };
    Shader { name: "attention", text: include_str!("../../shaders/attention.wgsl"), constants, dims }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for head_dim in (4..=Heads::MAX_HEAD_DIM).step_by(4) {
        for queries in [1, QUERY_TILE] {
            all.extend([false, true].map(|full| shader(head_dim, queries, full)));
        }
    }
    all
}

/// Causal attention over the cache: query `i` sees rows `0..=position + i`. Scores are scaled by `1 / sqrt(head_dim)`;
/// `heads / kv_heads` neighbouring heads share a key/value head.
///
/// # Shapes
/// - `q`: `[n, heads * head_dim]`
/// - output: `[n, heads * head_dim]`
pub fn attention(q: Tensor<2>, kv: &KvCache, state: &Tensor<1, Int>, heads: Heads) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention(
        q.into_dispatch(),
        kv.k.clone().into_dispatch(),
        kv.v.clone().into_dispatch(),
        state.clone().into_dispatch(),
        heads,
    ))
}

/// Attention of every position over every position; `heads.kv_heads` must equal `heads.heads`.
///
/// # Shapes
/// - `qkv`: `[n, 3 * heads * head_dim]`: all of q, then k, then v
/// - output: `[n, heads * head_dim]`
pub fn attention_full(qkv: Tensor<2>, heads: Heads) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention_full(qkv.into_dispatch(), heads))
}

/// [`attention()`] on plain slices: the scores of a query, their softmax, the weighted sum of the values.
pub fn naive(q: &[f32], k: &[f32], v: &[f32], position: usize, heads: Heads) -> Vec<f32> {
    let Heads { heads, kv_heads, head_dim } = heads;
    let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
    let capacity = k.len() / kv_width;
    let mut out = vec![0.0; q.len()];
    for i in 0..q.len() / width {
        let visible = (position + i + 1).min(capacity);
        for head in 0..heads {
            let at = i * width + head * head_dim;
            let kv_at = |row: usize| row * kv_width + head / (heads / kv_heads) * head_dim;
            let score = |row: usize| -> f64 {
                let products = q[at..][..head_dim].iter().zip(&k[kv_at(row)..]).map(|(q, k)| *q as f64 * *k as f64);
                products.sum::<f64>() / (head_dim as f64).sqrt()
            };
            let scores: Vec<f64> = (0..visible).map(score).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            for d in 0..head_dim {
                let sum: f64 = weights.iter().enumerate().map(|(row, w)| w * v[kv_at(row) + d] as f64).sum();
                out[at + d] = (sum / total) as f32;
            }
        }
    }
    out
}

/// [`attention_full`] on plain slices.
pub fn naive_full(qkv: &[f32], heads: Heads) -> Vec<f32> {
    let width = heads.heads * heads.head_dim;
    let n = qkv.len() / (3 * width);
    let part = |part: usize| -> Vec<f32> {
        qkv.chunks_exact(3 * width).flat_map(|row| row[part * width..][..width].to_vec()).collect()
    };
    let (q, k, v) = (part(0), part(1), part(2));
    // A query at the last position sees all of them.
    q.chunks_exact(width).flat_map(|q| naive(q, &k, &v, n - 1, heads)).collect()
}

fn queries(n: usize) -> usize {
    if n <= MAX_SINGLE_QUERIES { 1 } else { QUERY_TILE }
}

pub(super) fn launch(q: GpuTensor, k: GpuTensor, v: GpuTensor, state: GpuTensor, heads: Heads) -> GpuTensor {
    heads.check();
    let q = launch::contiguous(q);
    let [n, width] = q.meta.shape().dims();
    let [capacity, kv_width] = k.meta.shape().dims();
    assert_eq!(width, heads.heads * heads.head_dim, "attention: columns of the queries");
    assert_eq!(kv_width, heads.kv_heads * heads.head_dim, "attention: columns of the cache");
    assert_eq!(v.meta.shape(), k.meta.shape(), "attention: the caches' shapes");
    let out = launch::output(&q, [n, width]);
    let queries = queries(n);
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let dims = [n as u32, heads.heads as u32, heads.kv_heads as u32, capacity as u32, scale.to_bits()];
    let groups = n.div_ceil(queries) * heads.heads;
    launch::launch(shader(heads.head_dim, queries, false), &[&q, &k, &v, &state, &out], &dims, groups);
    out
}

pub(super) fn launch_full(qkv: GpuTensor, heads: Heads) -> GpuTensor {
    heads.check();
    assert_eq!(heads.kv_heads, heads.heads, "attention_full: every head has its own keys and values");
    let qkv = launch::contiguous(qkv);
    let [n, width] = qkv.meta.shape().dims();
    assert_eq!(width, 3 * heads.heads * heads.head_dim, "attention_full: columns of q, k and v together");
    let out = launch::output(&qkv, [n, width / 3]);
    let queries = queries(n);
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let dims = [n as u32, heads.heads as u32, scale.to_bits()];
    launch::launch(shader(heads.head_dim, queries, true), &[&qkv, &out], &dims, n.div_ceil(queries) * heads.heads);
    out
}
