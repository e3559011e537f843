//! Rows of a (quantized) embedding table, picked by id.

use super::*;
use crate::device::gpu::{self, GpuTensor, Shader, WORKGROUP};

fn shader(format: Format, quads: bool) -> Shader {
    Shader {
        name: "embedding",
        text: wgsl!("embedding"),
        constants: WeightLayout::constants(format, quads, false),
        dims: &["n", "rows", "cols", "first", "start"],
    }
}

pub(super) fn shaders() -> impl Iterator<Item = Shader> {
    WeightLayout::kinds().map(|(format, quads)| shader(format, quads))
}

/// An id past the table gives a row of zeros.
///
/// # Shapes
/// - `ids`: `[n]`, `w`: `[vocab, cols]`
/// - output: `[n, cols]`
pub fn embedding(ids: Tensor<1, Int>, w: &Weight) -> Tensor<2> {
    w.sum(|part| {
        let ids = ids.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::embedding(ids, part.data.clone(), part.layout, part.rows.start))
    })
}

/// The embedding of the token drawn last, which lies in `state`: the input of a decode step.
///
/// # Shapes
/// - output: `[1, cols]`
pub fn embed_drawn(state: &Buffer, w: &Weight) -> Tensor<2> {
    w.sum(|part| ops::embed_drawn(state, &part.data, part.layout, part.rows.start))
}

/// [`embedding`] on plain slices.
pub fn naive(ids: &[u32], weight: &[u8], format: Format, rows: usize, cols: usize) -> Vec<f32> {
    let table = format.decode("weight", rows, cols, weight).expect("bytes of the given shape");
    let row = |id: &u32| match *id as usize {
        id if id < rows => table[id * cols..][..cols].to_vec(),
        _ => vec![0.0; cols],
    };
    ids.iter().flat_map(row).collect()
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
    let shader = shader(layout.format, layout.quads());
    gpu::launch(shader, &[ids, weight.gpu(), &out], &dims, (n * layout.cols.div_ceil(4)).div_ceil(WORKGROUP));
    out
}
