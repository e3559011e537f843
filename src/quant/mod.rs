//! The four ways a weight tensor is stored, in a bundle and on the GPU alike: the same little-endian bytes.
//!
//! A tensor is a matrix `[rows, cols]` (a vector is one row). The quantized formats cut every row into blocks of
//! [`BLOCK`] columns, numbered `row * (cols / 32) + block`, and store first all quants, then all scales:
//!
//! | format | quants per block                                             | scales per block        | value               |
//! |--------|--------------------------------------------------------------|-------------------------|---------------------|
//! | `q4`   | 16 bytes: byte `j` = element `j` (low) and `j + 16` (high)   | f16 scale, f16 minimum  | `q * scale + minimum`, `q` in 0..=15 |
//! | `q8`   | 32 x i8 in order                                             | f16 scale               | `q * scale`, `q` in -127..=127 |
//! | `f16`  | 2 bytes per element                                          |                         |                     |
//! | `f32`  | 4 bytes per element                                          |                         |                     |
//!
//! Every tensor is padded with zeros to a multiple of 4 bytes, so that it binds as `array<u32>`.
//! Values are dequantized in f32 from the f16 scale and minimum.

use std::array;
use std::ops::Range;

use half::f16;
use serde::{Deserialize, Serialize};
use wide::{f32x8, i32x8};

use crate::{Error, Result};

/// Number of neighbouring columns that share one scale.
pub const BLOCK: usize = 32;

