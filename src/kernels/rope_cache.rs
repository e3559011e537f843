//! Rotary position embedding of queries and keys, and the write of keys and values into the cache, in one pass over the
//! fused q/k/v row.

use super::launch::{self, GpuTensor, Shader, WORKGROUP};
use super::*;
use burn::tensor::TensorData;

pub(super) fn shader() -> Shader {
    Shader {
        name: "rope_cache",
        text: include_str!("../../shaders/rope_cache.wgsl"),
        constants: vec![],
        dims: &["n", "heads", "kv_heads", "head_dim", "capacity"],
    }
}

/// Rotates q and k by their position (the two halves of a head are the pairs' first and second members, as in Hugging
/// Face's `rotate_half`), writes k and v into the cache at rows `position + i`, in place, and returns q. What lies
/// beyond the cache's capacity is dropped.
///
/// # Shapes
/// - `qkv`: `[n, (heads + 2 * kv_heads) * head_dim]`: all of q, then k, then v
/// - `rope`: `[capacity, head_dim]`, from [`rope_table`]
/// - output: `[n, heads * head_dim]`
pub fn rope_cache(qkv: Tensor<2>, rope: &Tensor<2>, kv: &KvCache, state: &Tensor<1, Int>, heads: Heads) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::rope_cache(
        qkv.into_dispatch(),
        rope.clone().into_dispatch(),
        kv.k.clone().into_dispatch(),
        kv.v.clone().into_dispatch(),
        state.clone().into_dispatch(),
        heads,
    ))
}

/// The table [`rope_cache`] reads, `[capacity, head_dim]`: for each position the cosines of `position *
/// inverse_frequency`, then the sines. `inverse_frequencies` are the `head_dim / 2` of the configuration, scaling
/// included.
pub fn rope_table(inverse_frequencies: &[f32], capacity: usize, device: &Device) -> Tensor<2> {
    let values = naive_table(inverse_frequencies, capacity);
    Tensor::from_data(TensorData::new(values, [capacity, 2 * inverse_frequencies.len()]), device)
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

/// [`rope_cache`] on plain slices; `k` and `v` are the caches.
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

pub(super) fn launch(
    qkv: GpuTensor,
    rope: GpuTensor,
    k: GpuTensor,
    v: GpuTensor,
    state: GpuTensor,
    heads: Heads,
) -> GpuTensor {
    heads.check();
    let qkv = launch::contiguous(qkv);
    let Heads { heads, kv_heads, head_dim } = heads;
    let [n, width] = qkv.meta.shape().dims();
    let [capacity, kv_width] = k.meta.shape().dims();
    assert_eq!(width, (heads + 2 * kv_heads) * head_dim, "rope_cache: columns of q, k and v together");
    assert_eq!(kv_width, kv_heads * head_dim, "rope_cache: columns of the cache");
    assert_eq!(v.meta.shape(), k.meta.shape(), "rope_cache: the caches' shapes");
    assert_eq!(rope.meta.shape().dims(), [capacity, head_dim], "rope_cache: shape of the table");
    let out = launch::output(&qkv, [n, heads * head_dim]);
    let dims = [n, heads, kv_heads, head_dim, capacity].map(|dim| dim as u32);
    launch::launch(shader(), &[&qkv, &rope, &k, &v, &state, &out], &dims, (n * width / 2).div_ceil(WORKGROUP));
    out
}
