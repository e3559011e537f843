use super::*;

/// Scale and minimum in half precision.
pub struct Q4;

impl Nibbles for Q4 {
    const LINE: usize = 4;

    #[inline(always)]
    unsafe fn lines<S: Simd>(at: *const u8, count: usize) -> [f32; SCALES] {
        unsafe { scales::<S>(at, 2 * count) }
    }
}
