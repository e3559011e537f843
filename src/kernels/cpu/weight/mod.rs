//! How the rows of a weight are multiplied and read, one file a storage format: what kernels know of formats.

mod decoded;
mod f16;
mod lines;
mod q4;
mod q4k;
mod q5k;
mod q6k;
mod q8;

use std::ops::Range;

pub use decoded::Decoded;
pub use f16::F16;
use lines::{Lines, Nibbles, Quants};
pub use q4::Q4;
pub use q4k::Q4K;
pub use q5k::Q5K;
pub use q6k::Q6K;
pub use q8::Q8;

use super::dots::tile;
use super::input::{Input, SCALES};
use super::simd::Simd;
use crate::quant::{CHUNK, Format};

/// A weight's stored bytes and its shape.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub bytes: &'a [u8],
    pub format: Format,
    pub rows: usize,
    pub cols: usize,
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// If there are fewer bytes than the shape needs, so that rows need no further checks.
    pub fn new(bytes: &'a [u8], format: Format, rows: usize, cols: usize) -> Self {
        assert!(format.byte_len(rows, cols).is_some_and(|len| len <= bytes.len()), "bytes of a weight");
        Self { bytes, format, rows, cols }
    }

    /// Where the quants and where the scales of `row` begin, by bytes of a row of each.
    #[inline(always)]
    fn row(&self, row: usize, quants: usize, scales: usize) -> (*const u8, *const u8) {
        assert!(row < self.rows);
        let at = self.bytes.as_ptr();
        // SAFETY: within the bytes, as `new` has seen.
        unsafe { (at.add(row * quants), at.add(self.rows * quants + row * scales)) }
    }

    /// Has the cache fetch `bytes` that lie `ahead` of `at`, if there are so many, while something else is computed: rows are too short
    /// for it to see by itself where this goes.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, at: *const u8, ahead: usize, bytes: usize) {
        const LINE: usize = 64;
        if ahead + bytes <= self.bytes.as_ptr_range().end as usize - at as usize {
            for line in (0..bytes).step_by(LINE) {
                // SAFETY: within the bytes.
                unsafe { S::prefetch(at.add(ahead + line)) };
            }
        }
    }
}

/// A storage format, as the kernels use it.
pub trait Stored {
    /// The dot products of `x` with some rows.
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N];

    /// The numbers of some columns of a row, whole blocks in formats that have them.
    fn decode<S: Simd>(matrix: &Matrix, row: usize, cols: Range<usize>, out: &mut [f32]);
}

/// `count` scales in half precision from `at` on, [`SCALES`] of them at most.
#[inline(always)]
unsafe fn scales<S: Simd>(at: *const u8, count: usize) -> [f32; SCALES] {
    let mut rest = [0u16; SCALES];
    let mut halves: *const u16 = at.cast();
    let mut scales = [0.0; SCALES];
    unsafe {
        if count < SCALES {
            for (i, rest) in rest.iter_mut().enumerate().take(count) {
                *rest = halves.add(i).read_unaligned();
            }
            halves = rest.as_ptr();
        }
        for i in (0..SCALES).step_by(S::LANES) {
            S::store(scales.as_mut_ptr().add(i), S::load_halves(halves.add(i)));
        }
    }
    scales
}

/// Numbers in half precision to floats.
#[inline(always)]
unsafe fn widen<S: Simd>(halves: *const u16, out: &mut [f32]) {
    let whole = out.len() / S::LANES * S::LANES;
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(out.as_mut_ptr().add(i), S::load_halves(halves.add(i)));
        }
    }
    for (i, out) in out.iter_mut().enumerate().skip(whole) {
        *out = half::f16::from_bits(unsafe { halves.add(i).read_unaligned() }).to_f32();
    }
}
