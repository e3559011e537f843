// q4: first one vec4<u32> per block of 32 columns: byte j holds column j in its low and column j + 16 in its high
// nibble. Then one word per block: f16 scale, f16 minimum. value = q * scale + minimum. A block is a chunk.

#if WORDS
fn weight_scale(block: u32) -> vec2<f32> {
    let scale = unpack2x16float(weight[dims.rows * (dims.cols / 8u) + block]);
    return vec2<f32>(scale.x * 255.0, scale.y);
}

fn weight_bytes(block: u32, j: u32) -> Octet {
    let word = weight[block * 4u + j];
    return Octet(unpack4x8unorm(word & 0x0f0f0f0fu), unpack4x8unorm((word >> 4u) & 0x0f0f0f0fu));
}
#else
const HAS_MINIMUM: bool = true;
const ZERO: f32 = 0.0;

fn weight_scale(block: u32) -> vec2<f32> {
    return unpack2x16float(weight[dims.rows * (dims.cols / BLOCK) + block / 4u][block % 4u]);
}

fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word & 0x0f0f0f0fu) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn weight_quad(start: u32, quad: u32) -> vec4<f32> {
    let block = start + quad / 8u;
    let scale = weight_scale(block);
    return low_nibbles(weight[block][quad % 4u] >> (quad & 4u)) * scale.x + scale.y;
}

fn weight_word(block: u32, j: u32) -> u32 {
    return (weight[block][j % 4u] >> (j & 4u)) & 0x0f0f0f0fu;
}

fn weight_piece(piece: u32) -> vec4<u32> {
    return weight[piece];
}

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return low_nibbles(words[quad % 4u] >> (quad & 4u));
}
#endif
