//! Plain arrays, which the compiler turns into the vectors that every machine of the target has (SSE2, NEON).

use std::array::from_fn;

use super::Simd;

#[derive(Clone, Copy)]
pub struct Portable;

type Vector = [f32; 8];

/// A number in half precision, the upper half of whose word is 0, without a branch.
#[inline(always)]
fn widen(half: u32) -> f32 {
    let magnitude = half & 0x7fff;
    // The exponent moves to its place and the multiplication corrects its bias, of the smallest numbers too.
    let value = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    let infinite = u32::from(magnitude > 0x7bff) * 0x7f80_0000;
    f32::from_bits(value.to_bits() | infinite | half >> 15 << 31)
}

// SAFETY: pointers are the callers' promise.
impl Simd for Portable {
    type F = Vector;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: f32) -> Vector {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Vector {
        unsafe { from.cast::<Vector>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Vector) {
        unsafe { to.cast::<Vector>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> Vector {
        let halves = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        halves.map(|half| widen(half.into()))
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> (Vector, Vector) {
        let words = unsafe { from.cast::<[u32; 8]>().read_unaligned() };
        (words.map(|word| widen(word & 0xffff)), words.map(|word| widen(word >> 16)))
    }
    #[inline(always)]
    unsafe fn load_nibbles(block: *const u8, index: usize) -> Vector {
        let bytes = unsafe { block.add(index % 2 * 8).cast::<[u8; 8]>().read_unaligned() };
        let shift = index / 2 * 4;
        bytes.map(|byte| f32::from(byte >> shift & 15))
    }
    #[inline(always)]
    unsafe fn load_bytes(block: *const u8, index: usize) -> Vector {
        let bytes = unsafe { block.add(index * 8).cast::<[i8; 8]>().read_unaligned() };
        bytes.map(f32::from)
    }
    #[inline(always)]
    unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> Vector {
        let (bytes, x) =
            unsafe { (block.cast::<[u8; 16]>().read_unaligned(), x.cast::<[[i8; 16]; 2]>().read_unaligned()) };
        let of_byte =
            |i: usize| i32::from(bytes[i] & 15) * i32::from(x[0][i]) + i32::from(bytes[i] >> 4) * i32::from(x[1][i]);
        from_fn(|i| (of_byte(i) + of_byte(i + 8)) as f32)
    }
    #[inline(always)]
    unsafe fn dot_bytes(block: *const u8, x: *const i8) -> Vector {
        let [bytes, x] = [block.cast(), x].map(|at| unsafe { at.cast::<[i8; 32]>().read_unaligned() });
        let product = |i: usize| i32::from(bytes[i]) * i32::from(x[i]);
        from_fn(|i| (product(i) + product(i + 8) + product(i + 16) + product(i + 24)) as f32)
    }
    #[inline(always)]
    fn add(a: Vector, b: Vector) -> Vector {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(a: Vector, b: Vector) -> Vector {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(a: Vector, b: Vector) -> Vector {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(a: Vector, b: Vector) -> Vector {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn mul_add(a: Vector, b: Vector, c: Vector) -> Vector {
        from_fn(|i| match cfg!(target_arch = "aarch64") {
            true => a[i].mul_add(b[i], c[i]),
            false => a[i] * b[i] + c[i],
        })
    }
    #[inline(always)]
    fn min(a: Vector, b: Vector) -> Vector {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(a: Vector, b: Vector) -> Vector {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn pow2(exponent: Vector) -> Vector {
        exponent.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn sum(v: Vector) -> f32 {
        let [a, b, c, d]: [f32; 4] = from_fn(|i| v[i] + v[i + 4]);
        (a + c) + (b + d)
    }
}
