//! `q4`: blocks of 32 columns in 16 bytes, byte `j` element `j` (low half) and `j + 16` (high half), and an f16 scale
//! and minimum: `q * scale + minimum`, `q` in 0..=15.

use std::array;

use half::f16;
use wide::f32x8;

use super::f16::{inverse, to_f16};
use super::lanes::{self, WIDTH, bytes, lanes, largest, sum, whole};
use super::{Format, Spec, TooLarge};

const BLOCK: usize = 32;
const N: usize = BLOCK / WIDTH;

pub static Q4: Spec = Spec {
    name: "q4",
    block: BLOCK,
    quants: BLOCK / 2,
    scales: 4,
    chunk: BLOCK,
    otherwise: Format::F16,
    decode,
    wgsl: wgsl!("shared/weight_q4"),
};

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let Block { quants: q, scale, minimum } = quantize(&lanes(block))?;
        let q = bytes(whole(q));
        let (low, high) = q.as_flattened().split_at(BLOCK / 2);
        quants.extend::<[u8; BLOCK / 2]>(array::from_fn(|j| low[j] | high[j] << 4));
        scales.extend(scale.to_le_bytes());
        scales.extend(minimum.to_le_bytes());
    }
    Ok(())
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    for (block, &[s0, s1, m0, m1]) in quants.as_chunks::<{ BLOCK / 2 }>().0.iter().zip(scales.as_chunks().0) {
        let (scale, minimum) = (f16::from_le_bytes([s0, s1]).to_f32(), f16::from_le_bytes([m0, m1]).to_f32());
        let value = |q: u8| f32::from(q) * scale + minimum;
        values.extend(block.map(|byte| value(byte & 15)));
        values.extend(block.map(|byte| value(byte >> 4)));
    }
}

type Lanes = lanes::Lanes<N>;

/// A block before its halves of bytes are packed.
struct Block {
    /// Whole numbers from 0 to 15.
    quants: Lanes,
    scale: f16,
    minimum: f16,
}

impl Block {
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
        sum(array::from_fn::<_, N, _>(|i| {
            let error = self.quants[i] * scale + minimum - values[i];
            error * error
        }))
    }

    /// The line `scale * q + minimum` through `values` with the least squared error for the quants as they are.
    fn refit(&self, values: &Lanes) -> Option<(f16, f16)> {
        let (q, v) = (&self.quants, values);
        let n = BLOCK as f32;
        let (q1, q2) = (sum(*q), sum(q.map(|q| q * q)));
        let (v1, qv) = (sum(*v), sum(array::from_fn::<_, N, _>(|i| q[i] * v[i])));
        let determinant = n * q2 - q1 * q1;
        let scale = (n * qv - q1 * v1) / determinant;
        let minimum = (v1 - scale * q1) / n;
        let (scale, minimum) = (f16::from_f32(scale), f16::from_f32(minimum));
        (determinant > 0.0 && scale.is_finite() && minimum.is_finite()).then_some((scale, minimum))
    }
}

/// Spans minimum to maximum, then moves scale and minimum to the least squared error as long as that helps.
fn quantize(values: &Lanes) -> Result<Block, TooLarge> {
    let (low, high) = (-largest(values.map(|value| -value)), largest(*values));
    let minimum = to_f16(low)?;
    let scale = to_f16((high - minimum.to_f32()).max(0.0) / 15.0)?;
    let mut best = Block::quantize(values, scale, minimum);
    let mut error = best.error(values);
    for _ in 0..2 {
        let Some((scale, minimum)) = best.refit(values) else { break };
        let refitted = Block::quantize(values, scale, minimum);
        let refitted_error = refitted.error(values);
        if refitted_error >= error {
            break;
        }
        (best, error) = (refitted, refitted_error);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{Random, quantization_errors};
    use super::*;

    #[test]
    fn errors_stay_within_half_a_step() {
        for (rms, low, high) in quantization_errors(Format::Q4) {
            // Half a step, and what rounding scale and minimum to f16 may add.
            let bound = 0.5 * (high - low) / 15.0 + 4.9e-4 * 2.0 * low.abs().max(high.abs()) + 1e-6;
            assert!(rms <= bound, "{rms} {bound}");
        }
    }

    #[test]
    fn a_refit_beats_plain_minimum_to_maximum() {
        let mut random = Random(2);
        let values: Vec<f32> = (0..BLOCK * 64).map(|_| (0..6).map(|_| random.next()).sum()).collect();
        let (mut plain, mut stored) = (0.0, 0.0);
        for block in values.chunks_exact(BLOCK) {
            let low = block.iter().copied().fold(f32::INFINITY, f32::min);
            let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (scale, minimum) = (f16::from_f32((high - low) / 15.0), f16::from_f32(low));
            plain += Block::quantize(&lanes(block), scale, minimum).error(&lanes(block));
            stored += quantize(&lanes(block)).unwrap().error(&lanes(block));
        }
        assert!(stored < plain, "{stored} {plain}");
    }

    #[test]
    fn bytes_lie_as_documented() {
        let values: Vec<f32> = (0..BLOCK).map(|i| (i % 16) as f32).collect();
        let q4 = Format::Q4.encode("w", 1, BLOCK, &values).unwrap();
        assert_eq!(&q4[..16], (0..16).map(|j| j | j << 4).collect::<Vec<u8>>());
        assert_eq!(&q4[16..], [f16::ONE.to_le_bytes(), f16::ZERO.to_le_bytes()].concat());
    }
}
