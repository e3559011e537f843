//! The table of angles of the rotary position embedding, and the rotation on plain slices; on the GPU it is what
//! [`linear_rope_cache`] does with its sums.

use super::*;
use crate::device::tensors;

/// The table [`linear_rope_cache`] reads, `[capacity, head_dim]`: for each position the cosines of `position *
/// inverse_frequency`, then the sines. `inverse_frequencies` are the `head_dim / 2` of the configuration, scaling
/// included.
pub fn rope_table(inverse_frequencies: &[f32], capacity: usize, device: &Device) -> Tensor<2> {
    let values = naive_table(inverse_frequencies, capacity);
    tensors::floats(values, [capacity, 2 * inverse_frequencies.len()], device)
}

/// The values of [`rope_table`].
pub fn naive_table(inverse_frequencies: &[f32], capacity: usize) -> Vec<f32> {
    let row = |position: usize| {
        // The angle is rounded to f32 as in the reference implementation, before its sine and cosine.
        let angles = inverse_frequencies.iter().map(move |frequency| position as f32 * frequency);
        angles.clone().map(f32::cos).chain(angles.map(f32::sin))
    };
    (0..capacity).flat_map(row).collect()
}

/// The second half of [`linear_rope_cache`] on plain slices; `k` and `v` are the caches.
pub fn naive(qkv: &[f32], rope: &[f32], k: &mut [f32], v: &mut [f32], position: usize, heads: Heads) -> Vec<f32> {
    let Heads { heads, kv_heads, head_dim } = heads;
    let (half, width) = (head_dim / 2, kv_heads * head_dim);
    let capacity = rope.len() / head_dim;
    let mut out = Vec::new();
    for (i, row) in qkv.chunks_exact((heads + 2 * kv_heads) * head_dim).enumerate() {
        let at = position + i;
        if at >= capacity {
            out.extend(std::iter::repeat_n(0.0, heads * head_dim));
            continue;
        }
        let (cos, sin) = rope[at * head_dim..][..head_dim].split_at(half);
        let rotate = |head: &[f32]| {
            let turned = |j: usize| match j < half {
                true => head[j] * cos[j] - head[j + half] * sin[j],
                false => head[j] * cos[j - half] + head[j - half] * sin[j - half],
            };
            (0..head_dim).map(turned).collect::<Vec<f32>>()
        };
        let (q, rest) = row.split_at(heads * head_dim);
        let (keys, values) = rest.split_at(width);
        out.extend(q.chunks_exact(head_dim).flat_map(rotate));
        let keys: Vec<f32> = keys.chunks_exact(head_dim).flat_map(rotate).collect();
        k[at * width..][..width].copy_from_slice(&keys);
        v[at * width..][..width].copy_from_slice(values);
    }
    out
}
