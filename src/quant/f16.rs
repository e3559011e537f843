//! `f16`: IEEE half precision, one value after the other. Scales of other formats are stored so too.

use half::f16;

use super::{Format, Spec, TooLarge};

pub static F16: Spec = Spec {
    name: "f16",
    block: 1,
    quants: 2,
    scales: 0,
    chunk: 0,
    otherwise: Format::F16,
    decode: |quants, _, values| values.extend(f16s(quants)),
    wgsl: wgsl!("shared/weight_f16"),
};

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, _scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    for &value in values {
        quants.extend(to_f16(value)?.to_le_bytes());
    }
    Ok(())
}

/// # Errors
/// It is beyond the largest f16.
pub fn to_f16(value: f32) -> Result<f16, TooLarge> {
    let half = f16::from_f32(value);
    if half.is_finite() { Ok(half) } else { Err(TooLarge(value)) }
}

/// The nearest f16, or the next one where that is so far below that what is counted in it would end too early: among the
/// subnormal ones.
///
/// # Errors
/// It is beyond the largest f16.
pub fn to_f16_above(value: f32) -> Result<f16, TooLarge> {
    let half = to_f16(value)?;
    Ok(if half.to_f32() < value * 0.999 { f16::from_bits(half.to_bits() + 1) } else { half })
}

/// The values of f16 in a row.
pub fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32())
}

/// `1 / scale`, or 0 for a block without spread.
pub fn inverse(scale: f16) -> f32 {
    if scale == f16::ZERO { 0.0 } else { scale.to_f32().recip() }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, tests::Random};

    #[test]
    fn errors_stay_within_half_a_step() {
        let mut random = Random(1);
        for round in 0..9 {
            let values: Vec<f32> = (0..64).map(|_| 10f32.powi(round - 4) * random.next()).collect();
            let bytes = Format::F16.encode("w", 2, 32, &values).unwrap();
            for (got, want) in Format::F16.decode("w", 2, 32, &bytes).unwrap().iter().zip(&values) {
                assert!((got - want).abs() <= want.abs() * 4.9e-4 + 3.0e-8, "{got} {want}");
            }
        }
        assert_eq!(Format::F16.encode("w", 1, 1, &[1.0]).unwrap(), [0x00, 0x3c, 0, 0]);
    }
}
