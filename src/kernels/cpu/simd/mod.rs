//! Vectors of f32 as this machine has them. A kernel is written once, generic over [`Simd`]; [`run`] compiles it for each
//! instruction set and picks the one at hand.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(not(target_family = "wasm"))]
mod portable;
#[cfg(target_family = "wasm")]
mod wasm;

use std::sync::atomic::{AtomicUsize, Ordering};

/// Work on vectors. Its `run` must be `#[inline(always)]`, as everything generic over [`Simd`] that it calls: only what is
/// inlined into the functions of [`run`] is compiled for their instruction set.
pub trait Kernel {
    type Output;

    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set. Its functions may be called only within a [`Kernel`] that [`run`] runs.
///
/// Loads and stores take pointers to [`LANES`](Self::LANES) elements, of any alignment.
pub trait Simd: Copy {
    type F: Copy;
    /// Floats in a vector; a divisor of 16.
    const LANES: usize;

    fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, v: Self::F);
    /// Numbers in half precision.
    unsafe fn load_halves(from: *const u16) -> Self::F;
    /// The numbers in half precision in the low and in the high halves of words.
    unsafe fn load_pairs(from: *const u32) -> (Self::F, Self::F);
    /// The `index`th vector of a q4 block's 32 quants, which are 16 bytes: low nibbles, then high ones.
    unsafe fn load_nibbles(block: *const u8, index: usize) -> Self::F;
    /// The `index`th vector of 32 signed bytes.
    unsafe fn load_bytes(block: *const u8, index: usize) -> Self::F;
    /// The products of a q4 block's 32 quants and as many signed bytes, none of them -128, added up in the lanes.
    unsafe fn dot_nibbles(block: *const u8, x: *const i8) -> Self::F;
    /// The same of 32 signed bytes.
    unsafe fn dot_bytes(block: *const u8, x: *const i8) -> Self::F;
    /// Has the cache fetch what is about to be read.
    unsafe fn prefetch(_at: *const u8) {}
    fn add(a: Self::F, b: Self::F) -> Self::F;
    fn sub(a: Self::F, b: Self::F) -> Self::F;
    fn mul(a: Self::F, b: Self::F) -> Self::F;
    fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once or twice.
    fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `b` where either is no number.
    fn min(a: Self::F, b: Self::F) -> Self::F;
    /// `b` where either is no number.
    fn max(a: Self::F, b: Self::F) -> Self::F;
    /// 2 to the power of whole numbers from -126 to 127.
    fn pow2(exponent: Self::F) -> Self::F;
    fn sum(v: Self::F) -> f32;
}

/// Runs `kernel` on the best instruction set there is.
#[cfg(target_arch = "x86_64")]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    fn on_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<avx512::Avx512>()
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    fn on_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<avx2::Avx2>()
    }
    // What is detected is kept by the standard library: a load and a test.
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq");
    match limit() {
        // SAFETY: the machine has these instructions.
        Level::Avx512 if avx2 && avx512 => unsafe { on_avx512(kernel) },
        Level::Avx512 | Level::Avx2 if avx2 => unsafe { on_avx2(kernel) },
        _ => kernel.run::<portable::Portable>(),
    }
}

/// Runs `kernel` on the vectors of the target.
#[cfg(all(not(target_arch = "x86_64"), not(target_family = "wasm")))]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<portable::Portable>()
}

/// Runs `kernel` on the vectors that every engine has that this build starts in.
#[cfg(target_family = "wasm")]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "simd128")]
    fn on_simd128<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<wasm::Simd128>()
    }
    // A module with these instructions does not compile where there are none.
    on_simd128(kernel)
}

/// Instruction sets of x86-64, each with all before it; elsewhere there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Portable,
    Avx2,
    Avx512,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];
}

static LIMIT: AtomicUsize = AtomicUsize::new(Level::Avx512 as usize);

#[cfg(target_arch = "x86_64")]
fn limit() -> Level {
    Level::ALL[LIMIT.load(Ordering::Relaxed)]
}

/// Has this process use nothing beyond `level`: tests try each.
pub fn set_limit(level: Level) {
    LIMIT.store(level as usize, Ordering::Relaxed);
}
