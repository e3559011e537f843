//! The ways a weight tensor is stored, in a bundle and on the GPU alike: the same little-endian bytes. To add a format takes
//! a file here, a file `shaders/shared/weight_<format>.wgsl` and a row in `formats!`; no kernel knows one by name.
//!
//! A tensor is a matrix `[rows, cols]` (a vector is one row). A format cuts every row into blocks of neighbouring columns,
//! numbered `row * (cols / block) + block of the row`; of plain numbers each is a block. First come the quants of all blocks,
//! then the scales of all. Every tensor is padded with zeros to a multiple of 4 bytes, so that it binds as `array<u32>`.
//! Values are dequantized in f32, from scales as they are stored.

mod f16;
mod f32;
mod lanes;
mod q4;
pub(crate) mod q4k;
pub(crate) mod q5k;
pub(crate) mod q6k;
mod q8;
pub(crate) mod super_block;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Columns that kernels take at once where these share a scale.
pub const CHUNK: usize = 32;

/// What there is to know of a format.
struct Spec {
    /// In manifests and on the command line: the variant's in lower case.
    name: &'static str,
    /// Neighbouring columns that are stored together; 1 where each stands for itself.
    block: usize,
    /// Bytes of a block's quants.
    quants: usize,
    /// Bytes of a block's scales, minima and the like.
    scales: usize,
    /// Neighbouring columns that have one scale and at most one minimum to whole numbers of 8 bits or fewer; 0 where none do.
    /// The WGSL then has functions for such chunks. Of [`CHUNK`] columns all kernels run: the packed dot product, too.
    chunk: usize,
    /// What a matrix is stored as whose rows are no whole blocks.
    otherwise: Format,
    /// Appends the values of whole blocks.
    decode: fn(quants: &[u8], scales: &[u8], values: &mut Vec<f32>),
    /// How shaders read it; `shaders/shared/weight.wgsl` says what must be there.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "there are no shaders"))]
    wgsl: &'static str,
}

type Encode = fn(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> std::result::Result<(), TooLarge>;

/// A value, scale or minimum that no f16 can hold.
#[derive(Debug)]
struct TooLarge(f32);

macro_rules! formats {
    ($($(#[$doc:meta])* $format:ident = $file:ident::$spec:ident;)*) => {
        /// How the elements of a tensor are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Format { $($(#[$doc])* $format),* }

        impl Format {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$format),*];

            fn spec(self) -> &'static Spec {
                match self { $(Self::$format => &$file::$spec),* }
            }

            /// Appends what whole blocks of finite values become to quants and scales. Not a field of the table: an engine that never
            /// encodes is to be without it.
            fn encoder(self) -> Encode {
                match self { $(Self::$format => $file::encode),* }
            }
        }
    };
}

formats! {
    /// 4-bit quants with an f16 scale and minimum per block of 32.
    Q4 = q4::Q4;
    /// llama.cpp's Q4_K: 4-bit quants with a 6-bit scale and minimum per 32, and f16 ones per block of 256.
    Q4K = q4k::Q4K;
    /// llama.cpp's Q5_K: 5-bit quants with a 6-bit scale and minimum per 32, and f16 ones per block of 256.
    Q5K = q5k::Q5K;
    /// llama.cpp's Q6_K: 6-bit quants with an 8-bit scale per 16, and an f16 one per block of 256.
    Q6K = q6k::Q6K;
    /// 8-bit quants with an f16 scale per block of 32.
    Q8 = q8::Q8;
    /// IEEE half precision.
    F16 = f16::F16;
    /// IEEE single precision.
    F32 = f32::F32;
}

impl Format {
    /// The name used in manifests and on the command line.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The format called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// The names of all formats, for messages.
    pub fn names(separator: &str) -> String {
        Self::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(separator)
    }

    /// Neighbouring columns that are stored together; 1 where each stands for itself.
    pub fn block(self) -> usize {
        self.spec().block
    }

    /// Neighbouring columns that a shader reads at once: [`CHUNK`], whole chunks, or where there are none as many as 16 bytes hold.
    pub fn piece(self) -> usize {
        self.chunk().map_or(16 * self.spec().block / self.spec().quants, |_| CHUNK)
    }

    /// How many times 16 bytes the quants of so many columns take.
    pub fn parts(self, columns: usize) -> usize {
        (columns * self.spec().quants).div_ceil(16 * self.spec().block)
    }

    /// Whether elements come in blocks with scales.
    pub fn is_quantized(self) -> bool {
        self.spec().block > 1
    }

