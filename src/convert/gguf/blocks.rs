//! ggml's block formats: their values in f32, and how they become ours without being quantized again.
//!
//! | ggml | weights, bytes | value | becomes |
//! |---|---|---|---|
//! | `Q4_0` | 32, 18 | `d * (q - 8)` | `q4`, exactly: scale `d`, minimum `-8 d` |
//! | `Q4_1` | 32, 20 | `d * q + m` | `q4`, exactly |
//! | `Q8_0` | 32, 34 | `d * q` | `q8`, exactly |
//! | `Q4_K`, `Q5_K` | 256, 144 or 176 | `d * s * q - dmin * m`, 6-bit `s` and `m` per 32 | `q4k`, `q5k`, exactly |
//! | `Q6_K` | 256, 210 | `d * s * q`, 8-bit `s` per 16 | `q6k`, exactly |
//! | `Q5_0`, `Q5_1` | 32, 22 or 24 | 5 bits | no format of ours: decoded and encoded as `q8` |

use std::array;

use half::{bf16, f16};

use crate::quant::{Format, q4k, q5k, q6k, super_block};
use crate::{Error, Result};

/// Weights of one block of the plain formats, and of a part of one of the K formats.
const BLOCK: usize = 32;
/// Weights of one block of the K formats.
const SUPER: usize = 256;

/// A ggml tensor type that is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// ggml's id and name, weights and bytes of a block, and the format that loses nothing, or least.
const KINDS: [(Kind, u32, &str, usize, usize, Format); 11] = [
    (Kind::F32, 0, "F32", 1, 4, Format::F32),
    (Kind::F16, 1, "F16", 1, 2, Format::F16),
    (Kind::Bf16, 30, "BF16", 1, 2, Format::F16),
    (Kind::Q4_0, 2, "Q4_0", BLOCK, 18, Format::Q4),
    (Kind::Q4_1, 3, "Q4_1", BLOCK, 20, Format::Q4),
    (Kind::Q5_0, 6, "Q5_0", BLOCK, 22, Format::Q8),
    (Kind::Q5_1, 7, "Q5_1", BLOCK, 24, Format::Q8),
    (Kind::Q8_0, 8, "Q8_0", BLOCK, 34, Format::Q8),
    (Kind::Q4K, 12, "Q4_K", SUPER, 144, Format::Q4K),
    (Kind::Q5K, 13, "Q5_K", SUPER, 176, Format::Q5K),
    (Kind::Q6K, 14, "Q6_K", SUPER, 210, Format::Q6K),
];

