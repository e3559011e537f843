//! The input of the packed dot product: rounded once, not by each of the tiles that read it.

use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};
use crate::quant::CHUNK;

fn shader() -> Shader {
    Shader {
        name: "linear_dot_x",
        text: wgsl!("linear_dot_x"),
        constants: vec![("QUADS", 1), ("CHUNK", CHUNK as u32), ("CHUNK_QUADS", CHUNK as u32 / 4)],
        dims: &["n", "cols"],
    }
}

pub(super) fn shaders() -> Vec<Shader> {
    vec![shader()]
}

/// `x` (`[n, cols]`, whole chunks) in 8 bits: the bytes of all chunks, then scale and scaled sum of each.
pub(super) fn rounded(x: &GpuTensor) -> GpuTensor {
    let [n, cols] = x.meta.shape().dims();
    let chunks = n * cols / CHUNK;
    let out = gpu::output(x, [chunks * (CHUNK / 4 + 2)]);
    gpu::launch(shader(), &[x, &out], &[n as u32, cols as u32], chunks.div_ceil(WORKGROUP));
    out
}
