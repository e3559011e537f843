//! Rows of a table, by their numbers.

use super::formats::for_format;
use super::simd::{Kernel, Simd, run};
use super::weight::{Matrix, Stored};

struct Embedding<'a> {
    ids: &'a [u32],
    table: &'a Matrix<'a>,
    start: usize,
    out: &'a mut [f32],
}

impl Kernel for Embedding<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Matrix { rows, cols, .. } = *self.table;
        for (id, out) in self.ids.iter().zip(self.out.chunks_exact_mut(cols)) {
            if let Some(row) = (*id as usize).checked_sub(self.start).filter(|row| *row < rows) {
                for_format!(self.table, Format => Format::decode::<S>(self.table, row, 0..cols, out));
            }
        }
    }
}

/// The rows `ids` of a table, of which `table` holds those from `start` on; zeros for the others.
pub fn embedding(ids: &[u32], table: &Matrix, start: usize) -> Vec<f32> {
    let mut out = vec![0.0; ids.len() * table.cols];
    run(Embedding { ids, table, start, out: &mut out });
    out
}
