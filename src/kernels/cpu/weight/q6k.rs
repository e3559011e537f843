use super::*;

/// 6 bits a number, 4 and 2 apart; a scale in 8 bits a chunk of 16, of what a block has in half precision.
pub struct Q6K;

const PART: usize = 16;
/// Chunks of a block.
const PARTS: usize = 16;
const BLOCK: usize = PART * PARTS;
/// Bytes of a block's low 4 bits; the upper 2 come behind them.
const LOW: usize = BLOCK / 2;
const QUANTS: usize = LOW + BLOCK / 4;
const SCALE: usize = PARTS + 2;

/// A block's numbers, 8 a word. A loop that compilers make vectors of.
#[inline(always)]
unsafe fn numbers(quants: *const u8) -> [u64; BLOCK / 8] {
    let (low, upper) = unsafe {
        let upper = quants.add(LOW).cast::<[u32; PARTS]>().read_unaligned();
        (quants.cast::<[u64; PARTS]>().read_unaligned(), upper)
    };
    let mut numbers = [0; BLOCK / 8];
    for part in 0..PARTS {
        // The upper bits of the first 8 numbers, and 4 bits higher those of the others.
        let (low, upper) = (low[part], u64::from(upper[part]));
        let upper = upper | upper >> 2 << 32;
        numbers[2 * part] = signed(low & 0x0f0f_0f0f_0f0f_0f0f | (upper & 0x0303_0303_0303_0303) << 4);
        numbers[2 * part + 1] = signed(low >> 4 & 0x0f0f_0f0f_0f0f_0f0f | upper & 0x3030_3030_3030_3030);
    }
    numbers
}

/// The chunks' scales.
#[inline(always)]
unsafe fn scales<S: Simd>(at: *const u8) -> [f32; PARTS] {
    let mut scales = [0.0; PARTS];
    unsafe {
        let block = [at.add(PARTS).cast::<u16>().read_unaligned(); PARTS];
        for i in 0..PARTS / S::LANES {
            let scale = S::mul(S::load_bytes(at, i), S::load_halves(block.as_ptr()));
            S::store(scales.as_mut_ptr().add(i * S::LANES), scale);
        }
    }
    scales
}

/// Bytes from 0 to 63, 32 lower.
#[inline(always)]
fn signed(bytes: u64) -> u64 {
    ((bytes | 0x8080_8080_8080_8080) - 0x2020_2020_2020_2020) ^ 0x8080_8080_8080_8080
}

impl Stored for Q6K {
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(matrix: &Matrix, rows: [usize; N], x: &Input) -> [f32; N] {
        let blocks = matrix.cols / BLOCK;
        let mut at = [(std::ptr::null(), std::ptr::null()); N];
        for r in 0..N {
            at[r] = matrix.row(rows[r], blocks * QUANTS, blocks * SCALE);
        }
        let x = x.values().as_ptr();
        let mut sums = [S::splat(0.0); N];
        for first in 0..blocks {
            for r in 0..N {
                // As far into the next rows, which lie behind these.
                matrix.prefetch::<S>(at[r].0, (N * blocks + first) * QUANTS, QUANTS);
                // SAFETY: the row has this block, and x is as long.
                unsafe {
                    let scales = scales::<S>(at[r].1.add(first * SCALE));
                    let numbers = numbers(at[r].0.add(first * QUANTS));
                    for part in 0..PARTS {
                        let numbers = numbers[2 * part..].as_ptr().cast();
                        let mut product = S::splat(0.0);
                        for i in 0..PART / S::LANES {
                            let x = S::load(x.add(first * BLOCK + part * PART + i * S::LANES));
                            product = S::mul_add(S::load_bytes(numbers, i), x, product);
                        }
                        sums[r] = S::mul_add(S::splat(scales[part]), product, sums[r]);
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
        let (quants, at) = matrix.row(row, blocks * QUANTS, blocks * SCALE);
        for (block, out) in (cols.start / BLOCK..).zip(out[..cols.len()].as_chunks_mut::<BLOCK>().0) {
            // SAFETY: the row has this block, and `out` as many numbers.
            unsafe {
                let (quants, scales) = (quants.add(block * QUANTS), scales::<S>(at.add(block * SCALE)));
                let numbers = numbers(quants);
                for part in 0..PARTS {
                    let (numbers, scale) = (numbers[2 * part..].as_ptr().cast(), S::splat(scales[part]));
                    for i in 0..PART / S::LANES {
                        let value = S::mul(S::load_bytes(numbers, i), scale);
                        S::store(out.as_mut_ptr().add(part * PART + i * S::LANES), value);
                    }
                }
            }
        }
    }
}
