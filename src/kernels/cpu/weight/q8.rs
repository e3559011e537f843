use super::*;

/// 32 signed bytes a block; a scale in half precision.
pub struct Q8;

const QUANTS: usize = CHUNK;
const SCALE: usize = 2;

impl Stored for Q8 {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let blocks = matrix.cols / CHUNK;
        let mut at = [(std::ptr::null(), std::ptr::null()); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], blocks * QUANTS, blocks * SCALE);
        }
        let (values, bytes) = (x.values().as_ptr(), x.bytes());
        let mut sums = [S::splat(0.0); N];
        for first in (0..blocks).step_by(SCALES) {
            let count = SCALES.min(blocks - first);
            let mut scaled = [[0.0; SCALES]; N];
            for r in 0..N {
                // As far into the next rows, which lie behind these.
                matrix.prefetch::<S>(at[r].0, (N * blocks + first) * QUANTS, SCALES * QUANTS);
                matrix.prefetch::<S>(at[r].1, (N * blocks + first) * SCALE, SCALES * SCALE);
                // SAFETY: the row has `count` more blocks.
                scaled[r] = unsafe { scales::<S>(at[r].1.add(first * SCALE), count) };
            }
            for block in 0..count {
                if let Some(bytes) = bytes {
                    let (x, scale) = (bytes.values[first + block].as_ptr(), bytes.scales[first + block]);
                    for r in 0..N {
                        // SAFETY: as above.
                        let part = unsafe { S::dot_bytes(at[r].0.add((first + block) * QUANTS), x) };
                        sums[r] = S::mul_add(S::splat(scaled[r][block] * scale), part, sums[r]);
                    }
                    continue;
                }
                let mut part = [S::splat(0.0); N];
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above, and x is as long as the row.
                    unsafe {
                        let x = S::load(values.add((first + block) * CHUNK + i * S::LANES));
                        for r in 0..N {
                            let quants = S::load_bytes(at[r].0.add((first + block) * QUANTS), i);
                            part[r] = S::mul_add(quants, x, part[r]);
                        }
                    }
                }
                for r in 0..N {
                    sums[r] = S::mul_add(S::splat(scaled[r][block]), part[r], sums[r]);
                }
            }
        }
        let mut out = [0.0; N];
        for r in 0..N {
            out[r] = S::sum(sums[r]);
        }
        out
    }

    #[inline(always)]
    fn decode<S: Simd>(matrix: &Matrix, row: usize, cols: Range<usize>, out: &mut [f32]) {
        let blocks = matrix.cols / CHUNK;
        let (quants, at) = matrix.row(row, blocks * QUANTS, blocks * SCALE);
        let (start, end) = (cols.start / CHUNK, cols.end / CHUNK);
        for (group, out) in out[..cols.len()].chunks_mut(SCALES * CHUNK).enumerate() {
            let first = start + group * SCALES;
            // SAFETY: the row has blocks up to `end`.
            let scales = unsafe { scales::<S>(at.add(first * SCALE), SCALES.min(end - first)) };
            for (block, out) in out.as_chunks_mut::<CHUNK>().0.iter_mut().enumerate() {
                let scale = S::splat(scales[block]);
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above.
                    unsafe {
                        let quants = S::load_bytes(quants.add((first + block) * QUANTS), i);
                        S::store(out.as_mut_ptr().add(i * S::LANES), S::mul(quants, scale));
                    }
                }
            }
        }
    }
}
