//! How a linear layer runs, by how many rows of x it has.

use super::*;
use crate::device::Features;
use crate::device::gpu;
use crate::kernels::linear::MIN_FEW_ROWS;

/// The kernels for many rows are used from this many on.
pub(super) const MIN_MAT_ROWS: usize = 49;

/// How a linear layer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearVariant {
    /// For CPU adapters; any number of rows.
    Cpu,
    /// The same with x by subgroup broadcast.
    CpuSubgroups,
    /// For GPUs, one row: 16 invocations an output, of which each reads no more than a chunk at once.
    Lanes16,
    /// 64 invocations an output.
    Lanes64,
    /// The same with subgroup sums.
    Lanes64Subgroups,
    /// As `Lanes64`, for formats in chunks, whose numbers become f16 without a conversion.
    Lanes64Halves,
    /// The same with subgroup sums.
    Lanes64SubgroupsHalves,
    /// As `Lanes64` with packed products of bytes: the input is rounded as for `Dot`.
    Lanes64Dot,
    /// For GPUs, few rows: tiles of 32 rows of x by 64 of the weight.
    Few64,
    /// By 32 of the weight, of which there are twice as many.
    Few32,
    /// As `Few64` with f16 tiles of the weight.
    FewF16,
    /// For GPUs, many rows: f32 tiles in workgroup memory, 8 x 4 outputs an invocation.
    Mat8x4,
    /// 4 x 4 outputs an invocation, of which there are twice as many: for GPUs with few registers.
    Mat4x4,
    /// As `Mat8x4` with f16 tiles of the weight.
    MatF16,
    /// Products of f16 matrices by subgroups, which browsers have as an experiment: inputs are rounded to f16, too.
    SubgroupMatrix,
    /// Packed products of bytes: inputs are rounded to 8 bits in chunks of 32. Only for formats in chunks.
    Dot,
}

impl LinearVariant {
    pub const ALL: [Self; 16] = [
        Self::Cpu,
        Self::CpuSubgroups,
        Self::Lanes16,
        Self::Lanes64,
        Self::Lanes64Subgroups,
        Self::Lanes64Halves,
        Self::Lanes64SubgroupsHalves,
        Self::Lanes64Dot,
        Self::Few64,
        Self::Few32,
        Self::FewF16,
        Self::Mat8x4,
        Self::Mat4x4,
        Self::MatF16,
        Self::SubgroupMatrix,
        Self::Dot,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuSubgroups => "cpu-subgroups",
            Self::Lanes16 => "lanes16",
            Self::Lanes64 => "lanes64",
            Self::Lanes64Subgroups => "lanes64-subgroups",
            Self::Lanes64Halves => "lanes64-halves",
            Self::Lanes64SubgroupsHalves => "lanes64-subgroups-halves",
            Self::Lanes64Dot => "lanes64-dot",
            Self::Few64 => "few-64",
            Self::Few32 => "few-32",
            Self::FewF16 => "few-f16",
            Self::Mat8x4 => "mat-8x4",
            Self::Mat4x4 => "mat-4x4",
            Self::MatF16 => "mat-f16",
            Self::SubgroupMatrix => "subgroup-matrix",
            Self::Dot => "dot",
        }
    }

    /// Whether an adapter with `features` can run it.
    pub fn available(self, features: &Features) -> bool {
        let has_what_it_uses = match self {
            _ if self.uses_subgroups() => features.subgroups,
            Self::FewF16 | Self::MatF16 => features.f16,
            Self::SubgroupMatrix => features.subgroup_matrix.is_some(),
            Self::Lanes64Dot | Self::Dot => features.packed_dot,
            _ => true,
        };
        has_what_it_uses && !(features.few_registers && self.needs_many_registers())
    }

    fn needs_many_registers(self) -> bool {
        self.reads_halves()
            || matches!(self, Self::Lanes64Dot | Self::Few32 | Self::FewF16 | Self::Mat8x4 | Self::MatF16)
            || matches!(self, Self::SubgroupMatrix | Self::Dot)
    }

    /// Whether the input is rounded to 8 bits, in a pass of its own.
    pub fn rounds_to_bytes(self) -> bool {
        matches!(self, Self::Lanes64Dot | Self::Dot)
    }

    /// Whether it can run on weights of this format.
    pub fn fits(self, format: Format) -> bool {
        (!self.rounds_to_bytes() || format.is_chunked()) && (!self.reads_halves() || format.chunk().is_some())
    }

    /// Whether the numbers of a weight are made f16, of which a known one is then subtracted.
    pub fn reads_halves(self) -> bool {
        matches!(self, Self::Lanes64Halves | Self::Lanes64SubgroupsHalves)
    }

    /// How it has the numbers of a weight.
    pub(super) fn reading(self) -> Reading {
        match self {
            _ if self.for_cpu() => Reading::Words,
            _ if self.reads_halves() => Reading::Halves,
            Self::Lanes16 => Reading::Chunks,
            Self::Few64 | Self::Few32 | Self::FewF16 => Reading::Fours,
            Self::Mat8x4 | Self::Mat4x4 | Self::MatF16 | Self::SubgroupMatrix => Reading::Fours,
            _ => Reading::Vectors,
        }
    }

    /// Whether its invocations exchange numbers without workgroup memory.
    pub(super) fn uses_subgroups(self) -> bool {
        matches!(self, Self::CpuSubgroups | Self::Lanes64Subgroups | Self::Lanes64SubgroupsHalves)
    }

    /// Invocations an output of those that take one row and are for GPUs.
    pub(super) fn lanes(self) -> u32 {
        if self == Self::Lanes16 { 16 } else { 64 }
    }

    /// Whether it reads one row of x as it is, many invocations along it: these can fold a norm.
    pub fn is_lanes(self) -> bool {
        matches!(self, Self::Lanes16 | Self::Lanes64 | Self::Lanes64Subgroups) || self.reads_halves()
    }

    /// What runs in its place on weights that it does not fit, as the adapter is.
    pub(super) fn fitting(self, format: Format, features: &Features) -> Self {
        let several_chunks = format.chunk().is_some_and(|chunk| chunk < format.piece());
        match self {
            Self::Lanes64 | Self::Lanes64Subgroups if features.few_registers && several_chunks => Self::Lanes16,
            _ if self.fits(format) => self,
            Self::Lanes64Halves | Self::Lanes64Dot => Self::Lanes64,
            Self::Lanes64SubgroupsHalves => Self::Lanes64Subgroups,
            _ => Self::Mat8x4,
        }
    }

    /// How exactly it computes: results of those that are [`Precision::Exact`] differ from each other's by rounding only.
    pub fn precision(self) -> Precision {
        match self {
            Self::FewF16 | Self::MatF16 | Self::SubgroupMatrix => Precision::Half,
            Self::Lanes64Dot | Self::Dot => Precision::Fast,
            _ => Precision::Exact,
        }
    }

    /// Whether few rows may go this way where many go the way of `mat`: a row's numbers are to be the same bits whatever rows
    /// run beside it.
    pub fn goes_with(self, mat: Self) -> bool {
        // The hardware sums in an order of its own.
        self.precision() == mat.precision() && (self == Self::SubgroupMatrix) == (mat == Self::SubgroupMatrix)
    }

    /// Whether it is made for CPU adapters (else for GPUs).
    pub fn for_cpu(self) -> bool {
        matches!(self, Self::Cpu | Self::CpuSubgroups)
    }

    /// Whether it takes so many rows of x; those for CPU adapters take any.
    pub fn takes(self, use_: LinearUse) -> bool {
        match self {
            Self::Cpu | Self::CpuSubgroups => true,
            Self::Lanes16
            | Self::Lanes64
            | Self::Lanes64Subgroups
            | Self::Lanes64Halves
            | Self::Lanes64SubgroupsHalves
            | Self::Lanes64Dot => use_ == LinearUse::Vec,
            Self::Few64 | Self::Few32 | Self::FewF16 => use_ == LinearUse::Few,
            Self::Mat8x4 | Self::Mat4x4 | Self::MatF16 | Self::SubgroupMatrix | Self::Dot => use_ != LinearUse::Vec,
        }
    }
}

