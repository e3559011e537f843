//! [`embedding`](crate::kernels::embedding) as a shader.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

fn shader(format: Format, columns: Columns) -> Shader {
    Shader {
        name: "embedding",
        text: wgsl!("embedding"),
        constants: WeightLayout::constants(format, columns, Reading::Vectors),
        dims: &["n", "rows", "cols", "first", "start"],
    }
}

pub(super) fn shaders() -> impl Iterator<Item = Shader> {
    WeightLayout::kinds().map(|(format, columns)| shader(format, columns))
}

pub(super) fn launch(ids: GpuTensor, weight: &Buffer, layout: WeightLayout, start: usize) -> GpuTensor {
    let ids = gpu::contiguous(ids);
    let n = ids.meta.num_elements();
    pick(&ids, weight, layout, start, 0, n)
}

pub(super) fn launch_drawn(state: &GpuTensor, weight: &Buffer, layout: WeightLayout, start: usize) -> GpuTensor {
    pick(state, weight, layout, start, 2, 1)
}

/// Rows by the ids `first..first + n`, of a part of the table that begins with the id `start`. Ids that another part holds give
/// zeros, so the parts add up.
fn pick(ids: &GpuTensor, weight: &Buffer, layout: WeightLayout, start: usize, first: usize, n: usize) -> GpuTensor {
    let out = gpu::output(ids, [n, layout.cols]);
    let dims = [n, layout.rows, layout.cols, first, start].map(|dim| dim as u32);
    let shader = shader(layout.format, layout.columns(Reading::Vectors));
    gpu::launch(shader, &[ids, weight.gpu(), &out], &dims, (n * layout.cols.div_ceil(4)).div_ceil(WORKGROUP));
    out
}
