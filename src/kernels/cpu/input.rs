//! A row that is multiplied with the rows of a weight.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernels::Precision;
use crate::quant::{CHUNK, Format};

/// Scales of a weight that are read together; those of a row that are fewer are followed by zeros.
pub const SCALES: usize = 16;

static FAST: AtomicBool = AtomicBool::new(false);

/// Whether single rows are rounded to 8 bits before they are multiplied, from now on in this process.
pub fn set_precision(precision: Precision) {
    FAST.store(precision == Precision::Fast, Ordering::Relaxed);
}

/// One row of x; for formats in chunks with the sum of each chunk or, where less precision is enough, in 8 bits.
pub struct Input<'a> {
    values: &'a [f32],
    chunk_sums: Vec<f32>,
    bytes: Option<Bytes>,
}

/// A row in 8 bits, with a scale for each chunk.
pub struct Bytes {
    pub values: Vec<[i8; CHUNK]>,
    pub scales: Vec<f32>,
}

impl<'a> Input<'a> {
    pub fn new(values: &'a [f32], format: Format) -> Self {
        let chunks = values.as_chunks::<CHUNK>().0;
        let bytes = (format.is_chunked() && FAST.load(Ordering::Relaxed)).then(|| Bytes::new(chunks));
        let mut chunk_sums: Vec<f32> = match &bytes {
            Some(bytes) => bytes.sums().flat_map(|sum| [0.0, sum]).collect(),
            None => chunks.iter().flat_map(|chunk| [0.0, sum(chunk)]).collect(),
        };
        chunk_sums.resize(chunk_sums.len().next_multiple_of(SCALES), 0.0);
        Self { values, chunk_sums, bytes }
    }

    pub fn values(&self) -> &[f32] {
        self.values
    }

    /// Of each chunk 0 and the sum, as a weight's scales and minimums lie; zeros up to whole [`SCALES`].
    pub fn chunk_sums(&self) -> &[f32] {
        &self.chunk_sums
    }

    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }
}

impl Bytes {
    fn new(chunks: &[[f32; CHUNK]]) -> Self {
        let (values, scales) = chunks.iter().map(rounded).unzip();
        Self { values, scales }
    }

    fn sums(&self) -> impl Iterator<Item = f32> {
        let sum = |chunk: &[i8; CHUNK]| chunk.iter().map(|byte| i32::from(*byte)).sum::<i32>() as f32;
        self.values.iter().zip(&self.scales).map(move |(chunk, scale)| sum(chunk) * scale)
    }
}

/// A chunk in 8 bits and its scale, which is no number where one of the chunk is none.
fn rounded(chunk: &[f32; CHUNK]) -> ([i8; CHUNK], f32) {
    let top = chunk.iter().fold(0f32, |top, x| top.max(x.abs()));
    let scale = if sum(chunk).is_finite() { top / 127.0 } else { f32::NAN };
    let inverse = if top == 0.0 { 0.0 } else { 127.0 / top };
    (chunk.map(|x| (x * inverse).round_ties_even() as i8), scale)
}

/// In eight sums side by side, as any compiler makes vectors of.
fn sum(chunk: &[f32; CHUNK]) -> f32 {
    let mut sums = [0.0; 8];
    for part in chunk.as_chunks::<8>().0 {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums.iter().sum()
}
