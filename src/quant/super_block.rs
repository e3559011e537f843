//! What `q4k` and `q5k` share: blocks of 256 columns in 8 chunks of 32, `q * scale + minimum`, where a chunk's scale and minimum are
//! the block's f16 ones times 6 bits each. The block's lie first; then a word of the scales' low 4 bits, nibble `i` chunk `i`'s; one of
//! the minimums'; and one of both upper 2 bits, the scale's below the minimum's.

use std::array;

use half::f16;
use wide::f32x8;

use super::f16::to_f16_above;
use super::lanes::{self, WIDTH, bytes, lanes, largest, sum, whole};
use super::{CHUNK, TooLarge};

/// Chunks of a block.
pub const CHUNKS: usize = 8;
pub const BLOCK: usize = CHUNKS * CHUNK;
/// Bytes of a block's scales and minimums.
pub const SCALES: usize = 16;
const N: usize = CHUNK / WIDTH;
/// The largest number of 6 bits.
const MOST: f32 = 63.0;

/// A block's f16 scale and minimum, and what each chunk takes of them, as they are stored.
pub fn pack_scales(scale: f16, minimum: f16, chunks: [(u8, u8); CHUNKS]) -> [u8; SCALES] {
    let (mut scales, mut minimums, mut upper) = (0u32, 0u32, 0u32);
    for (i, (scale, minimum)) in chunks.into_iter().enumerate() {
        scales |= u32::from(scale & 15) << (4 * i);
        minimums |= u32::from(minimum & 15) << (4 * i);
        upper |= u32::from(scale >> 4 | minimum >> 4 << 2) << (4 * i);
    }
    let block = u32::from(scale.to_bits()) | u32::from(minimum.to_bits()) << 16;
    let words = [block, scales, minimums, upper].map(u32::to_le_bytes);
    array::from_fn(|i| words[i / 4][i % 4])
}

/// The chunks' scales and minimums.
pub fn unpack_scales(stored: &[u8; SCALES]) -> [(f32, f32); CHUNKS] {
    let word = |i: usize| u32::from_le_bytes([stored[i], stored[i + 1], stored[i + 2], stored[i + 3]]);
    let half = |i: usize| f16::from_le_bytes([stored[i], stored[i + 1]]).to_f32();
    let (scale, minimum) = (half(0), half(2));
    array::from_fn(|i| {
        let nibble = |at: usize| word(at) >> (4 * i) & 15;
        let upper = nibble(12);
        let (of_scale, of_minimum) = (nibble(4) | (upper & 3) << 4, nibble(8) | upper >> 2 << 4);
        (of_scale as f32 * scale, of_minimum as f32 * minimum)
    })
}

/// A block as whole numbers from 0 to `greatest`, and its scales and minimums as they are stored.
pub(super) fn encode(values: &[f32], greatest: f32) -> Result<([[u8; CHUNK]; CHUNKS], [u8; SCALES]), TooLarge> {
    let chunks: [Lanes; CHUNKS] = array::from_fn(|i| lanes(&values[i * CHUNK..][..CHUNK]));
    let lines = chunks.each_ref().map(|values| line(values, greatest));
    let most = |part: fn(&(f32, f32)) -> f32| lines.iter().map(part).fold(0.0, f32::max);
    let scale = to_f16_above(most(|line| line.0) / MOST)?;
    let minimum = to_f16_above(most(|line| -line.1) / MOST)?;
    let share = |part: f32, whole: f16| if whole == f16::ZERO { 0.0 } else { (part / whole.to_f32()).round() };
    let shares = lines.map(|(s, m)| (share(s, scale).min(MOST) as u8, share(-m, minimum).min(MOST) as u8));
    let stored = pack_scales(scale, -minimum, shares);
    let unpacked = unpack_scales(&stored);
    let numbers = array::from_fn(|i| {
        let (scale, minimum) = unpacked[i];
        let q = bytes(whole(quantize(&chunks[i], inverse(scale), minimum, greatest)));
        array::from_fn(|j| q[j / WIDTH][j % WIDTH])
    });
    Ok((numbers, stored))
}

type Lanes = lanes::Lanes<N>;

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { scale.recip() }
}

/// Whole numbers from 0 to `greatest`, and a fraction that is to be cut off.
fn quantize(values: &Lanes, inverse: f32, minimum: f32, greatest: f32) -> Lanes {
    let (inverse, offset, most) = (f32x8::splat(inverse), f32x8::splat(minimum), f32x8::splat(greatest + 0.5));
    values.map(|value| ((value - offset) * inverse + f32x8::HALF).fast_max(f32x8::ZERO).fast_min(most))
}

/// Scale and minimum of a chunk, neither of which crosses 0: of some steps about that from least to largest value the one whose
/// best line has the least error. As what large weights are multiplied with matters most, they count more.
fn line(values: &Lanes, greatest: f32) -> (f32, f32) {
    let (low, high) = (-largest(values.map(|value| -value)), largest(*values));
    let (low, span) = (low.min(0.0), high - low.min(0.0));
    if span <= 0.0 {
        return (0.0, low);
    }
    let spread = f32x8::splat((sum(values.map(|value| value * value)) / CHUNK as f32).sqrt());
    let weights = values.map(|value| spread + value.abs());
    let times = |a: &Lanes, b: &Lanes| -> Lanes { array::from_fn(|i| a[i] * b[i]) };
    let (w, wv) = (sum(weights), times(&weights, values));
    let v = sum(wv);
    let error = |q: &Lanes, (scale, minimum): (f32, f32)| {
        let (scale, minimum) = (f32x8::splat(scale), f32x8::splat(minimum));
        let errors = array::from_fn(|i| q[i] * scale + minimum - values[i]);
        sum(times(&weights, &times(&errors, &errors)))
    };
    let rounded = |inverse: f32| whole(quantize(values, inverse, low, greatest)).map(f32x8::from_i32x8);
    let plain = (span / greatest, low);
    let (mut best, mut least) = (plain, error(&rounded(greatest / span), plain));
    for step in -4..=3 {
        let q = rounded((greatest + 0.3 * step as f32) / span);
        let wq = times(&weights, &q);
        let (q1, q2, qv) = (sum(wq), sum(times(&wq, &q)), sum(times(&wv, &q)));
        let determinant = w * q2 - q1 * q1;
        let mut fitted = ((w * qv - v * q1) / determinant, (q2 * v - q1 * qv) / determinant);
        if fitted.1 > 0.0 {
            fitted = (qv / q2, 0.0);
        }
        let found = error(&q, fitted);
        if found < least && fitted.0 > 0.0 {
            (best, least) = (fitted, found);
        }
    }
    best
}
