//! `f32`: IEEE single precision, one value after the other.

use super::{Format, Spec, TooLarge};

pub static F32: Spec = Spec {
    name: "f32",
    block: 1,
    quants: 4,
    scales: 0,
    chunk: 0,
    otherwise: Format::F32,
    decode: |quants, _, values| values.extend(quants.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
    wgsl: wgsl!("shared/weight_f32"),
};

pub(super) fn encode(values: &[f32], quants: &mut Vec<u8>, _scales: &mut Vec<u8>) -> Result<(), TooLarge> {
    quants.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    Ok(())
}
