//! Linear layers: few rows go through a mat-vec variant (each weight is used once, so reading it is all that counts), many through
//! a mat-mul variant (each weight is dequantized once for many rows).

use super::*;
use crate::device::Features;
use crate::device::gpu::{self, GpuTensor, Shader};
use crate::kernels::linear::MIN_MAT_ROWS;

/// Slots of an invocation of `linear_cpu.wgsl`.
const CPU_SLOTS: usize = 8;

/// Rows of x of an invocation of `linear_cpu.wgsl`, and invocations of a workgroup: small ones share one row's work more
/// evenly among few cores.
fn cpu_shape(many: bool) -> (usize, usize) {
    if many { (8, 16) } else { (1, 8) }
}

/// Slots of a group of invocations in `linear_vec.wgsl`.
const VEC_SLOTS: usize = 4;
/// Rows of x and of the weight in a tile of `linear_mat.wgsl` and `linear_dot.wgsl`.
const TILE: usize = 64;

/// How a linear layer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearVariant {
    /// For CPU adapters; any number of rows.
    Cpu,
    /// The same with x by subgroup broadcast.
    CpuSubgroups,
    /// For GPUs, few rows: 16 invocations an output.
    Lanes16,
    /// 64 invocations an output.
    Lanes64,
    /// The same with subgroup sums.
    Lanes64Subgroups,
    /// For GPUs, many rows: f32 tiles in workgroup memory, 8 x 4 outputs an invocation.
    Mat8x4,
    /// 4 x 4 outputs an invocation, of which there are twice as many: for GPUs with few registers.
    Mat4x4,
    /// As `Mat8x4` with f16 tiles: inputs are rounded to f16.
    MatF16,
    /// Packed products of bytes: inputs are rounded to 8 bits in chunks of 32. Only for formats in chunks.
    Dot,
}

impl LinearVariant {
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::CpuSubgroups,
        Self::Lanes16,
        Self::Lanes64,
        Self::Lanes64Subgroups,
        Self::Mat8x4,
        Self::Mat4x4,
        Self::MatF16,
        Self::Dot,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuSubgroups => "cpu-subgroups",
            Self::Lanes16 => "lanes16",
            Self::Lanes64 => "lanes64",
            Self::Lanes64Subgroups => "lanes64-subgroups",
            Self::Mat8x4 => "mat-8x4",
            Self::Mat4x4 => "mat-4x4",
            Self::MatF16 => "mat-f16",
            Self::Dot => "dot",
        }
    }

    /// Whether an adapter with `features` can run it.
    pub fn available(self, features: &Features) -> bool {
        match self {
            Self::CpuSubgroups | Self::Lanes64Subgroups => features.subgroups,
            Self::MatF16 => features.f16,
            Self::Dot => features.packed_dot,
            Self::Cpu | Self::Lanes16 | Self::Lanes64 | Self::Mat8x4 | Self::Mat4x4 => true,
        }
    }

    /// Whether it can run on weights of this format.
    pub fn fits(self, format: Format) -> bool {
        self != Self::Dot || format.is_chunked()
    }

    /// Whether it computes with f32 inputs throughout, so that results differ from other variants' by rounding only.
    pub fn exact(self) -> bool {
        !matches!(self, Self::MatF16 | Self::Dot)
    }

    /// Whether it is made for CPU adapters (else for GPUs).
    pub fn for_cpu(self) -> bool {
        matches!(self, Self::Cpu | Self::CpuSubgroups)
    }

    /// Whether it takes few (`vec`) or many rows of x; those for CPU adapters take both.
    pub fn takes(self, use_: LinearUse) -> bool {
        match self {
            Self::Cpu | Self::CpuSubgroups => true,
            Self::Lanes16 | Self::Lanes64 | Self::Lanes64Subgroups => use_ == LinearUse::Vec,
            Self::Mat8x4 | Self::Mat4x4 | Self::MatF16 | Self::Dot => use_ == LinearUse::Mat,
        }
    }
}

/// Few rows of x, as in decoding, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearUse {
    Vec,
    Mat,
}

static CHOSEN: [Choice; 2] = [Choice::new(), Choice::new()];

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
        None if use_ == LinearUse::Vec => LinearVariant::Lanes64,
        None => LinearVariant::Mat8x4,
    }
}

