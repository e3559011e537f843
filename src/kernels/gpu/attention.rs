//! Attention: few queries go through `attention_decode` (each key and value is used once, so reading it is all that counts), many
//! through `attention_flash` (each key and value is used by many queries).

use super::*;
use crate::device::gpu::{self, GpuTensor};
use crate::kernels::attention::MAX_DECODE_QUERIES;

pub(super) fn launch(q: GpuTensor, kv: &KvCache, state: &Buffer, heads: Heads) -> GpuTensor {
    heads.check();
    let q = gpu::contiguous(q);
    let [n, width] = q.meta.shape().dims();
    assert_eq!(width, heads.heads * heads.head_dim, "attention: columns of the queries");
    kv.check(heads);
    match n <= MAX_DECODE_QUERIES {
        true => attention_decode::launch(q, kv, state, heads),
        false => attention_flash::launch(q, kv, state, heads),
    }
}

pub(super) fn launch_full(qkv: GpuTensor, heads: Heads) -> GpuTensor {
    heads.check();
    assert_eq!(heads.kv_heads, heads.heads, "attention_full: every head has its own keys and values");
    let qkv = gpu::contiguous(qkv);
    let [_, width] = qkv.meta.shape().dims();
    assert_eq!(width, 3 * heads.heads * heads.head_dim, "attention_full: columns of q, k and v together");
    attention_flash::launch_full(qkv, heads)
}
