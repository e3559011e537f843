//! [`advance`](crate::kernels::advance) as a shader.

use crate::device::gpu::{self, GpuTensor, Shader};

pub(super) fn shader() -> Shader {
    Shader { name: "advance", text: wgsl!("advance"), constants: vec![], dims: &["by"] }
}

pub(super) fn launch(state: &GpuTensor, by: usize) {
    gpu::launch(shader(), &[state], &[by as u32], 1);
}
