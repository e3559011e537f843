use super::*;

/// 5 bits a number, 4 and one apart; scales and minimums as those of [`Q4K`].
pub struct Q5K;

/// Chunks of a block.
const CHUNKS: usize = 8;
const BLOCK: usize = CHUNKS * CHUNK;
/// Bytes of a block's low 4 bits; the fifth ones come behind them.
const LOW: usize = BLOCK / 2;
const QUANTS: usize = LOW + BLOCK / 8;
const LINE: usize = CHUNKS * Q4K::LINE;

/// A chunk's numbers, 8 a word.
#[inline(always)]
unsafe fn numbers(quants: *const u8, chunk: usize) -> [u64; CHUNK / 8] {
    let ([first, second], upper) = unsafe {
        let upper = quants.add(LOW).cast::<u32>().add(chunk).read_unaligned();
        (quants.cast::<[u64; 2]>().add(chunk).read_unaligned(), u64::from(upper))
    };
    // Of the first 4 numbers of a word, and a bit higher those of the others.
    let upper = upper | upper >> 1 << 32;
    let low = [first, second, first >> 4, second >> 4];
    let mut numbers = [0; CHUNK / 8];
    for i in 0..CHUNK / 8 {
        numbers[i] = low[i] & 0x0f0f_0f0f_0f0f_0f0f | (upper >> (2 * i) & 0x0101_0101_0101_0101) << 4;
    }
    numbers
}

impl Stored for Q5K {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let blocks = matrix.cols / BLOCK;
        let mut at = [(std::ptr::null(), std::ptr::null()); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], blocks * QUANTS, blocks * LINE);
        }
        let (values, bytes, chunk_sums) = (x.values().as_ptr(), x.bytes(), x.chunk_sums());
        let mut sums = [S::splat(0.0); N];
        for first in 0..blocks {
            let of_x = chunk_sums[first * SCALES..][..SCALES].as_ptr();
            for r in 0..N {
                // As far into the next rows, which lie behind these.
                matrix.prefetch::<S>(at[r].0, (N * blocks + first) * QUANTS, QUANTS);
                matrix.prefetch::<S>(at[r].1, (N * blocks + first) * LINE, LINE);
                // SAFETY: the row has this block, and x is as long.
                unsafe {
                    let lines = Q4K::lines::<S>(at[r].1.add(first * LINE), CHUNKS);
                    // Scale and minimum take turns, as zero and the sum of x do.
                    for i in (0..SCALES).step_by(S::LANES) {
                        sums[r] = S::mul_add(S::load(lines.as_ptr().add(i)), S::load(of_x.add(i)), sums[r]);
                    }
                    for chunk in 0..CHUNKS {
                        let numbers = numbers(at[r].0.add(first * QUANTS), chunk);
                        let (numbers, place) = (numbers.as_ptr().cast::<u8>(), first * CHUNKS + chunk);
                        if let Some(bytes) = bytes {
                            let scale = S::splat(lines[2 * chunk] * bytes.scales[place]);
                            let part = S::dot_bytes(numbers, bytes.values[place].as_ptr());
                            sums[r] = S::mul_add(scale, part, sums[r]);
                            continue;
                        }
                        let mut part = S::splat(0.0);
                        for i in 0..CHUNK / S::LANES {
                            let x = S::load(values.add(place * CHUNK + i * S::LANES));
                            part = S::mul_add(S::load_bytes(numbers, i), x, part);
                        }
                        sums[r] = S::mul_add(S::splat(lines[2 * chunk]), part, sums[r]);
                    }
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
        let blocks = matrix.cols / BLOCK;
        let (quants, at) = matrix.row(row, blocks * QUANTS, blocks * LINE);
        for (block, out) in (cols.start / BLOCK..).zip(out[..cols.len()].as_chunks_mut::<BLOCK>().0) {
            // SAFETY: the row has this block, and `out` as many numbers.
            unsafe {
                let lines = Q4K::lines::<S>(at.add(block * LINE), CHUNKS);
                for chunk in 0..CHUNKS {
                    let numbers = numbers(quants.add(block * QUANTS), chunk);
                    let (scale, minimum) = (S::splat(lines[2 * chunk]), S::splat(lines[2 * chunk + 1]));
                    for i in 0..CHUNK / S::LANES {
                        let value = S::mul_add(S::load_bytes(numbers.as_ptr().cast(), i), scale, minimum);
                        S::store(out.as_mut_ptr().add(chunk * CHUNK + i * S::LANES), value);
                    }
                }
            }
        }
    }
}
