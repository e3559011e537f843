use super::*;

/// Scale and minimum in 6 bits each of what a block of 8 chunks has in half precision.
pub struct Q4K;

impl Lines for Q4K {
    type Quants = Nibbles;
    const LINE: usize = 2;

    #[inline(always)]
    unsafe fn lines<S: Simd>(at: *const u8, _: usize) -> [f32; SCALES] {
        // Rows are whole blocks.
        let [block, scales, minimums, upper] = unsafe { at.cast::<[u32; 4]>().read_unaligned() };
        let upper = spread(upper);
        let scales = (spread(scales) | (upper & 0x0303_0303_0303_0303) << 4).to_le_bytes();
        let minimums = (spread(minimums) | (upper & 0x0c0c_0c0c_0c0c_0c0c) << 2).to_le_bytes();
        let mut shares = [0; CHUNK];
        for chunk in 0..lines::GROUP {
            let place = chunk / 2 + chunk % 2 * 4;
            (shares[2 * chunk], shares[2 * chunk + 1]) = (scales[place], minimums[place]);
        }
        let blocks = [block; SCALES / 2];
        let mut lines = [0.0; SCALES];
        unsafe {
            let block = S::load_halves(blocks.as_ptr().cast());
            for i in 0..SCALES / S::LANES {
                let line = S::mul(S::load_bytes(shares.as_ptr(), i), block);
                S::store(lines.as_mut_ptr().add(i * S::LANES), line);
            }
        }
        lines
    }
}

/// The nibbles of even numbers, a byte each, then the others.
#[inline(always)]
fn spread(nibbles: u32) -> u64 {
    let nibbles = u64::from(nibbles);
    (nibbles | nibbles << 28) & 0x0f0f_0f0f_0f0f_0f0f
}
