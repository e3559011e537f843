use super::*;

/// Single precision.
pub struct F32;

impl Stored for F32 {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let mut at = [std::ptr::null(); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], matrix.cols * 4, 0).0.cast();
        }
        let [out] = unsafe { tile::<S, 1, N>([x.values().as_ptr()], at, matrix.cols) };
        out
    }

    #[inline(always)]
    fn decode<S: Simd>(matrix: &Matrix, row: usize, cols: Range<usize>, out: &mut [f32]) {
        let at: *const f32 = matrix.row(row, matrix.cols * 4, 0).0.cast();
        unsafe { std::ptr::copy_nonoverlapping(at.add(cols.start), out[..cols.len()].as_mut_ptr(), cols.len()) }
    }
}
