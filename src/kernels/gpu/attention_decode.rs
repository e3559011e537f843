//! Attention of few queries over the cache, split over the positions where heads alone are too few for the adapter:
//! each split yields a partial softmax, a second dispatch (`attention_reduce`) merges them. How many splits there are
//! depends on the cache's capacity only, so that a recorded step fits every position.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

/// Heads that share a workgroup of a GPU shader at most.
const MAX_HEADS: usize = 4;

/// Whether so many heads may share a workgroup: an invocation has the sums of 8 elements of each for every 64 of its head, and
/// more than 32 are more than some GPUs have registers for.
fn fits(variant: AttentionVariant, workgroup_heads: usize, head_dim: usize) -> bool {
    workgroup_heads == 1 || (variant == AttentionVariant::Gpu && workgroup_heads * head_dim.div_ceil(64) <= 4)
}

/// Keys of which an invocation has a part under way at a time.
fn keys(variant: AttentionVariant) -> u32 {
    match variant {
        AttentionVariant::GpuNarrow => 2,
        _ => 4,
    }
}

/// Query heads of a workgroup: on a GPU of those that share a key/value head.
fn workgroup_heads(variant: AttentionVariant, heads: Heads) -> usize {
    let sharing = heads.heads / heads.kv_heads;
    let fits = |count: &usize| sharing.is_multiple_of(*count) && fits(variant, *count, heads.head_dim);
    (1..=MAX_HEADS).rev().find(fits).unwrap_or(1)
}

/// Runs of positions, given the workgroups there are without splitting.
fn splits(variant: AttentionVariant, workgroups: usize, capacity: usize) -> usize {
    let (wanted, shortest): (usize, usize) = match variant {
        AttentionVariant::Cpu => (4, 512),
        AttentionVariant::Gpu | AttentionVariant::GpuNarrow => (512, 64),
    };
    wanted.div_ceil(workgroups).max(1).min(capacity.div_ceil(shortest))
}

fn shader(variant: AttentionVariant, head_dim: usize, workgroup_heads: usize, format: KvFormat, split: bool) -> Shader {
    let mut constants = vec![("FULL", 0), ("SPLIT", split as u32), ("KV_F16", (format == KvFormat::F16) as u32)];
    let (name, text) = match variant {
        AttentionVariant::Cpu => {
            let quads = head_dim / 4;
            let own = format.width(quads);
            constants.extend([("SUBGROUPS", 1), ("QUADS", quads as u32), ("OWN", own as u32)]);
            ("attention_decode_cpu", wgsl!("attention_decode_cpu"))
        }
        AttentionVariant::Gpu | AttentionVariant::GpuNarrow => {
            let quads = head_dim / 4;
            let own = quads.div_ceil(2).div_ceil(8);
            constants.extend([
                ("QUADS", quads as u32),
                ("PAIRS", quads.div_ceil(2) as u32),
                ("ODD_QUADS", quads as u32 % 2),
                ("OWN", own as u32),
                ("HEADS", workgroup_heads as u32),
                ("KEYS", keys(variant)),
            ]);
            ("attention_decode_gpu", wgsl!("attention_decode_gpu"))
        }
    };
    let dims: &[&str] = match split {
        true => &["n", "heads", "kv_heads", "capacity", "scale: f32", "splits"],
        false => &["n", "heads", "kv_heads", "capacity", "scale: f32"],
    };
    Shader { name, text, constants, dims }
}

fn reduce_shader() -> Shader {
    Shader {
        name: "attention_reduce",
        text: wgsl!("attention_reduce"),
        constants: vec![],
        dims: &["n", "heads", "capacity", "quads", "splits"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = vec![reduce_shader()];
    for head_dim in (4..=Heads::MAX_HEAD_DIM).step_by(4) {
        for format in KvFormat::ALL.into_iter().filter(|format| format.fits(head_dim)) {
            for split in [false, true] {
                for variant in AttentionVariant::ALL {
                    let of_heads = |heads| shader(variant, head_dim, heads, format, split);
                    all.extend((1..=MAX_HEADS).filter(|heads| fits(variant, *heads, head_dim)).map(of_heads));
                }
            }
        }
    }
    all
}

/// Shapes were checked by `attention::launch`.
pub(super) fn launch(q: GpuTensor, kv: &KvCache, state: &Buffer, heads: Heads) -> GpuTensor {
    let variant = attention_variant(AttentionUse::Decode);
    let [n, width] = q.meta.shape().dims();
    let capacity = kv.capacity;
    let workgroup_heads = workgroup_heads(variant, heads);
    let workgroups = n * heads.heads / workgroup_heads;
    let splits = splits(variant, workgroups, capacity);
    let shader = shader(variant, heads.head_dim, workgroup_heads, kv.format, splits > 1);
    let out = gpu::output(&q, [n, width]);
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let mut dims = [n, heads.heads, heads.kv_heads, capacity].map(|dim| dim as u32).to_vec();
    dims.push(scale.to_bits());
    let [k, v, state] = [&kv.k, &kv.v, state].map(Buffer::gpu);
    if splits == 1 {
        gpu::launch(shader, &[&q, k, v, state, &out], &dims, workgroups);
        return out;
    }
    dims.push(splits as u32);
    // Of each split: the weighted sum of the values; the maximum, the sum of the weights, and two words for alignment.
    let partials = gpu::output(&q, [n * heads.heads * splits, heads.head_dim + 4]);
    gpu::launch(shader, &[&q, k, v, state, &partials], &dims, workgroups * splits);
    let dims = [n, heads.heads, capacity, heads.head_dim / 4, splits].map(|dim| dim as u32);
    gpu::launch(reduce_shader(), &[&partials, state, &out], &dims, (n * width / 4).div_ceil(WORKGROUP));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three heads of 72 spilled on Intel and Apple.
    #[test]
    fn heads_share_a_workgroup_where_their_sums_fit() {
        let sharing = |heads, head_dim| workgroup_heads(AttentionVariant::Gpu, Heads { heads, kv_heads: 2, head_dim });
        assert_eq!([64, 128].map(|head_dim| sharing(8, head_dim)), [4, 2]);
        assert_eq!([64, 72, 80, 128].map(|head_dim| sharing(6, head_dim)), [3, 1, 1, 1]);
        assert_eq!([72, 256].map(|head_dim| sharing(12, head_dim)), [2, 1]);
    }
}
