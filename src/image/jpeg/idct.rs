//! The inverse cosine transform in libjpeg's accurate integer form (Loeffler, Ligtenberg and Moschytz, 1989): two passes
//! with 13-bit constants and two extra bits in between.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// `x * 2^13`, rounded.
const fn fix(x: f64) -> i64 {
    (x * (1 << CONST_BITS) as f64 + 0.5) as i64
}

/// Samples of a block from its coefficients and their quantization `steps`, written as 8 rows of 8, `stride` apart.
pub(super) fn inverse(coefficients: &[i16; 64], steps: &[u16; 64], samples: &mut [u8], stride: usize) {
    let mut columns = [0i64; 64];
    for column in 0..8 {
        let at = |row: usize| i64::from(coefficients[8 * row + column]) * i64::from(steps[8 * row + column]);
        let result = pass(std::array::from_fn(at), CONST_BITS - PASS1_BITS);
        (0..8).for_each(|row| columns[8 * row + column] = result[row]);
    }
    for (row, values) in columns.as_chunks::<8>().0.iter().enumerate() {
        // The last 3 bits are the transform's own scale of 8.
        let result = pass(*values, CONST_BITS + PASS1_BITS + 3);
        let target = &mut samples[row * stride..][..8];
        target.iter_mut().zip(result).for_each(|(sample, value)| *sample = (value + 128).clamp(0, 255) as u8);
    }
}

/// Eight values transformed, then divided by `2^shift` with rounding.
fn pass(x: [i64; 8], shift: u32) -> [i64; 8] {
    let z = (x[2] + x[6]) * fix(0.541196100);
    let (even2, even3) = (z - x[6] * fix(1.847759065), z + x[2] * fix(0.765366865));
    let (even0, even1) = ((x[0] + x[4]) << CONST_BITS, (x[0] - x[4]) << CONST_BITS);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let z5 = (x[7] + x[3] + x[5] + x[1]) * fix(1.175875602);
    let z1 = -(x[7] + x[1]) * fix(0.899976223);
    let z2 = -(x[5] + x[3]) * fix(2.562915447);
    let z3 = z5 - (x[7] + x[3]) * fix(1.961570560);
    let z4 = z5 - (x[5] + x[1]) * fix(0.390180644);
    let odd = [
        x[1] * fix(1.501321110) + z1 + z4,
        x[3] * fix(3.072711026) + z2 + z3,
        x[5] * fix(2.053119869) + z2 + z4,
        x[7] * fix(0.298631336) + z1 + z3,
    ];
    let half = 1 << (shift - 1);
    std::array::from_fn(|index| {
        let sum = if index < 4 { even[index] + odd[index] } else { even[7 - index] - odd[7 - index] };
        (sum + half) >> shift
    })
}
