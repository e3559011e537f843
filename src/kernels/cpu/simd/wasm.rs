//! WebAssembly's simd128.

use std::arch::wasm32::*;

use super::Simd;

#[derive(Clone, Copy)]
pub struct Simd128;

/// Numbers in half precision, one in each 32-bit lane, whose upper half is 0.
#[inline(always)]
fn widen(halves: v128) -> v128 {
    let magnitude = v128_and(halves, u32x4_splat(0x7fff));
    // The exponent moves to its place and the multiplication corrects its bias, of the smallest numbers too.
    let value = f32x4_mul(u32x4_shl(magnitude, 13), f32x4_splat(f32::from_bits(0x7780_0000)));
    let infinite = v128_and(i32x4_gt(magnitude, i32x4_splat(0x7bff)), u32x4_splat(0x7f80_0000));
    v128_or(v128_or(value, infinite), u32x4_shl(u32x4_shr(halves, 15), 31))
}

// SAFETY: pointers are the callers' promise.
impl Simd for Simd128 {
    type F = v128;
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> v128 {
        f32x4_splat(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: v128) {
        unsafe { v128_store(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> v128 {
        widen(unsafe { u32x4_load_extend_u16x4(from) })
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> (v128, v128) {
        let words = unsafe { v128_load(from.cast()) };
        (widen(v128_and(words, u32x4_splat(0xffff))), widen(u32x4_shr(words, 16)))
    }
    #[inline(always)]
    unsafe fn load_nibbles(block: *const u8, index: usize) -> v128 {
        // Of eight bytes both vectors of low nibbles and both of high ones are made: the load and the first step are shared.
        let bytes = unsafe { u16x8_load_extend_u8x8(block.add(index / 2 % 2 * 8)) };
        let nibbles = match index < 4 {
            true => v128_and(bytes, u16x8_splat(15)),
            false => u16x8_shr(bytes, 4),
        };
        f32x4_convert_i32x4(match index % 2 {
            0 => i32x4_extend_low_i16x8(nibbles),
            _ => i32x4_extend_high_i16x8(nibbles),
        })
    }
    #[inline(always)]
    unsafe fn load_bytes(block: *const u8, index: usize) -> v128 {
        let bytes = unsafe { i16x8_load_extend_i8x8(block.add(index / 2 * 8).cast()) };
        f32x4_convert_i32x4(match index % 2 {
            0 => i32x4_extend_low_i16x8(bytes),
            _ => i32x4_extend_high_i16x8(bytes),
        })
    }
    #[inline(always)]
    unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> v128 {
        let (bytes, x) = unsafe { (v128_load(block.cast()), [v128_load(x.cast()), v128_load(x.add(16).cast())]) };
        let (low, high) = (v128_and(bytes, u8x16_splat(15)), u8x16_shr(bytes, 4));
        // Four products of 15 * 127 at most.
        let low = i16x8_add(i16x8_extmul_low_i8x16(low, x[0]), i16x8_extmul_high_i8x16(low, x[0]));
        let high = i16x8_add(i16x8_extmul_low_i8x16(high, x[1]), i16x8_extmul_high_i8x16(high, x[1]));
        f32x4_convert_i32x4(i32x4_extadd_pairwise_i16x8(i16x8_add(low, high)))
    }
    #[inline(always)]
    unsafe fn dot_bytes(block: *const u8, x: *const i8) -> v128 {
        let half = |at: usize| {
            let (bytes, x) = unsafe { (v128_load(block.add(at).cast()), v128_load(x.add(at).cast())) };
            // Two products of 128 * 127 at most.
            let sums = i16x8_add(i16x8_extmul_low_i8x16(bytes, x), i16x8_extmul_high_i8x16(bytes, x));
            i32x4_extadd_pairwise_i16x8(sums)
        };
        f32x4_convert_i32x4(i32x4_add(half(0), half(16)))
    }
    #[inline(always)]
    fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    #[inline(always)]
    fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    fn pow2(exponent: v128) -> v128 {
        i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(exponent), i32x4_splat(127)), 23)
    }
    #[inline(always)]
    fn sum(v: v128) -> f32 {
        let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    }
}
