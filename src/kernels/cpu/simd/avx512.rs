//! AVX-512 (F, BW, VL, DQ).

use std::arch::x86_64::*;

use super::{Simd, avx2};

#[derive(Clone, Copy)]
pub struct Avx512;

// SAFETY of every intrinsic: `run` has asked whether the machine has them; pointers are the callers' promise.
impl Simd for Avx512 {
    type F = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> (__m512, __m512) {
        unsafe {
            let words = _mm512_loadu_si512(from.cast());
            let (low, high) = (_mm512_cvtepi32_epi16(words), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words)));
            (_mm512_cvtph_ps(low), _mm512_cvtph_ps(high))
        }
    }
    #[inline(always)]
    unsafe fn load_nibbles(block: *const u8, index: usize) -> __m512 {
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(block.cast()));
            let nibbles = match index == 0 {
                true => _mm512_and_si512(bytes, _mm512_set1_epi32(15)),
                false => _mm512_srli_epi32::<4>(bytes),
            };
            _mm512_cvtepi32_ps(nibbles)
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(block: *const u8, index: usize) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(block.add(index * 16).cast()))) }
    }
    #[inline(always)]
    unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> __m512 {
        unsafe { _mm512_zextps256_ps512(_mm256_cvtepi32_ps(avx2::dot_nibbles(block, x))) }
    }
    #[inline(always)]
    unsafe fn dot_bytes(block: *const u8, x: *const i8) -> __m512 {
        unsafe { _mm512_zextps256_ps512(_mm256_cvtepi32_ps(avx2::dot_bytes(block, x))) }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn pow2(exponent: __m512) -> __m512 {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(exponent), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn sum(v: __m512) -> f32 {
        unsafe {
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
}
