//! The gated activation of LLaMA's MLP: `silu(gate) * up`, of one row that holds both.

use super::launch::{self, GpuTensor, Shader, WORKGROUP};
use super::*;

pub(super) fn shader() -> Shader {
    Shader {
        name: "silu_mul",
        text: include_str!("../../shaders/silu_mul.wgsl"),
        constants: vec![],
        dims: &["len", "ffn"],
    }
}

/// # Shapes
/// - `gate_up`: `[n, 2 * ffn]`, the gate's columns before the up projection's
/// - output: `[n, ffn]`
pub fn silu_mul(gate_up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::silu_mul(gate_up.into_dispatch()))
}

/// [`silu_mul`] on plain slices.
pub fn naive(gate_up: &[f32], ffn: usize) -> Vec<f32> {
    let row = |row: &[f32]| (0..ffn).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[ffn + i]).collect::<Vec<_>>();
    gate_up.chunks_exact(2 * ffn).flat_map(row).collect()
}

pub(super) fn launch(gate_up: GpuTensor) -> GpuTensor {
    let gate_up = launch::contiguous(gate_up);
    let [n, width] = gate_up.meta.shape().dims();
    assert!(width % 2 == 0, "silu_mul: {width} columns are not two halves");
    let ffn = width / 2;
    let out = launch::output(&gate_up, [n, ffn]);
    launch::launch(shader(), &[&gate_up, &out], &[(n * ffn) as u32, ffn as u32], (n * ffn).div_ceil(WORKGROUP));
    out
}
