//! The inverse cosine transform in libjpeg's accurate integer form (Loeffler, Ligtenberg and Moschytz, 1989): two passes
//! with 13-bit constants and two extra bits in between. Values wrap and saturate where they do in libjpeg-turbo's vector
//! code, which shows in damaged pictures only.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// `x * 2^13`, rounded.
const fn fix(x: f64) -> i32 {
    (x * (1 << CONST_BITS) as f64 + 0.5) as i32
}

/// Samples of a block from its coefficients and their quantization `steps`, written as 8 rows of 8, `stride` apart.
pub(super) fn inverse(coefficients: &[i16; 64], steps: &[u16; 64], samples: &mut [u8], stride: usize) {
    let value = |at: usize| coefficients[at].wrapping_mul(steps[at] as i16);
    let mut columns = [0i16; 64];
    let flat = coefficients[8..].iter().all(|coefficient| *coefficient == 0);
    for column in 0..8 {
        if flat {
            (0..8).for_each(|row| columns[8 * row + column] = value(column) << PASS1_BITS);
            continue;
        }
        let result = pass(std::array::from_fn(|row| value(8 * row + column)), CONST_BITS - PASS1_BITS);
        (0..8).for_each(|row| columns[8 * row + column] = result[row]);
    }
    for (row, values) in columns.as_chunks::<8>().0.iter().enumerate() {
        // The last 3 bits are the transform's own scale of 8.
        let result = pass(*values, CONST_BITS + PASS1_BITS + 3);
        let target = &mut samples[row * stride..][..8];
        target.iter_mut().zip(result).for_each(|(sample, value)| *sample = (value.clamp(-128, 127) + 128) as u8);
    }
}

/// Eight values transformed, then divided by `2^shift` with rounding.
fn pass(x: [i16; 8], shift: u32) -> [i16; 8] {
    let sum = |a: i16, b: i16| i32::from(a.wrapping_add(b));
    let difference = |a: i16, b: i16| i32::from(a.wrapping_sub(b));
    let [_, x1, x2, x3, _, x5, x6, x7] = x.map(i32::from);

    let z = (x2 + x6) * fix(0.541196100);
    let (even2, even3) = (z - x6 * fix(1.847759065), z + x2 * fix(0.765366865));
    let (even0, even1) = (sum(x[0], x[4]) << CONST_BITS, difference(x[0], x[4]) << CONST_BITS);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let (z3, z4) = (sum(x[7], x[3]), sum(x[5], x[1]));
    let z5 = (z3 + z4) * fix(1.175875602);
    let (z3, z4) = (z5 - z3 * fix(1.961570560), z5 - z4 * fix(0.390180644));
    let (z1, z2) = (-(x7 + x1) * fix(0.899976223), -(x5 + x3) * fix(2.562915447));
    let odd = [
        (x1 * fix(1.501321110) + z1).wrapping_add(z4),
        (x3 * fix(3.072711026) + z2).wrapping_add(z3),
        (x5 * fix(2.053119869) + z2).wrapping_add(z4),
        (x7 * fix(0.298631336) + z1).wrapping_add(z3),
    ];
    let half = 1 << (shift - 1);
    std::array::from_fn(|index| {
        let sum =
            if index < 4 { even[index].wrapping_add(odd[index]) } else { even[7 - index].wrapping_sub(odd[7 - index]) };
        (sum.wrapping_add(half) >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    })
}
