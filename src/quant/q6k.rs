//! `q6k`: llama.cpp's Q6_K, bit by bit in another order. Blocks of 256 columns in 16 chunks of 16: `q * scale`, `q` in
//! -32..=31, where a chunk's scale is the block's f16 one times 8 signed bits. Quants are stored 32 higher. First come the
//! low 4 bits of all chunks, byte `j` of a chunk's 8 element `j` (low half) and `j + 8` (high half); then the upper 2 bits, bits `2 * i` of
//! byte `j` of a chunk's 4 those of element `4 * i + j`. Of the scales the block's comes last.

use std::array;

use half::f16;
use wide::{f32x8, i32x8};

use super::f16::to_f16_above;
use super::lanes::{self, WIDTH, bytes, lanes, largest, sum, whole};
use super::{Format, Spec, TooLarge};

const CHUNK: usize = 16;
/// Chunks of a block.
const CHUNKS: usize = 16;
const BLOCK: usize = CHUNKS * CHUNK;
/// Bytes of a chunk's low 4 bits.
const LOW: usize = CHUNK / 2;
/// Bytes of a chunk's upper 2 bits.
const UPPER: usize = CHUNK / 4;
const QUANTS: usize = CHUNKS * (LOW + UPPER);
const SCALES: usize = CHUNKS + 2;
const N: usize = CHUNK / WIDTH;
/// What quants are stored higher by.
const ZERO: u8 = 32;

pub(super) static Q6K: Spec = Spec {
    name: "q6k",
    block: BLOCK,
    quants: QUANTS,
    scales: SCALES,
    chunk: CHUNK,
    otherwise: Format::Q8,
    decode,
    wgsl: wgsl!("shared/weight_q6k"),
};

/// A block's quants, stored 32 higher, as they are stored.
pub fn pack_quants(numbers: &[u8; BLOCK]) -> [u8; QUANTS] {
    let mut packed = [0; QUANTS];
    let (low, upper) = packed.split_at_mut(CHUNKS * LOW);
    let chunks = low.as_chunks_mut::<LOW>().0.iter_mut().zip(upper.as_chunks_mut::<UPPER>().0);
    for ((low, upper), numbers) in chunks.zip(numbers.as_chunks::<CHUNK>().0) {
        for (column, number) in numbers.iter().enumerate() {
            low[column % LOW] |= (number & 15) << (column / LOW * 4);
            upper[column % UPPER] |= number >> 4 << (column / UPPER * 2);
        }
    }
    packed
}

/// A block's scales as they are stored.
pub fn pack_scales(scale: f16, chunks: [i8; CHUNKS]) -> [u8; SCALES] {
    let block = scale.to_le_bytes();
    array::from_fn(|i| chunks.get(i).map_or_else(|| block[i - CHUNKS], |share| *share as u8))
}

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let chunks: [Lanes; CHUNKS] = array::from_fn(|i| lanes(&block[i * CHUNK..][..CHUNK]));
        let steps = chunks.each_ref().map(step);
        // Of either sign, as the chunk's: the largest is -128 of the block's.
        let most = steps.iter().copied().fold(0f32, |most, step| if step.abs() > most.abs() { step } else { most });
        let scale = to_f16_above(most.abs() / 128.0)?.copysign(f16::from_f32(-most));
        let share = |step: f32| if scale == f16::ZERO { 0.0 } else { step / scale.to_f32() };
        let shares = steps.map(|step| share(step).round() as i8);
        let mut numbers = [0; BLOCK];
        for ((values, share), numbers) in chunks.iter().zip(shares).zip(numbers.as_chunks_mut::<CHUNK>().0) {
            let step = f32::from(share) * scale.to_f32();
            let shifted = quantize(values, if step == 0.0 { 0.0 } else { step.recip() });
            numbers.copy_from_slice(bytes(shifted).as_flattened());
        }
        quants.extend(pack_quants(&numbers));
        scales.extend(pack_scales(scale, shares));
    }
    Ok(())
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    for (quants, scales) in quants.as_chunks::<QUANTS>().0.iter().zip(scales.as_chunks::<SCALES>().0) {
        let (low, upper) = quants.split_at(CHUNKS * LOW);
        let block = f16::from_le_bytes([scales[CHUNKS], scales[CHUNKS + 1]]).to_f32();
        for (i, (low, upper)) in low.chunks(LOW).zip(upper.chunks(UPPER)).enumerate() {
            let scale = f32::from(scales[i] as i8) * block;
            values.extend((0..CHUNK).map(|column| {
                let low = low[column % LOW] >> (column / LOW * 4) & 15;
                let upper = upper[column % UPPER] >> (column / UPPER * 2) & 3;
                (f32::from(low | upper << 4) - f32::from(ZERO)) * scale
            }));
        }
    }
}