/// What a linear layer makes of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Epilogue {
    Sum,
    Gated,
    RopeCache(KvFormat),
}

impl Epilogue {
    const ALL: [Self; 4] = [Self::Sum, Self::Gated, Self::RopeCache(KvFormat::F32), Self::RopeCache(KvFormat::F16)];

    fn constants(self) -> [(&'static str, u32); 3] {
        [
            ("GATED", (self == Self::Gated) as u32),
            ("ROPE_CACHE", matches!(self, Self::RopeCache(_)) as u32),
            ("KV_F16", (self == Self::RopeCache(KvFormat::F16)) as u32),
        ]
    }

    fn dims(self) -> &'static [&'static str] {
        match self {
            Self::Sum => &["n", "rows", "cols", "distance", "has_bias", "has_residual", "activation"],
            Self::Gated => &["n", "rows", "cols", "distance", "has_bias", "activation"],
            Self::RopeCache(_) => &["n", "rows", "cols", "distance", "has_bias", "heads", "kv_heads", "capacity"],
        }
    }
}

fn shader(variant: LinearVariant, many: bool, format: Format, quads: bool, epilogue: Epilogue) -> Shader {
    let mut constants = WeightLayout::constants(format, quads, variant.for_cpu());
    constants.extend(epilogue.constants());
    let subgroups = matches!(variant, LinearVariant::CpuSubgroups | LinearVariant::Lanes64Subgroups);
    constants.push(("SUBGROUPS", subgroups as u32));
    let (name, text) = match variant {
        LinearVariant::Cpu | LinearVariant::CpuSubgroups => {
            let (x_rows, lanes) = cpu_shape(many);
            let one_row = !many && format.is_chunked();
            constants.extend([("X_ROWS", x_rows as u32), ("LANES", lanes as u32), ("ONE_ROW", one_row as u32)]);
            ("linear_cpu", wgsl!("linear_cpu"))
        }
        LinearVariant::Lanes16 | LinearVariant::Lanes64 | LinearVariant::Lanes64Subgroups => {
            constants.push(("LANES", if variant == LinearVariant::Lanes16 { 16 } else { 64 }));
            ("linear_vec", wgsl!("linear_vec"))
        }
        LinearVariant::Mat8x4 | LinearVariant::Mat4x4 | LinearVariant::MatF16 => {
            let (x_quads, invocations) = if variant == LinearVariant::Mat4x4 { (1, 256) } else { (2, 128) };
            let f16_tiles = (variant == LinearVariant::MatF16) as u32;
            constants.extend([("X_QUADS", x_quads), ("INVOCATIONS", invocations), ("F16_TILES", f16_tiles)]);
            ("linear_mat", wgsl!("linear_mat"))
        }
        LinearVariant::Dot => {
            constants.push(("X_QUADS", 1));
            ("linear_dot", wgsl!("linear_dot"))
        }
    };
    Shader { name, text, constants, dims: epilogue.dims() }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for variant in LinearVariant::ALL {
        for (format, quads) in WeightLayout::kinds().filter(|(format, _)| variant.fits(*format)) {
            for epilogue in Epilogue::ALL {
                let uses: &[bool] = if variant.for_cpu() { &[false, true] } else { &[false] };
                all.extend(uses.iter().map(|many| shader(variant, *many, format, quads, epilogue)));
            }
        }
    }
    all
}

pub(super) fn launch(
    x: GpuTensor,
    weight: &Buffer,
    bias: Option<GpuTensor>,
    residual: Option<GpuTensor>,
    layout: WeightLayout,
    act: Activation,
) -> GpuTensor {
    let [n, _] = x.meta.shape().dims();
    let residual = residual.map(gpu::contiguous);
    if let Some(residual) = &residual {
        assert_eq!(residual.meta.shape().dims(), [n, layout.rows], "linear: shape of the residual");
    }
    let has_residual = residual.is_some() as u32;
    let residual = residual.unwrap_or_else(|| gpu::absent(&x, 1));
    let out = gpu::output(&x, [n, layout.rows]);
    run(x, weight, &out, bias, layout, Epilogue::Sum, 1, &[&residual], &[has_residual, act as u32]);
    out
}

