use super::*;

/// 5 bits a number, 4 and one apart; scales and minimums as those of [`Q4K`].
pub struct Q5K;

impl Lines for Q5K {
    type Quants = FiveBits;
    const LINE: usize = Q4K::LINE;

    #[inline(always)]
    unsafe fn lines<S: Simd>(at: *const u8, count: usize) -> [f32; SCALES] {
        unsafe { Q4K::lines::<S>(at, count) }
    }
}

pub struct FiveBits;

/// Chunks of a block.
const CHUNKS: usize = 8;
/// Bytes of a block's low 4 bits; the fifth ones come behind them.
const LOW: usize = CHUNKS * CHUNK / 2;
const BLOCK: usize = LOW + CHUNKS * CHUNK / 8;

impl Quants for FiveBits {
    const BYTES: usize = BLOCK / CHUNKS;
    /// 8 numbers a word.
    type Chunk = [u64; CHUNK / 8];

    #[inline(always)]
    unsafe fn chunk(row: *const u8, index: usize) -> Self::Chunk {
        let ([first, second], upper) = unsafe {
            let block = row.add(index / CHUNKS * BLOCK);
            let upper = block.add(LOW).cast::<u32>().add(index % CHUNKS).read_unaligned();
            (block.cast::<[u64; 2]>().add(index % CHUNKS).read_unaligned(), u64::from(upper))
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

    #[inline(always)]
    unsafe fn load<S: Simd>(chunk: &Self::Chunk, index: usize) -> S::F {
        unsafe { S::load_bytes(chunk.as_ptr().cast(), index) }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(chunk: &Self::Chunk, x: *const i8) -> S::F {
        unsafe { S::dot_bytes(chunk.as_ptr().cast(), x) }
    }
}
