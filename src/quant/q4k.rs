//! `q4k`: llama.cpp's Q4_K, bit by bit in another order. Blocks of 256 columns in 8 chunks of 32, whose quants lie as q4's:
//! `q * scale + minimum`, where a chunk's scale and minimum are the block's f16 ones times 6 bits each. The block's lie first;
//! then a word of the scales' low 4 bits, nibble `i` chunk `i`'s; one of the minimums'; and one of both upper 2 bits, the
//! scale's below the minimum's.

use std::array;

use half::f16;
use wide::f32x8;

use super::f16::to_f16_above;
use super::lanes::{self, WIDTH, bytes, lanes, largest, sum, whole};
use super::{CHUNK, Format, Spec, TooLarge};

/// Chunks of a block.
pub const CHUNKS: usize = 8;
const BLOCK: usize = CHUNKS * CHUNK;
/// Bytes of a chunk's quants.
const QUANTS: usize = CHUNK / 2;
/// Bytes of a block's scales and minimums.
const SCALES: usize = 16;
const N: usize = CHUNK / WIDTH;
/// The largest number of 6 bits.
const MOST: f32 = 63.0;

pub(super) static Q4K: Spec = Spec {
    name: "q4k",
    block: BLOCK,
    quants: CHUNKS * QUANTS,
    scales: SCALES,
    chunk: CHUNK,
    otherwise: Format::Q4,
    decode,
    wgsl: wgsl!("shared/weight_q4k"),
};

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
fn unpack_scales(stored: &[u8; SCALES]) -> [(f32, f32); CHUNKS] {
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

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let chunks: [Lanes; CHUNKS] = array::from_fn(|i| lanes(&block[i * CHUNK..][..CHUNK]));
        let lines = chunks.each_ref().map(line);
        let greatest = |part: fn(&(f32, f32)) -> f32| lines.iter().map(part).fold(0.0, f32::max);
        let scale = to_f16_above(greatest(|line| line.0) / MOST)?;
        let minimum = to_f16_above(greatest(|line| -line.1) / MOST)?;
        let share = |part: f32, whole: f16| if whole == f16::ZERO { 0.0 } else { (part / whole.to_f32()).round() };
        let shares = lines.map(|(s, m)| (share(s, scale).min(MOST) as u8, share(-m, minimum).min(MOST) as u8));
        let stored = pack_scales(scale, -minimum, shares);
        for (values, (scale, minimum)) in chunks.iter().zip(unpack_scales(&stored)) {
            let q = bytes(whole(quantize(values, inverse(scale), minimum)));
            let (low, high) = q.as_flattened().split_at(QUANTS);
            quants.extend::<[u8; QUANTS]>(array::from_fn(|j| low[j] | high[j] << 4));
        }
        scales.extend(stored);
    }
    Ok(())
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    let chunks = scales.as_chunks().0.iter().flat_map(unpack_scales);
    for (quants, (scale, minimum)) in quants.as_chunks::<QUANTS>().0.iter().zip(chunks) {
        let value = |q: u8| f32::from(q) * scale + minimum;
        values.extend(quants.map(|byte| value(byte & 15)));
        values.extend(quants.map(|byte| value(byte >> 4)));
    }
}

type Lanes = lanes::Lanes<N>;

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { scale.recip() }
}

/// Whole numbers from 0 to 15, and a fraction that is to be cut off.
fn quantize(values: &Lanes, inverse: f32, minimum: f32) -> Lanes {
    let (inverse, offset, most) = (f32x8::splat(inverse), f32x8::splat(minimum), f32x8::splat(15.5));
    values.map(|value| ((value - offset) * inverse + f32x8::HALF).fast_max(f32x8::ZERO).fast_min(most))
}

/// Scale and minimum of a chunk, neither of which crosses 0: of some steps about that from least to largest value the one whose
/// best line has the least error. As what large weights are multiplied with matters most, they count more.
fn line(values: &Lanes) -> (f32, f32) {
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
    let rounded = |inverse: f32| whole(quantize(values, inverse, low)).map(f32x8::from_i32x8);
    let plain = (span / 15.0, low);
    let (mut best, mut least) = (plain, error(&rounded(15.0 / span), plain));
    for step in -4..=3 {
        let q = rounded((15.0 + 0.3 * step as f32) / span);
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Random, quantization_errors};
    use super::*;

    #[test]
    fn errors_stay_within_a_step() {
        for (rms, low, high) in quantization_errors(Format::Q4K) {
            // Half a step of numbers that include 0; 6 bits may move each end by as much, and f16 a little more.
            let step = (high.max(0.0) - low.min(0.0)) / 15.0;
            assert!(rms <= step + 1e-3 * low.abs().max(high.abs()) + 1e-6, "{rms} {low} {high}");
        }
    }

    #[test]
    fn normal_weights_lose_no_more_than_in_q4() {
        let mut random = Random(5);
        let values: Vec<f32> = (0..BLOCK * 64).map(|_| (0..12).map(|_| random.next()).sum()).collect();
        let error = |format: Format| {
            let stored = format.decode("w", 64, BLOCK, &format.encode("w", 64, BLOCK, &values).unwrap()).unwrap();
            stored.iter().zip(&values).map(|(stored, value)| (stored - value).powi(2)).sum::<f32>().sqrt()
        };
        let (q4k, q4) = (error(Format::Q4K), error(Format::Q4));
        assert!(q4k < 1.1 * q4, "{q4k} {q4}");
    }

    #[test]
    fn bytes_lie_as_documented() {
        // Chunk `i` counts from `-minimum` in its own steps: 63, 54, .. of the block's.
        let shares: [(u8, u8); CHUNKS] = array::from_fn(|i| (63 - 9 * i as u8, 7 * i as u8));
        let numbers = |i: usize| (0..CHUNK).map(move |j| (i * j) % 16);
        let scales = pack_scales(f16::from_f32(0.5), f16::from_f32(-0.25), shares);
        assert_eq!(scales[..4], [0x00, 0x38, 0x00, 0xb4]);
        let at = |i: usize, first: usize| scales[first + i / 2] >> (i % 2 * 4) & 15;
        let mut quants = Vec::new();
        let mut values = Vec::new();
        for (i, (scale, minimum)) in shares.into_iter().enumerate() {
            let upper = at(i, 12);
            assert_eq!((at(i, 4) | (upper & 3) << 4, at(i, 8) | upper >> 2 << 4), (scale, minimum));
            let q: Vec<u8> = numbers(i).map(|q| q as u8).collect();
            quants.extend((0..QUANTS).map(|j| q[j] | q[j + QUANTS] << 4));
            values.extend(q.iter().map(|q| f32::from(*q) * 0.5 * f32::from(scale) - 0.25 * f32::from(minimum)));
        }
        assert_eq!(Format::Q4K.decode_part(&quants, &scales), values);
    }
}
