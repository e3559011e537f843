//! A block of values in vectors: encoding a 7B model goes through hundreds of millions of blocks.

use std::array;

use wide::{f32x8, i32x8};

/// Values of a vector.
pub const WIDTH: usize = 8;

/// `N * WIDTH` values.
pub type Lanes<const N: usize> = [f32x8; N];

/// # Panics
/// If they are fewer.
pub fn lanes<const N: usize>(values: &[f32]) -> Lanes<N> {
    let (parts, _) = values.as_chunks();
    array::from_fn(|i| f32x8::from(parts[i]))
}

pub fn largest<const N: usize>(values: Lanes<N>) -> f32 {
    values.into_iter().reduce(f32x8::fast_max).unwrap_or_default().to_array().into_iter().fold(f32::MIN, f32::max)
}

pub fn sum<const N: usize>(values: Lanes<N>) -> f32 {
    values.into_iter().sum::<f32x8>().reduce_add()
}

/// The whole number below each value, as every value is 0 or more.
pub fn whole<const N: usize>(values: Lanes<N>) -> [i32x8; N] {
    values.map(f32x8::fast_trunc_int)
}

/// The last byte of each number.
pub fn bytes<const N: usize>(numbers: [i32x8; N]) -> [[u8; WIDTH]; N] {
    numbers.map(|numbers| numbers.to_array().map(|number| number as u8))
}
