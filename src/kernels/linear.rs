//! Linear layers on weights in any storage format: `act(x Wᵀ + bias) + residual`. Few rows go through `linear_vec`
//! (each weight is used once, so reading it is all that counts), many through `linear_mat` (each weight is dequantized
//! once for 32 rows).

use std::sync::atomic::{AtomicU32, Ordering};

use super::launch::{self, GpuTensor, Shader, WORKGROUP};
use super::*;

/// Up to this many rows the mat-vec shader is used.
const MAX_VEC_ROWS: usize = 4;
/// Rows of `x` and of the weight in a tile of `linear_mat.wgsl`.
const TILE: (usize, usize) = (32, 64);
/// Choices of invocations that share an output in `linear_vec.wgsl`: on a GPU neighbours read neighbouring blocks of a
/// row; on a CPU a barrier costs more than that gains.
pub const VEC_LANES: [u32; 2] = [1, 16];

/// The choice in use; 0 stands for the adapter's own.
static CHOSEN_LANES: AtomicU32 = AtomicU32::new(0);

/// Fixes the choice among [`VEC_LANES`] for mat-vec launches from now on, whatever the adapter; results do not depend
/// on it.
pub fn set_vec_lanes(lanes: u32) {
    assert!(VEC_LANES.contains(&lanes), "mat-vec lanes are one of {VEC_LANES:?}");
    CHOSEN_LANES.store(lanes, Ordering::Relaxed);
}

fn vec_lanes() -> u32 {
    match CHOSEN_LANES.load(Ordering::Relaxed) {
        0 => VEC_LANES[!launch::software_adapter() as usize],
        lanes => lanes,
    }
}

fn constants(format: Format, quads: bool, bias: bool, residual: bool, act: Activation) -> Vec<(&'static str, u32)> {
    let mut constants = WeightLayout::constants(format, quads);
    // The number of each optional binding, zero where it is absent.
    constants.push(("BIAS", if bias { 3 } else { 0 }));
    constants.push(("RESIDUAL", if residual { 3 + bias as u32 } else { 0 }));
    constants.push(("ACTIVATION", act as u32));
    constants
}

fn vec_shader(mut constants: Vec<(&'static str, u32)>, lanes: u32) -> Shader {
    constants.push(("LANES", lanes));
    constants.push(("SHARED_ROW", (lanes > 1) as u32));
    Shader {
        name: "linear_vec",
        text: include_str!("../../shaders/linear_vec.wgsl"),
        constants,
        dims: &["n", "rows", "cols"],
    }
}

fn mat_shader(constants: Vec<(&'static str, u32)>) -> Shader {
    Shader {
        name: "linear_mat",
        text: include_str!("../../shaders/linear_mat.wgsl"),
        constants,
        dims: &["n", "rows", "cols"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for (format, quads) in WeightLayout::KINDS {
        for (bias, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            for act in Activation::ALL {
                let constants = || constants(format, quads, bias, residual, act);
                all.extend(VEC_LANES.map(|lanes| vec_shader(constants(), lanes)));
                all.push(mat_shader(constants()));
            }
        }
    }
    all
}

/// `act(x Wᵀ + bias) + residual`; `residual` must not be `x` itself.
///
/// # Shapes
/// - `x`: `[n, cols]`, `w`: `[rows, cols]`, `bias`: `[rows]`, `residual`: `[n, rows]`
/// - output: `[n, rows]`
pub fn linear(
    x: Tensor<2>,
    w: &Weight,
    bias: Option<&Tensor<1>>,
    residual: Option<Tensor<2>>,
    act: Activation,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear(
        x.into_dispatch(),
        w.data.clone().into_dispatch(),
        Operand::of(bias.cloned()),
        Operand::of(residual),
        w.layout(),
        act,
    ))
}

/// [`linear`] on plain slices; sums in f64.
pub fn naive(
    x: &[f32],
    weight: &[u8],
    format: Format,
    (rows, cols): (usize, usize),
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    act: Activation,
) -> Vec<f32> {
    let weight = format.decode("weight", rows, cols, weight).expect("bytes of the given shape");
    let mut out = Vec::with_capacity(x.len() / cols * rows);
    for x in x.chunks_exact(cols) {
        for (row, weight) in weight.chunks_exact(cols).enumerate() {
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| *x as f64 * *w as f64).sum();
            let sum = sum + bias.map_or(0.0, |bias| bias[row] as f64);
            out.push((naive_activation(act, sum) + residual.map_or(0.0, |residual| residual[out.len()] as f64)) as f32);
        }
    }
    out
}

/// An activation by its definition.
pub fn naive_activation(act: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match act {
        Activation::None => x,
        Activation::Gelu => x / 2.0 * (1.0 + erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::Relu => x.max(0.0),
    }
}

/// The error function by its Taylor series, to about 1e-11 where it is not yet ±1.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(super) fn launch(
    x: GpuTensor,
    weight: GpuTensor,
    bias: Option<GpuTensor>,
    residual: Option<GpuTensor>,
    layout: WeightLayout,
    act: Activation,
) -> GpuTensor {
    let x = launch::contiguous(x);
    let residual = residual.map(launch::contiguous);
    let [n, cols] = x.meta.shape().dims();
    let WeightLayout { format, rows, .. } = layout;
    assert_eq!(cols, layout.cols, "linear: columns of the input and of the weight");
    if let Some(bias) = &bias {
        assert_eq!(bias.meta.num_elements(), rows, "linear: bias of {rows} rows");
    }
    if let Some(residual) = &residual {
        assert_eq!(residual.meta.shape().dims(), [n, rows], "linear: shape of the residual");
    }
    let constants = constants(format, layout.quads(), bias.is_some(), residual.is_some(), act);
    let out = launch::output(&x, [n, rows]);
    let mut buffers = vec![&x, &weight, &out];
    buffers.extend(&bias);
    buffers.extend(&residual);
    let dims = [n, rows, cols].map(|dim| dim as u32);
    if n <= MAX_VEC_ROWS {
        let lanes = vec_lanes();
        let groups = n * rows.div_ceil(WORKGROUP / lanes as usize);
        launch::launch(vec_shader(constants, lanes), &buffers, &dims, groups);
    } else {
        let groups = n.div_ceil(TILE.0) * rows.div_ceil(TILE.1);
        launch::launch(mat_shader(constants), &buffers, &dims, groups);
    }
    out
}
