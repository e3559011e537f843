//! Softmax attention with f32 accumulation: causal over the cache for the decoder, over all positions for the vision
//! tower.

use super::*;

/// On a GPU up to this many queries each gets workgroups of its own, as in decoding.
pub(super) const MAX_DECODE_QUERIES: usize = 4;

/// Causal attention over the cache: query `i` sees rows `0..=position + i`. Scores are scaled by `1 / sqrt(head_dim)`;
/// `heads / kv_heads` neighbouring heads share a key/value head.
///
/// # Shapes
/// - `q`: `[n, heads * head_dim]`
/// - output: `[n, heads * head_dim]`
pub fn attention(q: Tensor<2>, kv: &KvCache, state: &Buffer, heads: Heads) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention(q.into_dispatch(), kv.clone(), state.clone(), heads))
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
