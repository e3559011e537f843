//! Attention of many queries, tiled, with an online softmax: scores are never stored beyond a tile. Causal over the
//! cache, or of all positions over all positions.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

/// Queries that share a pass over the keys.
fn tile_queries(variant: AttentionVariant) -> usize {
    match variant {
        AttentionVariant::Cpu => 16,
        AttentionVariant::Gpu => 32,
        AttentionVariant::GpuNarrow => 16,
    }
}

/// Tiles of queries in a workgroup: of the CPU shape, whose quartets of invocations do not depend on each other, so
/// few that there are workgroups for every core.
fn workgroup_tiles(variant: AttentionVariant, all: usize) -> usize {
    match variant {
        AttentionVariant::Cpu => (all / 32).clamp(1, WORKGROUP / 4),
        AttentionVariant::Gpu | AttentionVariant::GpuNarrow => 1,
    }
}

fn shader(variant: AttentionVariant, head_dim: usize, format: KvFormat, full: bool) -> Shader {
    let mut constants = vec![("FULL", full as u32), ("KV_F16", (format == KvFormat::F16) as u32)];
    let (name, text) = match variant {
        AttentionVariant::Cpu => {
            constants.extend([("HEAD_DIM", head_dim as u32), ("HALF_HEAD", head_dim as u32 / 2), ("KEYS", 8)]);
            ("attention_flash_cpu", wgsl!("attention_flash_cpu"))
        }
        AttentionVariant::Gpu | AttentionVariant::GpuNarrow => {
            let quads = head_dim / 4;
            let pairs = quads.div_ceil(2);
            constants.extend([
                ("QUADS", quads as u32),
                ("PAIRS", pairs as u32),
                ("ODD_QUADS", quads as u32 % 2),
                ("CHUNKS", pairs.div_ceil(4) as u32),
                ("QUERIES", tile_queries(variant) as u32 / 16),
            ]);
            ("attention_flash_gpu", wgsl!("attention_flash_gpu"))
        }
    };
    let dims: &[&str] = match full {
        true => &["n", "heads", "tiles", "scale: f32"],
        false => &["n", "heads", "tiles", "scale: f32", "kv_heads", "capacity"],
    };
    Shader { name, text, constants, dims }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for head_dim in (4..=Heads::MAX_HEAD_DIM).step_by(4) {
        for variant in AttentionVariant::ALL {
            all.push(shader(variant, head_dim, KvFormat::F32, true));
            let formats = KvFormat::ALL.into_iter().filter(|format| format.fits(head_dim));
            all.extend(formats.map(|format| shader(variant, head_dim, format, false)));
        }
    }
    all
}

/// Enqueues `variant` over `buffers`, of which the first holds the queries; `cache` is `kv_heads`, `capacity` and the
/// format where there is one.
fn enqueue(buffers: &[&GpuTensor], n: usize, heads: Heads, cache: Option<(usize, usize, KvFormat)>) -> GpuTensor {
    let variant = attention_variant(AttentionUse::Flash);
    let out = gpu::output(buffers[0], [n, heads.heads * heads.head_dim]);
    let all = n.div_ceil(tile_queries(variant)) * heads.heads;
    let tiles = workgroup_tiles(variant, all);
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let mut dims = vec![n as u32, heads.heads as u32, tiles as u32, scale.to_bits()];
    let format = cache.map_or(KvFormat::F32, |(.., format)| format);
    if let Some((kv_heads, capacity, _)) = cache {
        dims.extend([kv_heads as u32, capacity as u32]);
    }
    let shader = shader(variant, heads.head_dim, format, cache.is_none());
    let buffers = [buffers, &[&out]].concat();
    let workgroups = all.div_ceil(tiles);
    match variant {
        AttentionVariant::Cpu => {
            let scratch = gpu::output(&out, [all * 2 * tile_queries(variant), heads.head_dim]);
            gpu::launch(shader, &[&buffers[..], &[&scratch]].concat(), &dims, workgroups);
        }
        AttentionVariant::Gpu | AttentionVariant::GpuNarrow => gpu::launch(shader, &buffers, &dims, workgroups),
    }
    out
}

/// Shapes were checked by `attention::launch`.
pub(super) fn launch(q: GpuTensor, kv: &KvCache, state: &Buffer, heads: Heads) -> GpuTensor {
    let [n, _] = q.meta.shape().dims();
    enqueue(&[&q, kv.k.gpu(), kv.v.gpu(), state.gpu()], n, heads, Some((heads.kv_heads, kv.capacity, kv.format)))
}

/// Shapes were checked by `attention::launch_full`.
pub(super) fn launch_full(qkv: GpuTensor, heads: Heads) -> GpuTensor {
    let [n, _] = qkv.meta.shape().dims();
    enqueue(&[&qkv], n, heads, None)
}