    /// Neighbouring columns that share a scale and are whole numbers of 8 bits or fewer, if there are such.
    pub fn chunk(self) -> Option<usize> {
        Some(self.spec().chunk).filter(|chunk| *chunk > 0)
    }

    /// Whether those are [`CHUNK`].
    pub fn is_chunked(self) -> bool {
        self.chunk() == Some(CHUNK)
    }

    /// Bits of a weight, scales included.
    pub fn bits(self) -> f32 {
        let Spec { block, quants, scales, .. } = self.spec();
        (8 * (quants + scales)) as f32 / *block as f32
    }

    /// How shaders read it; `shaders/shared/weight.wgsl` says what it consists of.
    #[cfg(feature = "gpu")]
    pub(crate) fn wgsl(self) -> &'static str {
        self.spec().wgsl
    }

    /// Whether a matrix with `cols` columns can be stored in this format.
    pub fn fits(self, cols: usize) -> bool {
        cols.is_multiple_of(self.spec().block)
    }

    /// This format, or what a matrix with `cols` columns is stored as instead where these are no whole blocks.
    pub fn fitting(self, cols: usize) -> Self {
        if self.fits(cols) { self } else { self.spec().otherwise.fitting(cols) }
    }

    /// Bytes of all elements of `[rows, cols]` without the scales: for quantized formats, where the scales begin.
    /// `None` if the format does not fit or the number overflows.
    pub fn quants_len(self, rows: usize, cols: usize) -> Option<usize> {
        self.blocks(rows, cols)?.checked_mul(self.spec().quants)
    }

    /// Bytes of the scales of `[rows, cols]`, without padding; 0 for plain floats. `None` as for [`Format::quants_len`].
    pub fn scales_len(self, rows: usize, cols: usize) -> Option<usize> {
        self.blocks(rows, cols)?.checked_mul(self.spec().scales)
    }

    fn blocks(self, rows: usize, cols: usize) -> Option<usize> {
        rows.checked_mul(cols / self.spec().block).filter(|_| self.fits(cols))
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
        self.encoder()(values, quants, scales).map_err(|TooLarge(value)| {
            Error::bundle(tensor(name), format!("needs {value}, beyond f16's largest 65504; store it as f32"))
        })
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
        let Spec { block, quants: bytes, decode, .. } = self.spec();
        let mut values = Vec::with_capacity(quants.len() / bytes * block);
        decode(quants, scales, &mut values);
        values
    }
}

