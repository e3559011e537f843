//! Linear layers: one row goes through a mat-vec variant (each weight is used once, so reading it is all that counts), few and many
//! through mat-mul variants (each weight is dequantized once for all rows of a tile).

use super::*;
use crate::device::SubgroupMatrix;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

/// Slots of an invocation of `linear_cpu.wgsl`.
const CPU_SLOTS: usize = 8;

/// Rows of x of an invocation of `linear_cpu.wgsl`, and invocations of a workgroup: small ones share one row's work more
/// evenly among few cores.
fn cpu_shape(use_: LinearUse) -> (usize, usize) {
    if use_ == LinearUse::Vec { (1, 8) } else { (8, 16) }
}

/// Slots of a group of invocations in `linear_vec.wgsl` and `linear_vec_dot.wgsl`.
const VEC_SLOTS: usize = 4;
/// Rows of x in a tile of `linear_few.wgsl`.
const FEW_ROWS: usize = 32;
/// Rows of x and of the weight in a tile of `linear_mat.wgsl` and `linear_dot.wgsl`.
const TILE: usize = 64;

/// Storage buffers of a shader that WebGPU promises.
const PROMISED_BUFFERS: u32 = 8;

/// Weight and eps of the norm of an input.
pub(super) type Norm = (GpuTensor, f32);

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
            Self::Sum => &["n", "rows", "cols", "distance", "has_bias", "eps: f32", "has_residual", "activation"],
            Self::Gated => &["n", "rows", "cols", "distance", "has_bias", "eps: f32", "activation"],
            Self::RopeCache(_) => {
                &["n", "rows", "cols", "distance", "has_bias", "eps: f32", "heads", "kv_heads", "capacity"]
            }
        }
    }

    /// How many storage buffers its shaders have, but for that of a norm.
    fn bindings(self) -> u32 {
        match self {
            Self::Sum => 5,
            Self::Gated => 4,
            Self::RopeCache(_) => 8,
        }
    }

    /// Whether the input may be normalized on the way.
    fn takes_norm(self) -> bool {
        self != Self::Sum
    }
}

/// Slots of the weight's rows in a tile of `linear_few.wgsl`.
fn few_slots(variant: LinearVariant) -> usize {
    if variant == LinearVariant::Few32 { 32 } else { 64 }
}

/// Whether a norm ahead of the layer may be its own work.
fn folds_norm(variant: LinearVariant, columns: Columns, epilogue: Epilogue) -> bool {
    variant.is_lanes() && columns >= Columns::Four && epilogue.takes_norm()
}

fn shader(
    variant: LinearVariant,
    use_: LinearUse,
    format: Format,
    columns: Columns,
    epilogue: Epilogue,
    normed: bool,
) -> Shader {
    let mut constants = WeightLayout::constants(format, columns, variant.reading());
    constants.extend(epilogue.constants());
    let subgroups = variant.uses_subgroups();
    constants.push(("SUBGROUPS", subgroups as u32));
    let (name, text) = match variant {
        LinearVariant::Cpu | LinearVariant::CpuSubgroups => {
            let (x_rows, lanes) = cpu_shape(use_);
            let one_row = x_rows == 1 && format.chunk().is_some();
            constants.extend([("X_ROWS", x_rows as u32), ("LANES", lanes as u32), ("ONE_ROW", one_row as u32)]);
            ("linear_cpu", wgsl!("linear_cpu"))
        }
        LinearVariant::Lanes64Dot => {
            constants.extend([("LANES", variant.lanes()), ("NORMED", 0)]);
            ("linear_vec_dot", wgsl!("linear_vec_dot"))
        }
        LinearVariant::Few64 | LinearVariant::Few32 | LinearVariant::FewF16 => {
            let slots = few_slots(variant) as u32;
            let f16_tiles = (variant == LinearVariant::FewF16) as u32;
            let shape = [("X_QUADS", 1), ("SLOTS", slots), ("INVOCATIONS", 2 * slots), ("F16_TILES", f16_tiles)];
            constants.extend(shape);
            ("linear_few", wgsl!("linear_few"))
        }
        LinearVariant::Mat8x4 | LinearVariant::Mat4x4 | LinearVariant::MatF16 => {
            let (x_quads, invocations) = if variant == LinearVariant::Mat4x4 { (1, 256) } else { (2, 128) };
            let f16_tiles = (variant == LinearVariant::MatF16) as u32;
            constants.extend([("X_QUADS", x_quads), ("INVOCATIONS", invocations), ("F16_TILES", f16_tiles)]);
            ("linear_mat", wgsl!("linear_mat"))
        }
        LinearVariant::SubgroupMatrix => {
            let matrix = gpu::adapter_features().subgroup_matrix.expect("an adapter with such");
            constants.extend(subgroup_matrix_constants(matrix));
            ("linear_subgroup_matrix", wgsl!("linear_subgroup_matrix"))
        }
        LinearVariant::Dot => {
            constants.push(("X_QUADS", 1));
            ("linear_dot", wgsl!("linear_dot"))
        }
        LinearVariant::Lanes16
        | LinearVariant::Lanes64
        | LinearVariant::Lanes64Subgroups
        | LinearVariant::Lanes64Halves
        | LinearVariant::Lanes64SubgroupsHalves => {
            constants.extend([("LANES", variant.lanes()), ("NORMED", normed as u32)]);
            constants.push(("NORM_BINDING", epilogue.bindings()));
            ("linear_vec", wgsl!("linear_vec"))
        }
    };
    Shader { name, text, constants, dims: epilogue.dims() }
}

