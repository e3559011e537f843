// What formats share whose quants are one vec4<u32> per chunk of 32 columns: byte j holds column j in its low and column j + 16 in
// its high nibble. They have weight_scale(chunk); value = q * scale + minimum.

#if WORDS
fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let word = weight[chunk * 4u + j];
    return Octet(unpack4x8unorm(word & 0x0f0f0f0fu), unpack4x8unorm((word >> 4u) & 0x0f0f0f0fu));
}
#else
const HAS_MINIMUM: bool = true;
const ZERO: f32 = 0.0;

fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word & 0x0f0f0f0fu) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn weight_quad(start: u32, quad: u32) -> vec4<f32> {
    let chunk = start * (BLOCK / CHUNK) + quad / 8u;
    let scale = weight_scale(chunk);
    return low_nibbles(weight[chunk][quad % 4u] >> (quad & 4u)) * scale.x + scale.y;
}

fn weight_word(chunk: u32, j: u32) -> u32 {
    return (weight[chunk][j % 4u] >> (j & 4u)) & 0x0f0f0f0fu;
}

fn weight_piece(chunk: u32, _part: u32) -> vec4<u32> {
    return weight[chunk];
}

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return low_nibbles(words[quad % 4u] >> (quad & 4u));
}
#endif
