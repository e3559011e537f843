use super::*;

/// 6 bits a number, 4 and 2 apart; a scale in 8 bits a chunk of 16, of what a block has in half precision.
pub struct Q6K;

const PART: usize = 16;
/// Chunks of a block.
const PARTS: usize = 16;
const BLOCK: usize = PART * PARTS;
const LOW: usize = BLOCK / 2;
const QUANTS: usize = LOW + BLOCK / 4;
const SCALE: usize = PARTS + 2;

/// A block's numbers and their scales.
struct Block {
    numbers: [u8; BLOCK],
    scales: [f32; PARTS],
}

impl Block {
    #[inline(always)]
    unsafe fn load<S: Simd>(quants: *const u8, scales: *const u8) -> Self {
        let mut numbers = [0; BLOCK];
        let mut block = [0.0; PARTS];
        unsafe {
            for (i, numbers) in numbers.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
                let low = quants.add(i * 8).cast::<u64>().read_unaligned();
                let upper = u64::from(quants.add(LOW + i * 4).cast::<u32>().read_unaligned());
                // The upper bits of the first 8 numbers, and those of the others 4 bits higher.
                let upper = upper | upper >> 2 << 32;
                let first = low & 0x0f0f_0f0f_0f0f_0f0f | (upper & 0x0303_0303_0303_0303) << 4;
                let last = low >> 4 & 0x0f0f_0f0f_0f0f_0f0f | upper & 0x3030_3030_3030_3030;
                numbers[..8].copy_from_slice(&signed(first).to_le_bytes());
                numbers[8..].copy_from_slice(&signed(last).to_le_bytes());
            }
            let half = [scales.add(PARTS).cast::<u16>().read_unaligned(); SCALES];
            // As many bytes as a vector of them may be loaded from.
            let mut shares = [0; CHUNK];
            shares[..PARTS].copy_from_slice(&scales.cast::<[u8; PARTS]>().read());
            for i in 0..PARTS / S::LANES {
                let scale = S::mul(S::load_bytes(shares.as_ptr(), i), S::load_halves(half.as_ptr()));
                S::store(block.as_mut_ptr().add(i * S::LANES), scale);
            }
        }
        Self { numbers, scales: block }
    }

    /// The `index`th vector of a chunk's numbers.
    #[inline(always)]
    fn load_numbers<S: Simd>(&self, part: usize, index: usize) -> S::F {
        // Two chunks are the 32 bytes from which vectors are loaded.
        let pair = self.numbers[part / 2 * CHUNK..][..CHUNK].as_ptr();
        unsafe { S::load_bytes(pair, part % 2 * (PART / S::LANES) + index) }
    }
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
                    let block = Block::load::<S>(at[r].0.add(first * QUANTS), at[r].1.add(first * SCALE));
                    for part in 0..PARTS {
                        let mut product = S::splat(0.0);
                        for i in 0..PART / S::LANES {
                            let x = S::load(x.add(first * BLOCK + part * PART + i * S::LANES));
                            product = S::mul_add(block.load_numbers::<S>(part, i), x, product);
                        }
                        sums[r] = S::mul_add(S::splat(block.scales[part]), product, sums[r]);
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
        let (quants, scales) = matrix.row(row, blocks * QUANTS, blocks * SCALE);
        for (block, out) in (cols.start / BLOCK..).zip(out[..cols.len()].as_chunks_mut::<BLOCK>().0) {
            // SAFETY: the row has this block.
            let block = unsafe { Block::load::<S>(quants.add(block * QUANTS), scales.add(block * SCALE)) };
            for (part, out) in out.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
                let scale = S::splat(block.scales[part]);
                for i in 0..PART / S::LANES {
                    // SAFETY: `out` is a chunk.
                    unsafe {
                        S::store(out.as_mut_ptr().add(i * S::LANES), S::mul(block.load_numbers::<S>(part, i), scale));
                    }
                }
            }
        }
    }
}
