use super::*;

/// Any format, as it decodes itself: what has no loop of its own here.
pub struct Decoded;

fn values(matrix: &Matrix, row: usize, cols: Range<usize>) -> Vec<f32> {
    let Matrix { format, rows, cols: all, .. } = *matrix;
    let len = |len: Option<usize>| len.expect("a shape that fits, as `Matrix::new` has seen");
    assert!(row < rows && cols.end <= all && format.fits(cols.start));
    let (quants, scales) = matrix.bytes.split_at(len(format.quants_len(rows, all)));
    let quants = &quants[len(format.quants_len(row, all)) + len(format.quants_len(1, cols.start))..];
    let scales = &scales[len(format.scales_len(row, all)) + len(format.scales_len(1, cols.start))..];
    format
        .decode_part(&quants[..len(format.quants_len(1, cols.len()))], &scales[..len(format.scales_len(1, cols.len()))])
}

impl Stored for Decoded {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let rows = rows.map(|row| values(matrix, row, 0..matrix.cols));
        let x = x.multiplied();
        // SAFETY: all are as long as a row.
        let [out] = unsafe { tile::<S, 1, N>([x.as_ptr()], rows.each_ref().map(|row| row.as_ptr()), matrix.cols) };
        out
    }

    #[inline(always)]
    fn decode<S: Simd>(matrix: &Matrix, row: usize, cols: Range<usize>, out: &mut [f32]) {
        let len = cols.len();
        out[..len].copy_from_slice(&values(matrix, row, cols));
    }
}
