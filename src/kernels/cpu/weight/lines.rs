use super::*;

/// A format of chunks that have a scale and a minimum.
pub trait Lines {
    type Quants: Quants;
    /// Bytes of a chunk's scale and minimum.
    const LINE: usize;

    /// Scales and minimums of `count` chunks from `at` on, [`GROUP`] at most, in turn; zeros behind them.
    unsafe fn lines<S: Simd>(at: *const u8, count: usize) -> [f32; SCALES];
}

/// How the quants of a format lie.
pub trait Quants {
    /// Bytes of a chunk's, or of several chunks' in the mean.
    const BYTES: usize;
    /// Those of a chunk, to be read in vectors.
    type Chunk: Copy;

    /// The quants of the `index`th chunk of a row, whose quants begin at `row`.
    unsafe fn chunk(row: *const u8, index: usize) -> Self::Chunk;
    /// The `index`th vector of a chunk's quants.
    unsafe fn load<S: Simd>(chunk: &Self::Chunk, index: usize) -> S::F;
    /// Their products with as many signed bytes, none of them -128, added up in the lanes.
    unsafe fn dot<S: Simd>(chunk: &Self::Chunk, x: *const i8) -> S::F;
}

/// 16 bytes a chunk.
pub struct Nibbles;

impl Quants for Nibbles {
    const BYTES: usize = CHUNK / 2;
    type Chunk = *const u8;

    #[inline(always)]
    unsafe fn chunk(row: *const u8, index: usize) -> *const u8 {
        unsafe { row.add(index * Self::BYTES) }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(chunk: &*const u8, index: usize) -> S::F {
        unsafe { S::load_nibbles(*chunk, index) }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(chunk: &*const u8, x: *const i8) -> S::F {
        unsafe { S::dot_nibbles(*chunk, x) }
    }
}

/// Chunks whose scales and minimums are read together.
pub const GROUP: usize = SCALES / 2;

impl<T: Lines> Stored for T {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let chunks = matrix.cols / CHUNK;
        let mut at = [(std::ptr::null(), std::ptr::null()); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], chunks * T::Quants::BYTES, chunks * T::LINE);
        }
        let (values, bytes, chunk_sums) = (x.values().as_ptr(), x.bytes(), x.chunk_sums());
        let mut sums = [S::splat(0.0); N];
        for first in (0..chunks).step_by(GROUP) {
            let count = GROUP.min(chunks - first);
            let of_x = chunk_sums[2 * first..][..SCALES].as_ptr();
            let mut scaled = [[0.0; SCALES]; N];
            for r in 0..N {
                // As far into the next rows, which lie behind these.
                matrix.prefetch::<S>(at[r].0, (N * chunks + first) * T::Quants::BYTES, GROUP * T::Quants::BYTES);
                matrix.prefetch::<S>(at[r].1, (N * chunks + first) * T::LINE, GROUP * T::LINE);
                // SAFETY: the row has `count` more chunks.
                unsafe {
                    scaled[r] = T::lines::<S>(at[r].1.add(first * T::LINE), count);
                    // Scale and minimum take turns, as zero and the sum of x do.
                    for i in (0..SCALES).step_by(S::LANES) {
                        sums[r] = S::mul_add(S::load(scaled[r].as_ptr().add(i)), S::load(of_x.add(i)), sums[r]);
                    }
                }
            }
            for chunk in 0..count {
                // SAFETY: as above.
                let mut quants = [unsafe { T::Quants::chunk(at[0].0, first + chunk) }; N];
                for r in 1..N {
                    quants[r] = unsafe { T::Quants::chunk(at[r].0, first + chunk) };
                }
                if let Some(bytes) = bytes {
                    let (x, scale) = (bytes.values[first + chunk].as_ptr(), bytes.scales[first + chunk]);
                    for r in 0..N {
                        // SAFETY: as above.
                        let part = unsafe { T::Quants::dot::<S>(&quants[r], x) };
                        sums[r] = S::mul_add(S::splat(scaled[r][2 * chunk] * scale), part, sums[r]);
                    }
                    continue;
                }
                let mut part = [S::splat(0.0); N];
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above, and x is as long as the row.
                    unsafe {
                        let x = S::load(values.add((first + chunk) * CHUNK + i * S::LANES));
                        for r in 0..N {
                            part[r] = S::mul_add(T::Quants::load::<S>(&quants[r], i), x, part[r]);
                        }
                    }
                }
                for r in 0..N {
                    sums[r] = S::mul_add(S::splat(scaled[r][2 * chunk]), part[r], sums[r]);
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
        let chunks = matrix.cols / CHUNK;
        let (quants, at) = matrix.row(row, chunks * T::Quants::BYTES, chunks * T::LINE);
        let (start, end) = (cols.start / CHUNK, cols.end / CHUNK);
        for (group, out) in out[..cols.len()].chunks_mut(GROUP * CHUNK).enumerate() {
            let first = start + group * GROUP;
            // SAFETY: the row has chunks up to `end`.
            let lines = unsafe { T::lines::<S>(at.add(first * T::LINE), GROUP.min(end - first)) };
            for (chunk, out) in out.as_chunks_mut::<CHUNK>().0.iter_mut().enumerate() {
                let (scale, minimum) = (S::splat(lines[2 * chunk]), S::splat(lines[2 * chunk + 1]));
                // SAFETY: as above.
                let quants = unsafe { T::Quants::chunk(quants, first + chunk) };
                for i in 0..CHUNK / S::LANES {
                    // SAFETY: as above.
                    unsafe {
                        let quants = T::Quants::load::<S>(&quants, i);
                        S::store(out.as_mut_ptr().add(i * S::LANES), S::mul_add(quants, scale, minimum));
                    }
                }
            }
        }
    }
}