pub(super) fn launch_gated(
    x: GpuTensor,
    weight: &Buffer,
    bias: Option<GpuTensor>,
    layout: WeightLayout,
    act: Activation,
) -> GpuTensor {
    let [n, _] = x.meta.shape().dims();
    assert!(layout.rows.is_multiple_of(2), "linear_gated: as many rows of gate as of up");
    let ffn = layout.rows / 2;
    let out = gpu::output(&x, [n, ffn]);
    run(x, weight, &out, bias, layout, Epilogue::Gated, ffn, &[], &[act as u32]);
    out
}

#[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
pub(super) fn launch_rope_cache(
    x: GpuTensor,
    weight: &Buffer,
    bias: Option<GpuTensor>,
    rope: GpuTensor,
    kv: &KvCache,
    state: &Buffer,
    layout: WeightLayout,
    heads: Heads,
) -> GpuTensor {
    heads.check();
    kv.check(heads);
    let Heads { heads, kv_heads, head_dim } = heads;
    let [n, _] = x.meta.shape().dims();
    let KvCache { k, v, capacity, format } = kv;
    assert_eq!(layout.rows, (heads + 2 * kv_heads) * head_dim, "linear_rope_cache: rows of q, k and v together");
    assert_eq!(rope.meta.shape().dims(), [*capacity, head_dim], "linear_rope_cache: shape of the table");
    let out = gpu::output(&x, [n, heads * head_dim]);
    let dims = [heads, kv_heads, *capacity].map(|dim| dim as u32);
    let buffers = [&rope, k.gpu(), v.gpu(), state.gpu()];
    run(x, weight, &out, bias, layout, Epilogue::RopeCache(*format), head_dim / 2, &buffers, &dims);
    out
}

/// Launches the variant in use. `buffers` and `dims` are those of the epilogue, after what all of them have.
#[allow(clippy::too_many_arguments, reason = "the three public operations differ in nothing else")]
fn run(
    x: GpuTensor,
    weight: &Buffer,
    out: &GpuTensor,
    bias: Option<GpuTensor>,
    layout: WeightLayout,
    epilogue: Epilogue,
    distance: usize,
    buffers: &[&GpuTensor],
    dims: &[u32],
) {
    let x = gpu::contiguous(x);
    let [n, cols] = x.meta.shape().dims();
    let WeightLayout { format, rows, .. } = layout;
    assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
    if let Some(bias) = &bias {
        assert_eq!(bias.meta.num_elements(), rows, "linear: bias of {rows} rows");
    }
    let use_ = if n < MIN_MAT_ROWS { LinearUse::Vec } else { LinearUse::Mat };
    let mut variant = linear_variant(use_);
    if !variant.fits(format) {
        variant = LinearVariant::Mat8x4;
    }
    let many = use_ == LinearUse::Mat;
    let x = if variant == LinearVariant::Dot { linear_dot::rounded(&x) } else { x };
    let groups = match variant {
        LinearVariant::Cpu | LinearVariant::CpuSubgroups => {
            let (x_rows, lanes) = cpu_shape(many);
            n.div_ceil(x_rows) * rows.div_ceil(lanes * CPU_SLOTS)
        }
        LinearVariant::Lanes16 => n * rows.div_ceil(VEC_SLOTS * 4),
        LinearVariant::Lanes64 | LinearVariant::Lanes64Subgroups => n * rows.div_ceil(VEC_SLOTS),
        LinearVariant::Mat8x4 | LinearVariant::Mat4x4 | LinearVariant::MatF16 | LinearVariant::Dot => {
            n.div_ceil(TILE) * rows.div_ceil(TILE)
        }
    };
    let has_bias = bias.is_some();
    let bias = bias.unwrap_or_else(|| gpu::absent(&x, 0));
    let mut all_buffers = vec![&x, weight.gpu(), out, &bias];
    all_buffers.extend(buffers);
    let mut all_dims = [n, rows, cols, distance, has_bias as usize].map(|dim| dim as u32).to_vec();
    all_dims.extend(dims);
    gpu::launch(shader(variant, many, format, layout.quads(), epilogue), &all_buffers, &all_dims, groups);
}
