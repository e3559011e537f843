//! A row that is multiplied with the rows of a weight.

use std::borrow::Cow;
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
        Self::of(values, bytes)
    }

    fn of(values: &'a [f32], bytes: Option<Bytes>) -> Self {
        let chunks = values.as_chunks::<CHUNK>().0;
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

    /// What the row is multiplied as, in f32: its values, or what 8 bits leave of them.
    pub fn multiplied(&self) -> Cow<'_, [f32]> {
        let Some(Bytes { values, scales }) = &self.bytes else { return self.values.into() };
        let chunks = values.iter().zip(scales);
        chunks.flat_map(|(chunk, scale)| chunk.map(|byte| f32::from(byte) * scale)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::simd::{Kernel, Simd, run};
    use crate::kernels::cpu::weight::{Decoded, Matrix, Q8, Stored};

    /// The products of a row with one of a q8 matrix, by its own loop and by that for any format.
    struct Both<'a>(&'a Matrix<'a>, &'a Input<'a>);

    impl Kernel for Both<'_> {
        type Output = [f32; 2];

        #[inline(always)]
        fn run<S: Simd>(self) -> [f32; 2] {
            let Self(matrix, x) = self;
            let ([own], [any]) = (Q8::dots::<S, 1>(matrix, [1], x), Decoded::dots::<S, 1>(matrix, [1], x));
            [own, any]
        }
    }

    #[test]
    fn a_format_without_a_loop_of_its_own_rounds_rows_too() {
        let cols = 3 * CHUNK;
        let numbers = |seed: usize| (0..2 * cols).map(|i| ((i * seed) % 197) as f32 / 98.5 - 1.0).collect::<Vec<_>>();
        let (bytes, x) = (Format::Q8.encode("w", 2, cols, &numbers(89)).unwrap(), &numbers(61)[..cols]);
        let matrix = Matrix::new(&bytes, Format::Q8, 2, cols);
        let exact = Input::of(x, None);
        let rounded = Input::of(x, Some(Bytes::new(x.as_chunks().0)));
        let [[a, b], [c, d]] = [&exact, &rounded].map(|x| run(Both(&matrix, x)));
        assert!((a - b).abs() < 1e-4 && (c - d).abs() < 1e-4, "{a} {b}, rounded {c} {d}");
        assert!((a - c).abs() > 1e-3, "rounding is seen: {a} {c}");
    }
}
