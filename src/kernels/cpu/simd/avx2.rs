//! AVX2 with FMA and F16C.

use std::arch::x86_64::*;

use super::Simd;

#[derive(Clone, Copy)]
pub struct Avx2;

// SAFETY of every intrinsic: `run` has asked whether the machine has them; pointers are the callers' promise.
impl Simd for Avx2 {
    type F = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> (__m256, __m256) {
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            let low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
            // Low and high ones of each four words, which the order of the quarters then brings together.
            let packed =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, _mm256_srli_epi32::<16>(words)));
            (_mm256_cvtph_ps(_mm256_castsi256_si128(packed)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)))
        }
    }
    #[inline(always)]
    unsafe fn load_nibbles(block: *const u8, index: usize) -> __m256 {
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(block.add(index % 2 * 8).cast()));
            let nibbles = match index < 2 {
                true => _mm256_and_si256(bytes, _mm256_set1_epi32(15)),
                false => _mm256_srli_epi32::<4>(bytes),
            };
            _mm256_cvtepi32_ps(nibbles)
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(block: *const u8, index: usize) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(block.add(index * 8).cast()))) }
    }
    #[inline(always)]
    unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(dot_nibbles(block, x)) }
    }
    #[inline(always)]
    unsafe fn dot_bytes(block: *const u8, x: *const i8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(dot_bytes(block, x)) }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn pow2(exponent: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn sum(v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
}

/// [`Simd::dot_nibbles`] in whole numbers.
#[inline(always)]
pub unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> __m256i {
    unsafe {
        let bytes = _mm_loadu_si128(block.cast());
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
        pairs(_mm256_and_si256(both, _mm256_set1_epi8(15)), _mm256_loadu_si256(x.cast()))
    }
}

/// [`Simd::dot_bytes`] in whole numbers.
#[inline(always)]
pub unsafe fn dot_bytes(block: *const u8, x: *const i8) -> __m256i {
    unsafe {
        let (bytes, x) = (_mm256_loadu_si256(block.cast()), _mm256_loadu_si256(x.cast()));
        // The signs go to the other factor.
        pairs(_mm256_abs_epi8(bytes), _mm256_sign_epi8(x, bytes))
    }
}

/// Sums of four products each. Of two, 128 * 127 at most, they fit 16 bits.
#[inline(always)]
unsafe fn pairs(unsigned: __m256i, signed: __m256i) -> __m256i {
    unsafe { _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned, signed), _mm256_set1_epi16(1)) }
}
