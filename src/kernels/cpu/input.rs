//! A row that is multiplied with the rows of a weight.

use crate::quant::CHUNK;

/// Scales of a weight that are read together; those of a row that are fewer are followed by zeros.
pub const SCALES: usize = 16;

/// One row of x and, for formats that add a minimum to each block, the sum of each block.
pub struct Input<'a> {
    values: &'a [f32],
    block_sums: Vec<f32>,
}

impl<'a> Input<'a> {
    pub fn new(values: &'a [f32]) -> Self {
        let blocks = values.as_chunks::<CHUNK>().0;
        let mut block_sums: Vec<f32> = blocks.iter().flat_map(|block| [0.0, sum(block)]).collect();
        block_sums.resize(block_sums.len().next_multiple_of(SCALES), 0.0);
        Self { values, block_sums }
    }

    pub fn values(&self) -> &[f32] {
        self.values
    }

    /// Of each block 0 and the sum, as a weight's scales and minimums lie; zeros up to whole [`SCALES`].
    pub fn block_sums(&self) -> &[f32] {
        &self.block_sums
    }
}

/// In eight sums side by side, as any compiler makes vectors of.
fn sum(block: &[f32; CHUNK]) -> f32 {
    let mut sums = [0.0; 8];
    for part in block.as_chunks::<8>().0 {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums.iter().sum()
}
