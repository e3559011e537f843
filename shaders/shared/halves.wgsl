// Four numbers without a conversion: of two words that hold two each where `mask` has its bits, those are made the first bits of the
// fractions of f16, with the exponent that `exponent` has twice. It is the least for which they are whole numbers, as it is to be
// subtracted again. The first word has the first and the third.
fn halves(even: u32, odd: u32, mask: u32, exponent: u32) -> vec4<f32> {
    let a = unpack2x16float((even & mask) | exponent);
    let b = unpack2x16float((odd & mask) | exponent);
    return vec4<f32>(a.x, b.x, a.y, b.y);
}
