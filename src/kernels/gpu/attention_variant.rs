//! How attention runs, over few queries and over many.

use super::choice::Choice;
use crate::device::Features;
use crate::device::gpu;

/// Shapes of the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionVariant {
    /// For CPU adapters: few barriers or none, as few loads of words as possible.
    Cpu,
    /// For GPUs: coalesced, with tiles in workgroup memory.
    Gpu,
    /// The same with half as much in registers: fewer keys and heads at a time, or one query an invocation.
    GpuNarrow,
}

impl AttentionVariant {
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Gpu, Self::GpuNarrow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::GpuNarrow => "gpu-narrow",
        }
    }

    /// Whether an adapter with `features` can run it for `use_`.
    pub fn available(self, use_: AttentionUse, features: &Features) -> bool {
        match (self, use_) {
            (Self::Cpu, AttentionUse::Decode) => features.subgroups,
            (Self::Gpu, _) => !features.few_registers,
            _ => true,
        }
    }

    /// Whether it is made for adapters that run shaders on the CPU.
    pub fn for_cpu(self) -> bool {
        self == Self::Cpu
    }
}

/// Few queries over the cache (`attention_decode`), or many (`attention_flash`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionUse {
    Decode,
    Flash,
}

static CHOSEN: [Choice; 2] = [Choice::new(), Choice::new()];

/// Fixes the variant for `use_` from now on, or leaves it to the kind of adapter (`None`).
pub fn set_attention_variant(use_: AttentionUse, variant: Option<AttentionVariant>) {
    CHOSEN[use_ as usize].set(variant.map(|variant| variant as usize));
}

/// The variant in use for `use_`.
pub fn attention_variant(use_: AttentionUse) -> AttentionVariant {
    match CHOSEN[use_ as usize].get() {
        Some(index) => AttentionVariant::ALL[index],
        None if gpu::software_adapter() && AttentionVariant::Cpu.available(use_, &gpu::adapter_features()) => {
            AttentionVariant::Cpu
        }
        None if AttentionVariant::Gpu.available(use_, &gpu::adapter_features()) => AttentionVariant::Gpu,
        None => AttentionVariant::GpuNarrow,
    }
}