fn subgroup_matrix_constants(matrix: SubgroupMatrix) -> [(&'static str, u32); 9] {
    let SubgroupMatrix { m, n, k, lanes } = matrix;
    [
        ("SUBGROUP_MATRIX", 1),
        ("F16_TILES", 1),
        ("SUBGROUP", lanes),
        ("FETCHES", 64 / lanes),
        ("MATRIX_M", m),
        ("MATRIX_N", n),
        ("MATRIX_K", k),
        ("MATRICES_M", 32 / m),
        ("MATRICES_N", 32 / n),
    ]
}

/// But for those of subgroup matrices, which only a browser can read.
pub(super) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for variant in LinearVariant::ALL.into_iter().filter(|variant| *variant != LinearVariant::SubgroupMatrix) {
        let uses: &[LinearUse] = if variant.for_cpu() { &[LinearUse::Vec, LinearUse::Mat] } else { &[LinearUse::Mat] };
        let kinds = WeightLayout::kinds().filter(|(format, _)| variant.fits(*format));
        for (format, columns) in kinds {
            for epilogue in Epilogue::ALL {
                let ways = if folds_norm(variant, columns, epilogue) { &[false, true][..] } else { &[false] };
                for normed in ways {
                    all.extend(uses.iter().map(|use_| shader(variant, *use_, format, columns, epilogue, *normed)));
                }
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
    let dims = [has_residual, act as u32];
    run(x, None, weight, layout.rows, bias, layout, Epilogue::Sum, 1, &[&residual], &dims)
}

pub(super) fn launch_gated(
    x: GpuTensor,
    norm: Option<Norm>,
    weight: &Buffer,
    bias: Option<GpuTensor>,
    layout: WeightLayout,
    act: Activation,
) -> GpuTensor {
    assert!(layout.rows.is_multiple_of(2), "linear_gated: as many rows of gate as of up");
    let ffn = layout.rows / 2;
    run(x, norm, weight, ffn, bias, layout, Epilogue::Gated, ffn, &[], &[act as u32])
}

#[allow(clippy::too_many_arguments, reason = "each is a binding of the shader or decides its text")]
pub(super) fn launch_rope_cache(
    x: GpuTensor,
    norm: Option<Norm>,
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
    let KvCache { k, v, capacity, format } = kv;
    assert_eq!(layout.rows, (heads + 2 * kv_heads) * head_dim, "linear_rope_cache: rows of q, k and v together");
    assert_eq!(rope.meta.shape().dims(), [*capacity, head_dim], "linear_rope_cache: shape of the table");
    let width = heads * head_dim;
    let dims = [heads, kv_heads, *capacity].map(|dim| dim as u32);
    let buffers = [&rope, k.gpu(), v.gpu(), state.gpu()];
    run(x, norm, weight, width, bias, layout, Epilogue::RopeCache(*format), head_dim / 2, &buffers, &dims)
}

/// Launches the variant in use; the result is `[n, width]`. `buffers` and `dims` are those of the epilogue, after what all of them have.
#[allow(clippy::too_many_arguments, reason = "the three public operations differ in nothing else")]
fn run(
    x: GpuTensor,
    norm: Option<Norm>,
    weight: &Buffer,
    width: usize,
    bias: Option<GpuTensor>,
    layout: WeightLayout,
    epilogue: Epilogue,
    distance: usize,
    buffers: &[&GpuTensor],
    dims: &[u32],
) -> GpuTensor {
    let x = gpu::contiguous(x);
    let [n, cols] = x.meta.shape().dims();
    let WeightLayout { format, rows, .. } = layout;
    assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
    if let Some((weight, _)) = &norm {
        assert_eq!(weight.meta.num_elements(), cols, "linear: norm of rows of {cols}");
    }
    if let Some(bias) = &bias {
        assert_eq!(bias.meta.num_elements(), rows, "linear: bias of {rows} rows");
    }
    let use_ = LinearUse::of(n);
    let variant = linear_variant(use_).fitting(format, &gpu::adapter_features());
    let columns = layout.columns(variant.reading());
    let bindable = epilogue.bindings() < PROMISED_BUFFERS || gpu::adapter_features().many_bindings;
    let folded = norm_variant() == NormVariant::Folded && folds_norm(variant, columns, epilogue) && bindable;
    let (x, norm, eps) = match norm {
        Some((weight, eps)) if folded => (x, Some(gpu::contiguous(weight)), eps),
        Some((weight, eps)) => (rms_norm::launch(x, weight, eps), None, 0.0),
        None => (x, None, 0.0),
    };
    let x = if variant.rounds_to_bytes() { linear_dot::rounded(&x) } else { x };
    let groups = match variant {
        LinearVariant::Cpu | LinearVariant::CpuSubgroups => {
            let (x_rows, lanes) = cpu_shape(use_);
            n.div_ceil(x_rows) * rows.div_ceil(lanes * CPU_SLOTS)
        }
        LinearVariant::Few64 | LinearVariant::Few32 | LinearVariant::FewF16 => {
            n.div_ceil(FEW_ROWS) * rows.div_ceil(few_slots(variant))
        }
        LinearVariant::Mat8x4
        | LinearVariant::Mat4x4
        | LinearVariant::MatF16
        | LinearVariant::SubgroupMatrix
        | LinearVariant::Dot => n.div_ceil(TILE) * rows.div_ceil(TILE),
        LinearVariant::Lanes16
        | LinearVariant::Lanes64
        | LinearVariant::Lanes64Subgroups
        | LinearVariant::Lanes64Halves
        | LinearVariant::Lanes64SubgroupsHalves
        | LinearVariant::Lanes64Dot => rows.div_ceil(VEC_SLOTS * WORKGROUP / variant.lanes() as usize),
    };
    let out = gpu::output(&x, [n, width]);
    let has_bias = bias.is_some();
    let bias = bias.unwrap_or_else(|| gpu::absent(&x, 0));
    let mut all_buffers = vec![&x, weight.gpu(), &out, &bias];
    all_buffers.extend(buffers);
    all_buffers.extend(&norm);
    let mut all_dims = [n, rows, cols, distance, has_bias as usize].map(|dim| dim as u32).to_vec();
    all_dims.push(eps.to_bits());
    all_dims.extend(dims);
    let shader = shader(variant, use_, format, columns, epilogue, norm.is_some());
    gpu::launch(shader, &all_buffers, &all_dims, groups);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Features;

    /// The words of more would not fit.
    #[test]
    fn gpus_with_few_registers_read_a_chunk_at_once() {
        let features = Features { few_registers: true, ..Default::default() };
        let lanes = LinearVariant::ALL.into_iter().filter(|variant| variant.is_lanes() && variant.available(&features));
        for (variant, format) in lanes.flat_map(|variant| Format::ALL.iter().map(move |format| (variant, *format))) {
            let Some(chunk) = format.chunk() else { continue };
            let fitting = variant.fitting(format, &features);
            let shader = shader(fitting, LinearUse::Vec, format, Columns::Piece, Epilogue::Sum, false);
            assert!(shader.constants.contains(&("PIECE_QUADS", chunk as u32 / 4)), "{format:?} by {fitting:?}");
        }
    }

    /// Which no compiler here can read: everything that the template asks for is there.
    #[test]
    fn shaders_of_subgroup_matrices_are_whole() {
        for (m, n, k, lanes) in [(8, 8, 8, 8), (8, 8, 8, 32), (16, 16, 16, 32), (8, 16, 16, 16), (16, 16, 16, 64)] {
            for (format, columns) in WeightLayout::kinds() {
                for epilogue in Epilogue::ALL {
                    let mut constants = WeightLayout::constants(format, columns, Reading::Vectors);
                    constants.extend(epilogue.constants());
                    constants.push(("SUBGROUPS", 0));
                    constants.extend(subgroup_matrix_constants(SubgroupMatrix { m, n, k, lanes }));
                    let text = wgsl!("linear_subgroup_matrix");
                    let source =
                        Shader { name: "linear_subgroup_matrix", text, constants, dims: epilogue.dims() }.source();
                    assert!(!source.contains(['$', '#']), "{source}");
                    let products = source.matches("subgroupMatrixMultiplyAccumulate").count() as u32;
                    assert_eq!(products, 32 / m * (32 / n), "matrices of a subgroup");
                }
            }
        }
    }
}
