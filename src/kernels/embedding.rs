//! Rows of a (quantized) embedding table, picked by id.

use super::launch::{self, GpuTensor, Shader, WORKGROUP};
use super::*;

fn shader(format: Format, quads: bool) -> Shader {
    Shader {
        name: "embedding",
        text: include_str!("../../shaders/embedding.wgsl"),
        constants: WeightLayout::constants(format, quads),
        dims: &["n", "rows", "cols", "first"],
    }
}

pub(super) fn shaders() -> impl Iterator<Item = Shader> {
    WeightLayout::KINDS.into_iter().map(|(format, quads)| shader(format, quads))
}

/// An id past the table gives a row of zeros.
///
/// # Shapes
/// - `ids`: `[n]`, `w`: `[vocab, cols]`
/// - output: `[n, cols]`
pub fn embedding(ids: Tensor<1, Int>, w: &Weight) -> Tensor<2> {
    let [n] = ids.dims();
    Tensor::from_dispatch(Dispatch::embedding(ids.into_dispatch(), w.data.clone().into_dispatch(), w.layout(), 0, n))
}

/// The embedding of the token drawn last, which lies in `state`: the input of a decode step.
///
/// # Shapes
/// - output: `[1, cols]`
pub fn embed_drawn(state: &Tensor<1, Int>, w: &Weight) -> Tensor<2> {
    let (state, data) = (state.clone().into_dispatch(), w.data.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::embedding(state, data, w.layout(), 2, 1))
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

pub(super) fn launch(ids: GpuTensor, weight: GpuTensor, layout: WeightLayout, first: usize, n: usize) -> GpuTensor {
    let ids = launch::contiguous(ids);
    let out = launch::output(&ids, [n, layout.cols]);
    let dims = [n, layout.rows, layout.cols, first].map(|dim| dim as u32);
    let shader = shader(layout.format, layout.quads());
    launch::launch(shader, &[&ids, &weight, &out], &dims, (n * layout.cols.div_ceil(4)).div_ceil(WORKGROUP));
    out
}
