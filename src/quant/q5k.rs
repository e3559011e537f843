//! `q5k`: llama.cpp's Q5_K, bit by bit in another order. Blocks of 256 columns in 8 chunks of 32. First come the low 4 bits of all
//! chunks, which lie as q4's; then a word of each chunk's upper ones, bit `i` of byte `j` that of column `4 * i + j`. Scales and minimums
//! as `super_block` says.

use std::array;

use super::super_block::{self, BLOCK, CHUNKS, SCALES, unpack_scales};
use super::{CHUNK, Format, Spec, TooLarge, q4k};

/// Bytes of a chunk's low 4 bits.
const LOW: usize = CHUNK / 2;
/// Bytes of a chunk's fifth bits.
const UPPER: usize = CHUNK / 8;
const QUANTS: usize = CHUNKS * (LOW + UPPER);

pub(super) static Q5K: Spec = Spec {
    name: "q5k",
    block: BLOCK,
    quants: QUANTS,
    scales: SCALES,
    chunk: CHUNK,
    otherwise: Format::Q8,
    decode,
    wgsl: wgsl!("shared/weight_q5k"),
};

/// A block's quants as they are stored.
pub fn pack_quants(numbers: &[[u8; CHUNK]; CHUNKS]) -> [u8; QUANTS] {
    let mut packed = [0; QUANTS];
    let (low, upper) = packed.split_at_mut(CHUNKS * LOW);
    low.copy_from_slice(&q4k::pack_quants(&numbers.map(|numbers| numbers.map(|number| number & 15))));
    for (upper, numbers) in upper.as_chunks_mut::<UPPER>().0.iter_mut().zip(numbers) {
        *upper = array::from_fn(|j| (0..8).fold(0, |byte, i| byte | (numbers[4 * i + j] >> 4) << i));
    }
    packed
}

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let (numbers, stored) = super_block::encode(block, 31.0)?;
        quants.extend(pack_quants(&numbers));
        scales.extend(stored);
    }
    Ok(())
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    for (quants, scales) in quants.as_chunks::<QUANTS>().0.iter().zip(scales.as_chunks().0) {
        let (low, upper) = quants.split_at(CHUNKS * LOW);
        for (i, (scale, minimum)) in unpack_scales(scales).into_iter().enumerate() {
            let (low, upper) = (&low[i * LOW..], &upper[i * UPPER..]);
            values.extend((0..CHUNK).map(|column| {
                let low = low[column % LOW] >> (column / LOW * 4) & 15;
                let upper = upper[column % 4] >> (column / 4) & 1;
                f32::from(low | upper << 4) * scale + minimum
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::super_block::pack_scales;
    use super::super::tests::{error_of_normal_weights, quantization_errors};
    use super::*;

    #[test]
    fn errors_stay_within_a_step() {
        for (rms, low, high) in quantization_errors(Format::Q5K) {
            // Half a step of numbers that include 0; 6 bits may move each end by as much, and f16 a little more.
            let span = high.max(0.0) - low.min(0.0);
            let rounding = 0.5 * span / 31.0 + span / 63.0;
            assert!(rms <= rounding + 1e-3 * low.abs().max(high.abs()) + 1e-6, "{rms} {low} {high}");
        }
    }

    #[test]
    fn normal_weights_lose_half_of_what_they_do_in_q4k() {
        let (q5k, q4k) = (error_of_normal_weights(Format::Q5K), error_of_normal_weights(Format::Q4K));
        assert!(q5k < 0.55 * q4k, "{q5k} {q4k}");
    }

    #[test]
    fn bytes_lie_as_documented() {
        let numbers: [[u8; CHUNK]; CHUNKS] = array::from_fn(|i| array::from_fn(|j| ((i + 3) * j % 32) as u8));
        let packed = pack_quants(&numbers);
        for (i, number) in numbers.as_flattened().iter().enumerate() {
            let (chunk, column) = (i / CHUNK, i % CHUNK);
            let low = packed[chunk * 16 + column % 16] >> (if column < 16 { 0 } else { 4 }) & 15;
            let word = u32::from_le_bytes(array::from_fn(|j| packed[128 + chunk * 4 + j]));
            let upper = word >> (column % 4 * 8 + column / 4) & 1;
            assert_eq!(low | (upper as u8) << 4, *number);
        }
        let shares: [(u8, u8); CHUNKS] = array::from_fn(|i| (63 - 9 * i as u8, 7 * i as u8));
        let scales = pack_scales(f16::from_f32(0.5), f16::from_f32(-0.25), shares);
        let expected = numbers.iter().zip(shares).flat_map(|(numbers, (scale, minimum))| {
            numbers.map(|q| f32::from(q) * 0.5 * f32::from(scale) - 0.25 * f32::from(minimum))
        });
        assert_eq!(Format::Q5K.decode_part(&packed, &scales), expected.collect::<Vec<_>>());
    }
}
