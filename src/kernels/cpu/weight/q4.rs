use super::*;

/// 16 bytes of nibbles a block; scale and minimum in half precision.
pub struct Q4;

const QUANTS: usize = CHUNK / 2;
const SCALE: usize = 4;
/// Blocks whose scales and minimums are read together.
const GROUP: usize = SCALES / 2;

impl Stored for Q4 {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let blocks = matrix.cols / CHUNK;
        let mut at = [(std::ptr::null(), std::ptr::null()); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], blocks * QUANTS, blocks * SCALE);
        }
        let (values, bytes, chunk_sums) = (x.values().as_ptr(), x.bytes(), x.chunk_sums());
        let mut sums = [S::splat(0.0); N];
        for first in (0..blocks).step_by(GROUP) {
            let count = GROUP.min(blocks - first);
            let of_x = chunk_sums[2 * first..][..SCALES].as_ptr();
            let mut scaled = [[0.0; SCALES]; N];
            for r in 0..N {
                // As far into the next rows, which lie behind these.
                matrix.prefetch::<S>(at[r].0, (N * blocks + first) * QUANTS, GROUP * QUANTS);
                matrix.prefetch::<S>(at[r].1, (N * blocks + first) * SCALE, GROUP * SCALE);
                // SAFETY: the row has `count` more blocks.
                unsafe {
                    scaled[r] = scales::<S>(at[r].1.add(first * SCALE), 2 * count);
                    // Scale and minimum take turns, as zero and the sum of x do.
                    for i in (0..SCALES).step_by(S::LANES) {
                        sums[r] = S::mul_add(S::load(scaled[r].as_ptr().add(i)), S::load(of_x.add(i)), sums[r]);
                    }
                }
            }
            for block in 0..count {
                if let Some(bytes) = bytes {
                    let (x, scale) = (bytes.values[first + block].as_ptr(), bytes.scales[first + block]);
                    for r in 0..N {
                        // SAFETY: as above.
                        let part = unsafe { S::dot_nibbles(at[r].0.add((first + block) * QUANTS), x) };
                        sums[r] = S::mul_add(S::splat(scaled[r][2 * block] * scale), part, sums[r]);
                    }
                    continue;
                }
                let mut part = [S::splat(0.0); N];
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above, and x is as long as the row.
                    unsafe {
                        let x = S::load(values.add((first + block) * CHUNK + i * S::LANES));
                        for r in 0..N {
                            let quants = S::load_nibbles(at[r].0.add((first + block) * QUANTS), i);
                            part[r] = S::mul_add(quants, x, part[r]);
                        }
                    }
                }
                for r in 0..N {
                    sums[r] = S::mul_add(S::splat(scaled[r][2 * block]), part[r], sums[r]);
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
        for (group, out) in out[..cols.len()].chunks_mut(GROUP * CHUNK).enumerate() {
            let first = start + group * GROUP;
            // SAFETY: the row has blocks up to `end`.
            let scales = unsafe { scales::<S>(at.add(first * SCALE), 2 * GROUP.min(end - first)) };
            for (block, out) in out.as_chunks_mut::<CHUNK>().0.iter_mut().enumerate() {
                let (scale, minimum) = (S::splat(scales[2 * block]), S::splat(scales[2 * block + 1]));
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above.
                    unsafe {
                        let quants = S::load_nibbles(quants.add((first + block) * QUANTS), i);
                        S::store(out.as_mut_ptr().add(i * S::LANES), S::mul_add(quants, scale, minimum));
                    }
                }
            }
        }
    }
}
