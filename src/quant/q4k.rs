//! `q4k`: llama.cpp's Q4_K, bit by bit in another order. Blocks of 256 columns in 8 chunks of 32, whose quants lie as q4's;
//! scales and minimums as `super_block` says.

use super::super_block::{self, BLOCK, CHUNKS, SCALES, unpack_scales};
use super::{CHUNK, Format, Spec, TooLarge};

/// Bytes of a chunk's quants.
const QUANTS: usize = CHUNK / 2;

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

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let (numbers, stored) = super_block::encode(block, 15.0)?;
        quants.extend(pack_quants(&numbers));
        scales.extend(stored);
    }
    Ok(())
}

/// A block's quants as they are stored.
pub fn pack_quants(numbers: &[[u8; CHUNK]; CHUNKS]) -> [u8; CHUNKS * QUANTS] {
    std::array::from_fn(|i| {
        let (numbers, j) = (&numbers[i / QUANTS], i % QUANTS);
        numbers[j] | numbers[j + QUANTS] << 4
    })
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    let chunks = scales.as_chunks().0.iter().flat_map(unpack_scales);
    for (quants, (scale, minimum)) in quants.as_chunks::<QUANTS>().0.iter().zip(chunks) {
        let value = |q: u8| f32::from(q) * scale + minimum;
        values.extend(quants.map(|byte| value(byte & 15)));
        values.extend(quants.map(|byte| value(byte >> 4)));
    }
}

#[cfg(test)]
mod tests {
    use std::array;

    use half::f16;

    use super::super::super_block::pack_scales;
    use super::super::tests::{error_of_normal_weights, quantization_errors};
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
        let (q4k, q4) = (error_of_normal_weights(Format::Q4K), error_of_normal_weights(Format::Q4));
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