/// How the elements of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// 4-bit quants with an f16 scale and minimum per block: 5 bits a weight.
    Q4,
    /// 8-bit quants with an f16 scale per block: 8.5 bits a weight.
    Q8,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl Format {
    /// The name used in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Q4 => "q4",
            Format::Q8 => "q8",
            Format::F16 => "f16",
            Format::F32 => "f32",
        }
    }

    /// The format called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Format::Q4, Format::Q8, Format::F16, Format::F32].into_iter().find(|format| format.name() == name)
    }

    /// Whether elements come in blocks with scales.
    pub fn is_quantized(self) -> bool {
        matches!(self, Format::Q4 | Format::Q8)
    }

    /// Whether a matrix with `cols` columns can be stored in this format.
    pub fn fits(self, cols: usize) -> bool {
        !self.is_quantized() || cols.is_multiple_of(BLOCK)
    }

    /// Bytes of all elements of `[rows, cols]` without the scales: for quantized formats, where the scales begin.
    /// `None` if the format does not fit or the number overflows.
    pub fn quants_len(self, rows: usize, cols: usize) -> Option<usize> {
        if !self.fits(cols) {
            return None;
        }
        let elements = rows.checked_mul(cols)?;
        match self {
            Format::Q4 => Some(elements / 2),
            Format::Q8 => Some(elements),
            Format::F16 => elements.checked_mul(2),
            Format::F32 => elements.checked_mul(4),
        }
    }

    /// Bytes of the scales of `[rows, cols]`, without padding; 0 for plain floats.
    pub fn scales_len(self, rows: usize, cols: usize) -> Option<usize> {
        let blocks = rows.checked_mul(cols / BLOCK)?;
        match self {
            Format::Q4 => blocks.checked_mul(4),
            Format::Q8 => blocks.checked_mul(2),
            Format::F16 | Format::F32 => Some(0),
        }
    }

    /// Bytes of a whole tensor `[rows, cols]`, padding included: always a multiple of 4.
    /// `None` if the format does not fit or the number overflows.
    pub fn byte_len(self, rows: usize, cols: usize) -> Option<usize> {
        self.quants_len(rows, cols)?.checked_add(self.scales_len(rows, cols)?)?.checked_next_multiple_of(4)
    }

    /// Stores `values` (`[rows, cols]`, row by row).
    ///
    /// # Errors
    /// The shape does not fit, a value is not finite, or a value, scale or minimum exceeds f16. `name` is the tensor's
    /// name, for the message.
    pub fn encode(self, name: &str, rows: usize, cols: usize, values: &[f32]) -> Result<Vec<u8>> {
        let bytes = self.byte_len(rows, cols).filter(|_| values.len() == rows * cols);
        let bytes = bytes.ok_or_else(|| bad_shape(self, name, rows, cols, values.len(), "values"))?;
        let mut quants = Vec::with_capacity(bytes);
        let mut scales = Vec::new();
        self.encode_part(name, values, &mut quants, &mut scales)?;
        quants.append(&mut scales);
        quants.resize(bytes, 0);
        Ok(quants)
    }

    /// Stores whole rows of a larger tensor: appends to its `quants` and `scales`, which the caller joins and pads at
    /// the end. Lets a converter work through a tensor that it never holds in f32.
    ///
    /// # Errors
    /// As [`Format::encode`].
    pub fn encode_part(self, name: &str, values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<()> {
        // Looks at all of them, which compiles to vector instructions; which one it is matters only then.
        if !values.iter().fold(true, |finite, value| finite & value.is_finite()) {
            let value = values.iter().find(|value| !value.is_finite()).unwrap_or(&f32::NAN);
            return Err(Error::bundle(tensor(name), format!("holds {value}; only finite weights can be stored")));
        }
        match self {
            Format::F32 => quants.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Format::F16 => {
                for &value in values {
                    quants.extend(to_f16(name, value)?.to_le_bytes());
                }
            }
            Format::Q8 => {
                for block in values.as_chunks().0 {
                    let (quant, scale) = q8_block(name, block)?;
                    quants.extend(quant);
                    scales.extend(scale.to_le_bytes());
                }
            }
            Format::Q4 => {
                for block in values.as_chunks().0 {
                    let Q4Block { quants: q, scale, minimum } = q4_block(name, block)?;
                    let q = bytes(whole(q));
                    quants.extend::<[u8; BLOCK / 2]>(array::from_fn(|j| q[j] | q[j + BLOCK / 2] << 4));
                    scales.extend(scale.to_le_bytes());
                    scales.extend(minimum.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// The stored form of some rows of a tensor `[rows, cols]` that is `stack` matrices of equal height below each other: of
    /// each of these the rows `wanted`.
    ///
    /// # Panics
    /// If `bytes` is not a tensor of that shape, or has no such rows.
    pub fn rows(self, bytes: &[u8], (rows, cols): (usize, usize), stack: usize, wanted: Range<usize>) -> Vec<u8> {
        let quants = self.quants_len(rows, cols).expect("a format that fits");
        let (quants, scales) = bytes.split_at(quants);
        let mut part = Vec::new();
        for (bytes, row) in [(quants, self.quants_len(1, cols)), (scales, self.scales_len(1, cols))] {
            let row = row.expect("a format that fits");
            for matrix in 0..stack {
                let top = matrix * (rows / stack);
                part.extend_from_slice(&bytes[(top + wanted.start) * row..(top + wanted.end) * row]);
            }
        }
        part.resize(part.len().next_multiple_of(4), 0);
        part
    }

    /// The values of a tensor stored by [`Format::encode`]: `[rows, cols]`, row by row.
    ///
    /// # Errors
    /// `bytes` does not have exactly the length that the shape asks for.
    pub fn decode(self, name: &str, rows: usize, cols: usize, bytes: &[u8]) -> Result<Vec<f32>> {
        let split = self.quants_len(rows, cols).filter(|_| self.byte_len(rows, cols) == Some(bytes.len()));
        let split = split.ok_or_else(|| bad_shape(self, name, rows, cols, bytes.len(), "bytes"))?;
        let (quants, scales) = bytes.split_at(split);
        Ok(self.decode_part(quants, scales))
    }

    /// The values of whole blocks stored by [`Format::encode_part`].
    pub fn decode_part(self, quants: &[u8], scales: &[u8]) -> Vec<f32> {
        match self {
            Format::F32 => quants.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Format::F16 => f16s(quants).map(f16::to_f32).collect(),
            Format::Q8 => {
                let scales = f16s(scales).map(f16::to_f32);
                let mut values = Vec::with_capacity(quants.len());
                for (block, scale) in quants.as_chunks::<BLOCK>().0.iter().zip(scales) {
                    values.extend(block.map(|q| f32::from(q as i8) * scale));
                }
                values
            }
            Format::Q4 => {
                let mut values = Vec::with_capacity(quants.len() * 2);
                for (block, &[s0, s1, m0, m1]) in quants.as_chunks::<{ BLOCK / 2 }>().0.iter().zip(scales.as_chunks().0)
                {
                    let scale = f16::from_le_bytes([s0, s1]).to_f32();
                    let minimum = f16::from_le_bytes([m0, m1]).to_f32();
                    let value = |q: u8| f32::from(q) * scale + minimum;
                    values.extend(block.map(|byte| value(byte & 15)));
                    values.extend(block.map(|byte| value(byte >> 4)));
                }
                values
            }
        }
    }
}

/// A block in vectors: encoding a 7B model goes through hundreds of millions of them.
type Lanes = [f32x8; BLOCK / 8];

fn lanes(values: &[f32; BLOCK]) -> Lanes {
    let (parts, _) = values.as_chunks();
    array::from_fn(|i| f32x8::from(parts[i]))
}

fn largest(values: Lanes) -> f32 {
    values.into_iter().reduce(f32x8::fast_max).unwrap_or_default().to_array().into_iter().fold(f32::MIN, f32::max)
}

fn sum(values: Lanes) -> f32 {
    values.into_iter().sum::<f32x8>().reduce_add()
}

/// The whole number below each value, as every value is 0 or more.
fn whole(values: Lanes) -> [i32x8; BLOCK / 8] {
    values.map(f32x8::fast_trunc_int)
}

/// The last byte of each number.
fn bytes(numbers: [i32x8; BLOCK / 8]) -> [u8; BLOCK] {
    let numbers = numbers.map(i32x8::to_array);
    array::from_fn(|i| numbers[i / 8][i % 8] as u8)
}

/// Symmetric: the largest magnitude becomes 127.
fn q8_block(name: &str, values: &[f32; BLOCK]) -> Result<([u8; BLOCK], f16)> {
    let values = lanes(values);
    let scale = to_f16(name, largest(values.map(f32x8::abs)) / 127.0)?;
    let (inverse, half) = (f32x8::splat(inverse(scale)), f32x8::splat(128.5));
    let (least, most) = (f32x8::ONE, f32x8::splat(255.0));
    // Shifted by 128, so that cutting the fraction off rounds to nearest.
    let shifted = whole(values.map(|value| (value * inverse + half).fast_max(least).fast_min(most)));
    Ok((bytes(shifted.map(|number| number - i32x8::splat(128))), scale))
}

/// One q4 block before its nibbles are packed.
struct Q4Block {
    /// Whole numbers from 0 to 15.
    quants: Lanes,
    scale: f16,
    minimum: f16,
}

impl Q4Block {
    /// Quantizes with a scale and minimum that are already rounded to f16.
    fn quantize(values: &Lanes, scale: f16, minimum: f16) -> Self {
        let (inverse, offset) = (f32x8::splat(inverse(scale)), f32x8::splat(minimum.to_f32()));
        let (half, most) = (f32x8::HALF, f32x8::splat(15.0));
        let rounded = values.map(|value| ((value - offset) * inverse + half).fast_max(f32x8::ZERO).fast_min(most));
        Self { quants: whole(rounded).map(f32x8::from_i32x8), scale, minimum }
    }

    /// Sum of squared errors against `values`.
    fn error(&self, values: &Lanes) -> f32 {
        let (scale, minimum) = (f32x8::splat(self.scale.to_f32()), f32x8::splat(self.minimum.to_f32()));
        sum(array::from_fn(|i| {
            let error = self.quants[i] * scale + minimum - values[i];
            error * error
        }))
    }

    /// The line `scale * q + minimum` through `values` with the least squared error for the quants as they are.
    fn refit(&self, values: &Lanes) -> Option<(f16, f16)> {
        let (q, v) = (&self.quants, values);
        let n = BLOCK as f32;
        let (q1, q2) = (sum(*q), sum(q.map(|q| q * q)));
        let (v1, qv) = (sum(*v), sum(array::from_fn(|i| q[i] * v[i])));
        let determinant = n * q2 - q1 * q1;
        let scale = (n * qv - q1 * v1) / determinant;
        let minimum = (v1 - scale * q1) / n;
        let (scale, minimum) = (f16::from_f32(scale), f16::from_f32(minimum));
        (determinant > 0.0 && scale.is_finite() && minimum.is_finite()).then_some((scale, minimum))
    }
}

/// Spans minimum to maximum, then moves scale and minimum to the least squared error as long as that helps.
fn q4_block(name: &str, values: &[f32; BLOCK]) -> Result<Q4Block> {
    let values = &lanes(values);
    let (low, high) = (-largest(values.map(|value| -value)), largest(*values));
    let minimum = to_f16(name, low)?;
    let scale = to_f16(name, (high - minimum.to_f32()).max(0.0) / 15.0)?;
    let mut best = Q4Block::quantize(values, scale, minimum);
    let mut error = best.error(values);
    for _ in 0..2 {
        let Some((scale, minimum)) = best.refit(values) else { break };
        let refitted = Q4Block::quantize(values, scale, minimum);
        let refitted_error = refitted.error(values);
        if refitted_error >= error {
            break;
        }
        (best, error) = (refitted, refitted_error);
    }
    Ok(best)
}

/// Sum of the squares of `values`.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let (blocks, rest) = values.as_chunks();
    let block = |block| f64::from(sum(lanes(block).map(|value| value * value)));
    blocks.iter().map(block).chain(rest.iter().map(|&value| f64::from(value).powi(2))).sum()
}

/// `1 / scale`, or 0 for a block without spread.
fn inverse(scale: f16) -> f32 {
    if scale == f16::ZERO { 0.0 } else { scale.to_f32().recip() }
}

fn to_f16(name: &str, value: f32) -> Result<f16> {
    let half = f16::from_f32(value);
    if half.is_finite() {
        return Ok(half);
    }
    Err(Error::bundle(tensor(name), format!("needs {value}, beyond f16's largest 65504; store it as f32")))
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f16> + '_ {
    bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b))
}

fn tensor(name: &str) -> String {
    format!("tensor `{name}`")
}

fn bad_shape(format: Format, name: &str, rows: usize, cols: usize, got: usize, unit: &str) -> Error {
    let format = format.name();
    Error::bundle(tensor(name), format!("{got} {unit} do not make a matrix [{rows}, {cols}] in {format}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reproducible values in -1..1 (splitmix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f32 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        }
    }

    fn round_trip(format: Format, rows: usize, cols: usize, values: &[f32]) -> Vec<f32> {
        let bytes = format.encode("w", rows, cols, values).unwrap();
        assert_eq!(Some(bytes.len()), format.byte_len(rows, cols));
        assert_eq!(bytes.len() % 4, 0);
        format.decode("w", rows, cols, &bytes).unwrap()
    }

    #[test]
    fn errors_stay_within_half_a_step() {
        let mut random = Random(1);
        for round in 0..200 {
            let (rows, cols) = (1 + round % 5, BLOCK * (1 + round % 3));
            let size = 10f32.powi(round as i32 % 9 - 4);
            let shift = if round % 2 == 0 { 0.0 } else { size * random.next() };
            let values: Vec<f32> = (0..rows * cols).map(|_| shift + size * random.next()).collect();
            assert_eq!(round_trip(Format::F32, rows, cols, &values), values);
            for (got, want) in round_trip(Format::F16, rows, cols, &values).iter().zip(&values) {
                assert!((got - want).abs() <= want.abs() * 4.9e-4 + 3.0e-8, "{got} {want}");
            }
            for format in [Format::Q4, Format::Q8] {
                let decoded = round_trip(format, rows, cols, &values);
                for (got, want) in decoded.chunks(BLOCK).zip(values.chunks(BLOCK)) {
                    let low = want.iter().copied().fold(f32::INFINITY, f32::min);
                    let high = want.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let largest = low.abs().max(high.abs());
                    // Half a step, and what rounding scale and minimum to f16 may add.
                    let (step, rounding) = match format {
                        Format::Q4 => ((high - low) / 15.0, 4.9e-4 * 2.0 * largest + 1e-6),
                        _ => (largest / 127.0, 4.9e-4 * largest + 127.0 * 3e-8),
                    };
                    let squares: f32 = got.iter().zip(want).map(|(g, w)| (g - w).powi(2)).sum();
                    let rms = (squares / BLOCK as f32).sqrt();
                    assert!(rms <= 0.5 * step + rounding, "{format:?} {rms} {step}");
                }
            }
        }
    }

    #[test]
    fn a_refit_beats_plain_minimum_to_maximum() {
        let mut random = Random(2);
        let values: Vec<f32> = (0..BLOCK * 64).map(|_| (0..6).map(|_| random.next()).sum()).collect();
        let (mut plain, mut stored) = (0.0, 0.0);
        for block in values.as_chunks().0 {
            let low = block.iter().copied().fold(f32::INFINITY, f32::min);
            let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (scale, minimum) = (f16::from_f32((high - low) / 15.0), f16::from_f32(low));
            plain += Q4Block::quantize(&lanes(block), scale, minimum).error(&lanes(block));
            stored += q4_block("w", block).unwrap().error(&lanes(block));
        }
        assert!(stored < plain, "{stored} {plain}");
    }

    #[test]
    fn bytes_lie_as_documented() {
        let mut values: Vec<f32> = (0..BLOCK).map(|i| (i % 16) as f32).collect();
        let q4 = Format::Q4.encode("w", 1, BLOCK, &values).unwrap();
        assert_eq!(&q4[..16], (0..16).map(|j| j | j << 4).collect::<Vec<u8>>());
        assert_eq!(&q4[16..], [f16::ONE.to_le_bytes(), f16::ZERO.to_le_bytes()].concat());
        values[0] = -127.0;
        let q8 = Format::Q8.encode("w", 1, BLOCK, &values).unwrap();
        assert_eq!((q8[0] as i8, q8[1], q8[31]), (-127, 1, 15));
        assert_eq!(&q8[32..], [f16::ONE.to_le_bytes(), [0, 0]].concat());
        assert_eq!(Format::F16.encode("w", 1, 1, &[1.0]).unwrap(), [0x00, 0x3c, 0, 0]);
    }

    #[test]
    fn flat_and_tiny_blocks_survive() {
        for value in [0.0, 0.5, -0.5, 1e-9, 60000.0] {
            let values = [value; BLOCK];
            for format in [Format::Q4, Format::Q8] {
                for got in round_trip(format, 1, BLOCK, &values) {
                    assert!((got - value).abs() <= value.abs() * 4.9e-4 + 4e-6, "{format:?} {got} {value}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let mut values = [0.0; BLOCK];
            values[7] = bad;
            for format in [Format::Q4, Format::Q8, Format::F16] {
                let error = format.encode("a.weight", 1, BLOCK, &values).unwrap_err().to_string();
                assert!(error.contains("`a.weight`"), "{error}");
            }
        }
        assert!(Format::F32.encode("w", 1, 1, &[1e30]).is_ok());
        assert!(Format::Q4.encode("w", 1, 33, &[0.0; 33]).is_err());
        assert!(Format::Q8.encode("w", 2, BLOCK, &[0.0; BLOCK]).is_err());
        assert!(Format::F32.decode("w", 1, 2, &[0; 4]).is_err());
        assert_eq!(Format::F32.byte_len(usize::MAX, 2), None);
    }

    #[test]
    fn parts_join_to_the_whole() {
        let mut random = Random(3);
        let values: Vec<f32> = (0..6 * BLOCK).map(|_| random.next()).collect();
        for format in [Format::Q4, Format::Q8, Format::F16, Format::F32] {
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            for part in values.chunks(2 * BLOCK) {
                format.encode_part("w", part, &mut quants, &mut scales).unwrap();
            }
            quants.extend(scales);
            assert_eq!(quants, format.encode("w", 3, 2 * BLOCK, &values).unwrap());
        }
    }
}
