//! Activations on vectors.

use super::simd::{Kernel, Simd, run};
use crate::activation::Activation;

/// `e^x`, to two units in the last place; below -87 as there, above 88 as there.
#[inline(always)]
pub fn exp<S: Simd>(x: S::F) -> S::F {
    // In this order what is no number stays none.
    let x = S::max(S::splat(-87.0), S::min(S::splat(88.0), x));
    // Adding and taking away this number rounds to a whole one.
    let round = S::splat(12582912.0);
    let n = S::sub(S::mul_add(x, S::splat(std::f32::consts::LOG2_E), round), round);
    // ln 2 in two parts, of which the first has so few digits that its products are exact.
    let r = S::mul_add(n, S::splat(-0.693_359_4), x);
    let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
    // Cephes' polynomial.
    let mut p = S::splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = S::mul_add(p, r, S::splat(coefficient));
    }
    let p = S::add(S::mul_add(p, S::mul(r, r), r), S::splat(1.0));
    S::mul(p, S::pow2(n))
}

/// `1 / (1 + e^-x)`
#[inline(always)]
fn sigmoid<S: Simd>(x: S::F) -> S::F {
    S::div(S::splat(1.0), S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))))
}

/// The error function (Abramowitz and Stegun, 7.1.26: to 1.5e-7).
#[inline(always)]
fn erf<S: Simd>(x: S::F) -> S::F {
    let magnitude = S::max(S::sub(S::splat(0.0), x), x);
    let t = S::div(S::splat(1.0), S::mul_add(magnitude, S::splat(0.327_591_1), S::splat(1.0)));
    let mut p = S::splat(1.061_405_4);
    for coefficient in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        p = S::mul_add(p, t, S::splat(coefficient));
    }
    let rest = S::mul(S::mul(p, t), exp::<S>(S::sub(S::splat(0.0), S::mul(x, x))));
    let value = S::sub(S::splat(1.0), rest);
    // Odd: the sign of x, as x over its magnitude, where that is not 0.
    let sign = S::div(x, S::max(S::splat(1e-30), magnitude));
    S::mul(value, sign)
}

#[inline(always)]
fn of<S: Simd>(act: Activation, x: S::F) -> S::F {
    match act {
        Activation::None => x,
        Activation::Gelu => {
            let half = S::mul(x, S::splat(0.5));
            S::mul_add(half, erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
        }
        Activation::GeluTanh => {
            // x/2 (1 + tanh y) = x σ(2y)
            let cubic = S::mul_add(S::mul(x, x), S::splat(0.044_715), S::splat(1.0));
            let twice = 2.0 * (2.0 / std::f32::consts::PI).sqrt();
            S::mul(x, sigmoid::<S>(S::mul(S::mul(x, cubic), S::splat(twice))))
        }
        Activation::QuickGelu => S::mul(x, sigmoid::<S>(S::mul(x, S::splat(1.702)))),
        Activation::Silu => S::mul(x, sigmoid::<S>(x)),
        Activation::Relu => S::max(S::splat(0.0), x),
        Activation::Relu6 => S::min(S::splat(6.0), S::max(S::splat(0.0), x)),
        Activation::Sigmoid => sigmoid::<S>(x),
    }
}

/// Applies `act` to each of `values`. Not inlined where it is called: there are many such places, and each activation is long.
pub fn apply(act: Activation, values: &mut [f32]) {
    if act != Activation::None {
        run(Apply { act, values });
    }
}

struct Apply<'a> {
    act: Activation,
    values: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut chunks = self.values.chunks_exact_mut(S::LANES);
        for chunk in &mut chunks {
            unsafe { S::store(chunk.as_mut_ptr(), of::<S>(self.act, S::load(chunk.as_ptr()))) }
        }
        let rest = chunks.into_remainder();
        if rest.is_empty() {
            return;
        }
        let mut padded = [0.0; 16];
        padded[..rest.len()].copy_from_slice(rest);
        unsafe { S::store(padded.as_mut_ptr(), of::<S>(self.act, S::load(padded.as_ptr()))) }
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}
