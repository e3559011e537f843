use super::*;

/// Scale and minimum in half precision.
pub struct Q4;

impl Lines for Q4 {
    type Quants = Nibbles;
    const LINE: usize = 4;

    #[inline(always)]
    unsafe fn lines<S: Simd>(at: *const u8, count: usize) -> [f32; SCALES] {
        unsafe { scales::<S>(at, 2 * count) }
    }
}
