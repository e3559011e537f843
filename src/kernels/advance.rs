//! Moves the position in `state`, on the GPU: after a prefill of `n` rows the token drawn next belongs at `position +
//! n`.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader};

pub(super) fn shader() -> Shader {
    Shader { name: "advance", text: wgsl!("advance"), constants: vec![], dims: &["by"] }
}

/// Adds `by` to the position in `state`, in place. [`sample`] itself adds one, so a prefill of `n` rows is followed by
/// `advance(state, n - 1)`.
pub fn advance(state: &Buffer, by: usize) {
    ops::advance(state, by);
}

pub(super) fn launch(state: &GpuTensor, by: usize) {
    gpu::launch(shader(), &[state], &[by as u32], 1);
}
