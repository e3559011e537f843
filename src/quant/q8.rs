//! `q8`: blocks of 32 columns as one signed byte each, in order, and one f16 scale: `q * scale`, `q` in -127..=127.

use half::f16;
use wide::{f32x8, i32x8};

use super::f16::{f16s, inverse, to_f16};
use super::lanes::{self, WIDTH, bytes, lanes, largest, whole};
use super::{Format, Spec, TooLarge};

const BLOCK: usize = 32;
const N: usize = BLOCK / WIDTH;

pub static Q8: Spec = Spec {
    name: "q8",
    block: BLOCK,
    quants: BLOCK,
    scales: 2,
    chunk: BLOCK,
    otherwise: Format::F16,
    decode,
    wgsl: wgsl!("shared/weight_q8"),
};

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for block in values.chunks_exact(BLOCK) {
        let (quant, scale) = quantize(lanes(block))?;
        quants.extend(quant.as_flattened());
        scales.extend(scale.to_le_bytes());
    }
    Ok(())
}

fn decode(quants: &[u8], scales: &[u8], values: &mut Vec<f32>) {
    for (block, scale) in quants.as_chunks::<BLOCK>().0.iter().zip(f16s(scales)) {
        values.extend(block.map(|q| f32::from(q as i8) * scale));
    }
}

/// Symmetric: the largest magnitude becomes 127.
fn quantize(values: lanes::Lanes<N>) -> Result<([[u8; WIDTH]; N], f16), TooLarge> {
    let scale = to_f16(largest(values.map(f32x8::abs)) / 127.0)?;
    let (inverse, half) = (f32x8::splat(inverse(scale)), f32x8::splat(128.5));
    let (least, most) = (f32x8::ONE, f32x8::splat(255.0));
    // Shifted by 128, so that cutting the fraction off rounds to nearest.
    let shifted = whole(values.map(|value| (value * inverse + half).fast_max(least).fast_min(most)));
    Ok((bytes(shifted.map(|number| number - i32x8::splat(128))), scale))
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::Format;
    use super::super::tests::quantization_errors;
    use super::BLOCK;

    #[test]
    fn errors_stay_within_half_a_step() {
        for (rms, low, high) in quantization_errors(Format::Q8) {
            let largest = low.abs().max(high.abs());
            // Half a step, and what rounding the scale to f16 may add.
            let bound = 0.5 * largest / 127.0 + 4.9e-4 * largest + 127.0 * 3e-8;
            assert!(rms <= bound, "{rms} {bound}");
        }
    }

    #[test]
    fn bytes_lie_as_documented() {
        let mut values: Vec<f32> = (0..BLOCK).map(|i| (i % 16) as f32).collect();
        values[0] = -127.0;
        let q8 = Format::Q8.encode("w", 1, BLOCK, &values).unwrap();
        assert_eq!((q8[0] as i8, q8[1], q8[31]), (-127, 1, 15));
        assert_eq!(&q8[32..], [f16::ONE.to_le_bytes(), [0, 0]].concat());
    }
}