/// Sum of the squares of `values`.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let (parts, rest) = values.as_chunks::<CHUNK>();
    let part = |part: &[f32; CHUNK]| {
        let part: lanes::Lanes<{ CHUNK / lanes::WIDTH }> = lanes::lanes(part);
        f64::from(lanes::sum(part.map(|value| value * value)))
    };
    parts.iter().map(part).chain(rest.iter().map(|&value| f64::from(value).powi(2))).sum()
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
    pub struct Random(pub u64);

    impl Random {
        pub fn next(&mut self) -> f32 {
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

    /// Of blocks of all magnitudes, centred and not: the root of the mean squared error, the least and the largest value.
    pub fn quantization_errors(format: Format) -> Vec<(f32, f32, f32)> {
        let mut random = Random(1);
        let mut errors = Vec::new();
        for round in 0..200 {
            let (rows, cols) = (1 + round % 5, format.block() * (1 + round % 3));
            let size = 10f32.powi(round as i32 % 9 - 4);
            let shift = if round % 2 == 0 { 0.0 } else { size * random.next() };
            let values: Vec<f32> = (0..rows * cols).map(|_| shift + size * random.next()).collect();
            let decoded = round_trip(format, rows, cols, &values);
            for (got, want) in decoded.chunks(format.block()).zip(values.chunks(format.block())) {
                let low = want.iter().copied().fold(f32::INFINITY, f32::min);
                let high = want.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let squares: f32 = got.iter().zip(want).map(|(g, w)| (g - w).powi(2)).sum();
                errors.push(((squares / format.block() as f32).sqrt(), low, high));
            }
        }
        errors
    }

    /// Of weights that are normally distributed, or nearly so: the root of the summed squared error.
    pub fn error_of_normal_weights(format: Format) -> f32 {
        let (rows, cols) = (64, 256);
        let mut random = Random(5);
        let values: Vec<f32> = (0..rows * cols).map(|_| (0..12).map(|_| random.next()).sum()).collect();
        let stored = round_trip(format, rows, cols, &values);
        stored.iter().zip(&values).map(|(stored, value)| (stored - value).powi(2)).sum::<f32>().sqrt()
    }

    /// Formats bound their own errors more tightly.
    #[test]
    fn every_format_is_worth_its_bits() {
        for format in Format::ALL {
            let bits = (8 * format.spec().quants / format.block()) as f32;
            for (rms, low, high) in quantization_errors(*format) {
                // A step of numbers from -largest to largest, and what f16 may add.
                let largest = low.abs().max(high.abs());
                let bound = largest / 2f32.powf(bits - 1.0) + 1e-3 * largest + 127.0 * 3e-8;
                assert!(rms <= bound, "{format:?} {rms} {bound}");
            }
        }
        let values: Vec<f32> = (0..64).map(|i| (i as f32).sin()).collect();
        assert_eq!(round_trip(Format::F32, 2, 32, &values), values);
    }

    #[test]
    fn the_table_holds_together() {
        for &format in Format::ALL {
            let Spec { name, block, chunk, .. } = *format.spec();
            assert_eq!(serde_json::to_value(format).unwrap(), name);
            assert_eq!(Format::from_name(name), Some(format));
            // Kernels read blocks four columns at a time; pieces of a conversion are whole blocks.
            assert!(block == 1 || block.is_power_of_two() && block >= 4, "{name}: blocks of {block}");
            assert!(chunk == 0 || block % chunk == 0, "{name}: a chunk lies in one block");
            assert!(format.piece().is_multiple_of(4), "{name}: a piece is whole quads of columns");
            assert!(chunk == 0 || format.piece().is_multiple_of(chunk), "{name}: a piece is whole chunks");
            // Something fits every matrix, at no fewer bits.
            let other = format.fitting(1);
            assert!(other.fits(1) && other.bits() >= format.bits(), "{name}: {other:?}");
        }
        let bits = [5.0, 4.5, 5.5, 6.5625, 8.5, 16.0, 32.0];
        assert_eq!(Format::ALL.iter().map(|format| format.bits()).collect::<Vec<_>>(), bits);
        assert_eq!([512, 64, 8].map(|cols| Format::Q4K.fitting(cols)), [Format::Q4K, Format::Q4, Format::F16]);
        assert_eq!([512, 64, 8].map(|cols| Format::Q5K.fitting(cols)), [Format::Q5K, Format::Q8, Format::F16]);
        assert_eq!([512, 64, 8].map(|cols| Format::Q6K.fitting(cols)), [Format::Q6K, Format::Q8, Format::F16]);
    }

    #[test]
    fn flat_and_tiny_blocks_survive() {
        for value in [0.0, 0.5, -0.5, 1e-9, 60000.0] {
            for &format in Format::ALL {
                for got in round_trip(format, 1, format.block(), &vec![value; format.block()]) {
                    assert!((got - value).abs() <= value.abs() * 4.9e-4 + 4e-6, "{format:?} {got} {value}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            for &format in Format::ALL.iter().filter(|format| **format != Format::F32 || !bad.is_finite()) {
                let mut values = vec![0.0; 2 * format.block()];
                values[format.block() / 3] = bad;
                let error = format.encode("a.weight", 2, format.block(), &values).unwrap_err().to_string();
                assert!(error.contains("`a.weight`"), "{error}");
            }
        }
        assert!(Format::F32.encode("w", 1, 1, &[1e30]).is_ok());
        assert!(Format::F32.decode("w", 1, 2, &[0; 4]).is_err());
        assert_eq!(Format::F32.byte_len(usize::MAX, 2), None);
        for &format in Format::ALL {
            let block = format.block();
            assert!(format.encode("w", 2, block, &vec![0.0; block]).is_err());
            if format.is_quantized() {
                assert!(format.encode("w", 1, block + 1, &vec![0.0; block + 1]).is_err());
                assert_eq!([format.quants_len(1, block + 1), format.scales_len(1, block + 1)], [None; 2]);
            }
        }
    }

    #[test]
    fn parts_join_to_the_whole() {
        let mut random = Random(3);
        for &format in Format::ALL {
            let cols = 2 * format.block();
            let values: Vec<f32> = (0..3 * cols).map(|_| random.next()).collect();
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            for part in values.chunks(cols) {
                format.encode_part("w", part, &mut quants, &mut scales).unwrap();
            }
            quants.extend(scales);
            quants.resize(quants.len().next_multiple_of(4), 0);
            assert_eq!(quants, format.encode("w", 3, cols, &values).unwrap());
        }
    }
}
