//! A slice that several threads write, each where no other does.

use std::marker::PhantomData;
use std::ops::Range;

pub struct Rows<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out what a mutable slice would, by the callers' promise to each thread another part.
unsafe impl<T: Send> Sync for Rows<'_, T> {}

impl<'a, T> Rows<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// # Safety
    /// Nobody else may use these elements meanwhile.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// # Safety
    /// As [`slice`](Self::slice).
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub unsafe fn at(&self, index: usize) -> &mut T {
        assert!(index < self.len);
        unsafe { &mut *self.start.add(index) }
    }
}
