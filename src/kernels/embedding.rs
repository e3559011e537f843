//! Rows of a (quantized) embedding table, picked by id.

use super::*;
use crate::device::each_kind;

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
    w.sum(|part| {
        each_kind!(Buffer, state, |B, state| {
            Tensor::from_primitive::<B>(B::embed_drawn(state, &part.data, part.layout, part.rows.start))
        })
    })
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
