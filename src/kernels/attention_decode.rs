//! Attention of few queries over the cache, split over the positions where heads alone are too few for the adapter:
//! each split yields a partial softmax, a second dispatch (`attention_reduce`) merges them. How many splits there are
//! depends on the cache's capacity only, so that a recorded step fits every position.

use super::launch::{self, Features, GpuTensor, Shader, WORKGROUP};
use super::*;

/// Shapes of the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionDecodeVariant {
    /// For CPU adapters: few barriers, as few loads of words as possible.
    Cpu,
    /// For GPUs: coalesced, heads that share a key/value head share a workgroup.
    Gpu,
}

impl AttentionDecodeVariant {
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Gpu];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }

    /// Whether an adapter with `features` can run it.
    pub fn available(self, _features: &Features) -> bool {
        true
    }

    /// Query heads of a workgroup.
    fn heads(self, heads: Heads) -> usize {
        let sharing = heads.heads / heads.kv_heads;
        match self {
            Self::Cpu => 1,
            Self::Gpu => (1..=MAX_HEADS).rev().find(|count| sharing.is_multiple_of(*count)).unwrap_or(1),
        }
    }

    /// Runs of positions, given the workgroups there are without splitting.
    fn splits(self, workgroups: usize, capacity: usize) -> usize {
        let (wanted, shortest) = match self {
            Self::Cpu => (4, 512),
            Self::Gpu => (512, 64),
        };
        wanted_splits(wanted, workgroups).min(capacity.div_ceil(shortest))
    }
}

/// Heads the GPU shader keeps sums of in its registers.
const MAX_HEADS: usize = 4;

fn wanted_splits(wanted: usize, workgroups: usize) -> usize {
    wanted.div_ceil(workgroups).max(1)
}

static CHOSEN: Choice = Choice::new();

/// Fixes the variant from now on, or leaves it to the kind of adapter (`None`).
pub fn set_attention_decode_variant(variant: Option<AttentionDecodeVariant>) {
    CHOSEN.set(variant.map(|variant| variant as usize));
}

/// The variant in use.
pub fn attention_decode_variant() -> AttentionDecodeVariant {
    match CHOSEN.get() {
        Some(index) => AttentionDecodeVariant::ALL[index],
        None if launch::software_adapter() => AttentionDecodeVariant::Cpu,
        None => AttentionDecodeVariant::Gpu,
    }
}

fn shader(
    variant: AttentionDecodeVariant,
    head_dim: usize,
    workgroup_heads: usize,
    format: KvFormat,
    split: bool,
) -> Shader {
    let mut constants = vec![("FULL", 0), ("SPLIT", split as u32), ("KV_F16", (format == KvFormat::F16) as u32)];
    let (name, text) = match variant {
        AttentionDecodeVariant::Cpu => {
            // A quartet of invocations sums up at most 32 words of a value.
            let slices = head_dim.div_ceil(64);
            constants.extend([
                ("HEAD_DIM", head_dim as u32),
                ("HALF_HEAD", head_dim as u32 / 2),
                ("SLICES", slices as u32),
                ("KEY_GROUPS", (WORKGROUP / 4 / slices) as u32),
                ("OWN_WORDS", (head_dim / 2).div_ceil(4 * slices) as u32),
                ("ODD_WORDS", !(head_dim / 2).is_multiple_of(4 * slices) as u32),
            ]);
            ("attention_decode_cpu", include_str!("../../shaders/attention_decode_cpu.wgsl"))
        }
        AttentionDecodeVariant::Gpu => {
            let quads = head_dim / 4;
            let own = quads.div_ceil(2).div_ceil(8);
            constants.extend([
                ("QUADS", quads as u32),
                ("PAIRS", quads.div_ceil(2) as u32),
                ("ODD_QUADS", quads as u32 % 2),
                ("OWN", own as u32),
                ("HEADS", workgroup_heads as u32),
            ]);
            ("attention_decode_gpu", include_str!("../../shaders/attention_decode_gpu.wgsl"))
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
        text: include_str!("../../shaders/attention_reduce.wgsl"),
        constants: vec![],
        dims: &["n", "heads", "capacity", "quads", "splits"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = vec![reduce_shader()];
    for head_dim in (4..=Heads::MAX_HEAD_DIM).step_by(4) {
        for format in KvFormat::ALL.into_iter().filter(|format| format.fits(head_dim)) {
            for split in [false, true] {
                all.push(shader(AttentionDecodeVariant::Cpu, head_dim, 1, format, split));
                let of_heads = |heads| shader(AttentionDecodeVariant::Gpu, head_dim, heads, format, split);
                all.extend((1..=MAX_HEADS).map(of_heads));
            }
        }
    }
    all
}

/// Shapes were checked by `attention::launch`.
pub(super) fn launch(
    q: GpuTensor,
    k: GpuTensor,
    v: GpuTensor,
    state: GpuTensor,
    heads: Heads,
    format: KvFormat,
) -> GpuTensor {
    let variant = attention_decode_variant();
    let [n, width] = q.meta.shape().dims();
    let [capacity, _] = k.meta.shape().dims();
    let workgroup_heads = variant.heads(heads);
    let workgroups = n * heads.heads / workgroup_heads;
    let splits = variant.splits(workgroups, capacity);
    let shader = shader(variant, heads.head_dim, workgroup_heads, format, splits > 1);
    let out = launch::output(&q, [n, width]);
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let mut dims = [n, heads.heads, heads.kv_heads, capacity].map(|dim| dim as u32).to_vec();
    dims.push(scale.to_bits());
    if splits == 1 {
        launch::launch(shader, &[&q, &k, &v, &state, &out], &dims, workgroups);
        return out;
    }
    dims.push(splits as u32);
    // Of each split: the weighted sum of the values; the maximum, the sum of the weights, and two words for alignment.
    let partials = launch::output(&q, [n * heads.heads * splits, heads.head_dim + 4]);
    launch::launch(shader, &[&q, &k, &v, &state, &partials], &dims, workgroups * splits);
    let dims = [n, heads.heads, capacity, heads.head_dim / 4, splits].map(|dim| dim as u32);
    launch::launch(reduce_shader(), &[&partials, &state, &out], &dims, (n * width / 4).div_ceil(WORKGROUP));
    out
}
