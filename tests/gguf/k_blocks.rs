//! Our q4k, q5k and q6k blocks as llama.cpp lays them out.

use std::array;

/// Weights of a block.
pub const WEIGHTS: usize = 256;

/// `d`, `dmin`; scales and minimums of 6 bits, the first four of each whole, of the others 4 bits each in a byte and the upper 2 above
/// the first ones. Ours is 16 bytes.
fn head(ours: &[u8]) -> Vec<u8> {
    let nibble = |first: usize, i: usize| ours[first + i / 2] >> (i % 2 * 4) & 15;
    let scale: [u8; 8] = array::from_fn(|i| nibble(4, i) | (nibble(12, i) & 3) << 4);
    let minimum: [u8; 8] = array::from_fn(|i| nibble(8, i) | (nibble(12, i) >> 2) << 4);
    let mut out = ours[..4].to_vec();
    // What we add they subtract.
    out[3] ^= 0x80;
    out.extend((0..4).map(|i| scale[i] | scale[i + 4] >> 4 << 6));
    out.extend((0..4).map(|i| minimum[i] | minimum[i + 4] >> 4 << 6));
    out.extend((4..8).map(|i| scale[i] & 15 | minimum[i] << 4));
    out
}

/// In four parts of 64 weights, of which the first 32 are the low halves of 32 bytes. Ours is 128 bytes.
fn nibbles(ours: &[u8]) -> impl Iterator<Item = u8> {
    let quant = |i: usize| ours[i / 32 * 16 + i % 16] >> (i / 16 % 2 * 4) & 15;
    (0..WEIGHTS / 2).map(move |at| {
        let first = at / 32 * 64 + at % 32;
        quant(first) | quant(first + 32) << 4
    })
}

/// Scales, then quants. Ours is 16 bytes of scales, then 128 of quants.
pub fn q4_k(block: &[u8]) -> Vec<u8> {
    let (scales, quants) = block.split_at(16);
    head(scales).into_iter().chain(nibbles(quants)).collect()
}

/// Between those 32 bytes of fifth bits, bit `i` of byte `j` that of weight `32 * i + j`. Ours is 16 bytes of scales, then 128 of low
/// bits and 32 of fifth ones.
pub fn q5_k(block: &[u8]) -> Vec<u8> {
    let (scales, quants) = block.split_at(16);
    let fifth = |i: usize| quants[128 + i / 32 * 4 + i % 4] >> (i % 32 / 4) & 1;
    let fifths = (0..32).map(|j| (0..8).fold(0, |byte, i| byte | fifth(32 * i + j) << i));
    head(scales).into_iter().chain(fifths).chain(nibbles(quants)).collect()
}

/// 128 bytes of low halves, 64 of upper bit pairs, in two parts of 128 weights: of weight `i` of a part byte `i % 64`, in the high half
/// from 64 on, and byte `i % 32`, bits `2 * (i / 32)`; 16 scales; `d`. Ours is 18 bytes of scales, then 192 of quants.
pub fn q6_k(block: &[u8]) -> Vec<u8> {
    let (scales, quants) = block.split_at(18);
    let quant = |i: usize| {
        let (chunk, column) = (i / 16, i % 16);
        let low = quants[chunk * 8 + column % 8] >> (column / 8 * 4) & 15;
        low | (quants[128 + chunk * 4 + column % 4] >> (column / 4 * 2) & 3) << 4
    };
    let (mut low, mut upper) = ([0; 128], [0; 64]);
    for i in 0..WEIGHTS {
        let (part, within) = (i / 128, i % 128);
        low[part * 64 + within % 64] |= (quant(i) & 15) << (within / 64 * 4);
        upper[part * 32 + within % 32] |= quant(i) >> 4 << (within / 32 * 2);
    }
    [&low[..], &upper, scales].concat()
}