/// How many rows of x there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearUse {
    /// One, as in decoding.
    Vec,
    /// Few, as in the next turn of a conversation.
    Few,
    /// Many, as in a first prompt, and all of a picture's.
    Mat,
}

impl LinearUse {
    pub const ALL: [Self; 3] = [Self::Vec, Self::Few, Self::Mat];

    /// Of `n` rows.
    pub fn of(n: usize) -> Self {
        match n {
            0..MIN_FEW_ROWS => Self::Vec,
            MIN_FEW_ROWS..MIN_MAT_ROWS => Self::Few,
            MIN_MAT_ROWS.. => Self::Mat,
        }
    }
}

static CHOSEN: [Choice; 3] = [const { Choice::new() }; 3];

/// Fixes the variant for `use_` from now on, or leaves it to the kind of adapter (`None`).
///
/// # Panics
/// If the variant does not take that use.
pub fn set_linear_variant(use_: LinearUse, variant: Option<LinearVariant>) {
    assert!(variant.is_none_or(|variant| variant.takes(use_)), "{variant:?} is not for {use_:?}");
    CHOSEN[use_ as usize].set(variant.map(|variant| variant as usize));
}

/// The variant in use for `use_`.
pub fn linear_variant(use_: LinearUse) -> LinearVariant {
    match CHOSEN[use_ as usize].get() {
        Some(index) => LinearVariant::ALL[index],
        None if gpu::software_adapter() => match gpu::adapter_features().subgroups {
            true => LinearVariant::CpuSubgroups,
            false => LinearVariant::Cpu,
        },
        None => match use_ {
            LinearUse::Vec => LinearVariant::Lanes64,
            LinearUse::Few => LinearVariant::Few64,
            LinearUse::Mat if LinearVariant::Mat8x4.available(&gpu::adapter_features()) => LinearVariant::Mat8x4,
            LinearUse::Mat => LinearVariant::Mat4x4,
        },
    }
}
