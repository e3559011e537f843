use super::*;

/// Half precision.
pub struct F16;

impl Stored for F16 {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let mut at = [std::ptr::null::<u16>(); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], matrix.cols * 2, 0).0.cast();
        }
        let x = x.values();
        let whole = matrix.cols / S::LANES * S::LANES;
        let mut sums = [S::splat(0.0); N];
        for i in (0..whole).step_by(S::LANES) {
            unsafe {
                let x = S::load(x.as_ptr().add(i));
                for r in 0..N {
                    // As far into the next rows, which lie behind these.
                    matrix.prefetch::<S>(at[r].cast(), (N * matrix.cols + i) * 2, S::LANES * 2);
                    sums[r] = S::mul_add(S::load_halves(at[r].add(i)), x, sums[r]);
                }
            }
        }
        let mut out = [0.0; N];
        for r in 0..N {
            out[r] = S::sum(sums[r]);
            for i in whole..matrix.cols {
                out[r] += half::f16::from_bits(unsafe { at[r].add(i).read_unaligned() }).to_f32() * x[i];
            }
        }
        out
    }

    #[inline(always)]
    fn decode<S: Simd>(matrix: &Matrix, row: usize, cols: Range<usize>, out: &mut [f32]) {
        let at: *const u16 = matrix.row(row, matrix.cols * 2, 0).0.cast();
        unsafe { widen::<S>(at.add(cols.start), &mut out[..cols.len()]) }
    }
}