impl Kind {
    /// The type with ggml's `id`, if it is converted.
    pub fn from_id(id: u32) -> Option<Self> {
        KINDS.iter().find(|kind| kind.1 == id).map(|kind| kind.0)
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Our format that loses nothing, or least.
    pub fn format(self) -> Format {
        self.row().5
    }

    /// Weights and bytes of one block; plain numbers are blocks of one.
    pub fn block(self) -> (usize, usize) {
        let (_, _, _, weights, bytes, _) = *self.row();
        (weights, bytes)
    }

    /// Bytes of a tensor, rows first; `None` if a row is no whole blocks, a side is 0, or the number overflows.
    pub fn byte_len(self, shape: &[usize]) -> Option<usize> {
        let (weights, bytes) = self.block();
        let cols = shape.last().filter(|cols| cols.is_multiple_of(weights))?;
        if shape.contains(&0) {
            return None;
        }
        let rows = shape[..shape.len() - 1].iter().try_fold(1usize, |rows, side| rows.checked_mul(*side))?;
        // Elements too: they are counted in f32 later.
        rows.checked_mul(*cols)?.checked_mul(4)?;
        (cols / weights).checked_mul(bytes)?.checked_mul(rows)
    }

    /// The values of whole blocks, appended to `values`.
    pub fn decode(self, blocks: &[u8], values: &mut Vec<f32>) {
        for block in blocks.chunks_exact(self.block().1) {
            match self {
                Kind::F32 => values.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Kind::F16 => values.push(half_at(block, 0)),
                Kind::Bf16 => values.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Kind::Q4_0 => {
                    let d = half_at(block, 0);
                    values.extend(nibbles(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
                }
                Kind::Q4_1 => {
                    let (d, m) = (half_at(block, 0), half_at(block, 2));
                    values.extend(nibbles(&block[4..]).map(|q| d * f32::from(q) + m));
                }
                Kind::Q5_0 => {
                    let d = half_at(block, 0);
                    let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
                    values.extend(fifth_bits(&block[6..], high).map(|q| d * (f32::from(q) - 16.0)));
                }
                Kind::Q5_1 => {
                    let (d, m) = (half_at(block, 0), half_at(block, 2));
                    let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
                    values.extend(fifth_bits(&block[8..], high).map(|q| d * f32::from(q) + m));
                }
                Kind::Q8_0 => {
                    let d = half_at(block, 0);
                    values.extend(block[2..].iter().map(|&q| d * f32::from(q as i8)));
                }
                Kind::Q4K | Kind::Q5K => {
                    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
                    for (index, quants) in self.k_quants(block).iter().enumerate() {
                        let (scale, minimum) = six_bits(&block[4..16], index);
                        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
                        values.extend(quants.map(|q| scale * f32::from(q) - minimum));
                    }
                }
                Kind::Q6K => {
                    let d = half_at(block, 208);
                    values.extend((0..SUPER).map(|index| {
                        let scale = d * f32::from(block[192 + index / 16] as i8);
                        scale * (f32::from(six_bit_quant(block, index)) - 32.0)
                    }));
                }
            }
        }
    }

    /// Appends whole blocks as they lie in the file to a tensor's `quants` and `scales` in `format`; `false` if the two do
    /// not go together and the values have to be encoded.
    ///
    /// # Errors
    /// A scale is not finite, or beyond f16. `name` is the tensor's, for the message.
    pub fn carry(
        self,
        name: &str,
        format: Format,
        blocks: &[u8],
        quants: &mut Vec<u8>,
        scales: &mut Vec<u8>,
    ) -> Result<bool> {
        let blocks = blocks.chunks_exact(self.block().1);
        let mut line = |scale: f32, minimum: f32| -> Result<()> {
            scales.extend(to_f16(name, scale)?);
            scales.extend(to_f16(name, minimum)?);
            Ok(())
        };
        match (self, format) {
            (Kind::Q4_0, Format::Q4) => {
                for block in blocks {
                    let d = half_at(block, 0);
                    line(d, -8.0 * d)?;
                    quants.extend(&block[2..]);
                }
            }
            (Kind::Q4_1, Format::Q4) => {
                for block in blocks {
                    line(half_at(block, 0), half_at(block, 2))?;
                    quants.extend(&block[4..]);
                }
            }
            (Kind::Q4K, Format::Q4K) | (Kind::Q5K, Format::Q5K) => {
                for block in blocks {
                    let (d, dmin) = (finite_half(name, block, 0)?, finite_half(name, block, 2)?);
                    let chunks = array::from_fn(|index| six_bits(&block[4..16], index));
                    scales.extend(super_block::pack_scales(d, -dmin, chunks));
                    let numbers = self.k_quants(block);
                    match format {
                        Format::Q4K => quants.extend(q4k::pack_quants(&numbers)),
                        _ => quants.extend(q5k::pack_quants(&numbers)),
                    }
                }
            }
            (Kind::Q6K, Format::Q6K) => {
                for block in blocks {
                    let d = finite_half(name, block, 208)?;
                    scales.extend(q6k::pack_scales(d, array::from_fn(|index| block[192 + index] as i8)));
                    quants.extend(q6k::pack_quants(&array::from_fn(|index| six_bit_quant(block, index))));
                }
            }
            (Kind::Q8_0, Format::Q8) => {
                for block in blocks {
                    scales.extend(to_f16(name, half_at(block, 0))?);
                    quants.extend(&block[2..]);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The quants of a `Q4_K` or `Q5_K` block: of two parts each 32 bytes of low bits; ahead of them all, of the latter, 32 bytes of fifth
    /// bits, bit `i` part `i`'s.
    fn k_quants(self, block: &[u8]) -> [[u8; BLOCK]; super_block::CHUNKS] {
        let (fifths, low) = block[16..].split_at(if self == Kind::Q5K { BLOCK } else { 0 });
        array::from_fn(|part| {
            array::from_fn(|i| {
                let fifth = fifths.get(i).map_or(0, |bits| bits >> part & 1);
                low[part / 2 * BLOCK + i] >> (part % 2 * 4) & 15 | fifth << 4
            })
        })
    }

    fn row(self) -> &'static (Kind, u32, &'static str, usize, usize, Format) {
        &KINDS[KINDS.iter().position(|kind| kind.0 == self).unwrap_or_default()]
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low halves of 16 bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// [`nibbles`] with a fifth bit each.
fn fifth_bits(bytes: &[u8], high: u32) -> impl Iterator<Item = u8> + '_ {
    nibbles(bytes).enumerate().map(move |(index, q)| q | ((high >> index & 1) as u8) << 4)
}

/// Scale and minimum of part `index` (of 8): the first four keep all 6 bits in one byte, the others are split up.
fn six_bits(packed: &[u8], index: usize) -> (u8, u8) {
    if index < 4 {
        return (packed[index] & 63, packed[index + 4] & 63);
    }
    let both = packed[index + 4];
    (both & 15 | packed[index - 4] >> 6 << 4, both >> 4 | packed[index] >> 6 << 4)
}

/// Quant `index` (of 256) of a `Q6_K` block, 32 higher. 128 low halves, 64 bytes of upper bit pairs, 16 scales of 8 bits, `d`; the
/// first two in two halves of 128 weights, of which 4 parts of 32 share bytes.
fn six_bit_quant(block: &[u8], index: usize) -> u8 {
    let (half, part, index) = (index / 128, index / 32 % 4, index % 32);
    let low = block[half * 64 + part % 2 * 32 + index] >> (part / 2 * 4) & 15;
    let upper = block[128 + half * 32 + index] >> (part * 2) & 3;
    low | upper << 4
}

/// What stays a f16.
fn finite_half(name: &str, block: &[u8], at: usize) -> Result<f16> {
    to_f16(name, half_at(block, at)).map(f16::from_le_bytes)
}

fn to_f16(name: &str, value: f32) -> Result<[u8; 2]> {
    let half = f16::from_f32(value);
    if half.is_finite() {
        return Ok(half.to_le_bytes());
    }
    Err(Error::bundle(super::super::tensor(name), format!("has a block scale of {value}, which f16 cannot hold")))
}