type Lanes = lanes::Lanes<N>;

/// Rounded to nearest, 32 higher.
fn quantize(values: &Lanes, inverse: f32) -> [i32x8; N] {
    let (inverse, half, most) = (f32x8::splat(inverse), f32x8::splat(32.5), f32x8::splat(63.5));
    whole(values.map(|value| (value * inverse + half).fast_max(f32x8::ZERO).fast_min(most)))
}

/// The step of a chunk, with the sign that makes -32 of its largest magnitude, or nearly so: of some the one with the least
/// error. As what large weights are multiplied with matters most, they count more.
fn step(values: &Lanes) -> f32 {
    let (low, high) = (-largest(values.map(|value| -value)), largest(*values));
    let extreme = if -low > high { low } else { high };
    if extreme == 0.0 {
        return 0.0;
    }
    let times = |a: &Lanes, b: &Lanes| -> Lanes { array::from_fn(|i| a[i] * b[i]) };
    let weights = times(values, values);
    let (mut best, mut most) = (-extreme / 32.0, 0.0);
    for change in -4..=4 {
        let shifted = quantize(values, -(32.0 + 0.2 * change as f32) / extreme);
        let q = shifted.map(|number| f32x8::from_i32x8(number - i32x8::splat(ZERO.into())));
        let wq = times(&weights, &q);
        let (qv, q2) = (sum(times(&wq, values)), sum(times(&wq, &q)));
        // The best step for these quants is qv / q2, whose error is smaller by this.
        let gain = qv * qv / q2;
        if gain > most {
            (best, most) = (qv / q2, gain);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::tests::quantization_errors;
    use super::*;

    #[test]
    fn errors_stay_within_half_a_step() {
        for (rms, low, high) in quantization_errors(Format::Q6K) {
            let largest = low.abs().max(high.abs());
            // Half a step; 8 bits of scale, and f16, may move the ends a little.
            assert!(rms <= 0.5 * largest / 32.0 + 8e-3 * largest + 2e-6, "{rms} {largest}");
        }
    }

    #[test]
    fn bytes_lie_as_documented() {
        let numbers: [u8; BLOCK] = array::from_fn(|i| (i * 37 % 64) as u8);
        let packed = pack_quants(&numbers);
        for (i, number) in numbers.iter().enumerate() {
            let (chunk, column) = (i / CHUNK, i % CHUNK);
            let low = packed[chunk * 8 + column % 8] >> (if column < 8 { 0 } else { 4 }) & 15;
            let upper = packed[128 + chunk * 4 + column % 4] >> (column / 4 * 2) & 3;
            assert_eq!(low | upper << 4, *number);
        }
        let shares = array::from_fn(|i| (40 - 9 * i as i32) as i8);
        let scales = pack_scales(f16::from_f32(-0.5), shares);
        assert_eq!((scales[1] as i8, scales[15] as i8, &scales[16..]), (31, -95, &[0x00, 0xb8][..]));
        let values = Format::Q6K.decode_part(&packed, &scales);
        for (i, value) in values.iter().enumerate() {
            assert_eq!(*value, (f32::from(numbers[i]) - 32.0) * -0.5 * f32::from(shares[i / CHUNK]));
        }
    }
}
