// q4k: first one vec4<u32> per chunk of 32 columns, as a block of q4. Then one per block of 8 chunks: f16 scale and f16 minimum;
// the low 4 bits of the chunks' scales; of their minimums; and the upper 2 bits of both. value = q * scale + minimum, which
// are the block's times the chunk's.

// Of the words of a block, the chunk's scale and minimum.
fn line_of(words: vec4<u32>, chunk: u32) -> vec2<f32> {
    let shift = chunk % 8u * 4u;
    let upper = words.w >> shift;
    let scale = ((words.y >> shift) & 15u) | ((upper & 3u) << 4u);
    let minimum = ((words.z >> shift) & 15u) | ((upper & 12u) << 2u);
    return unpack2x16float(words.x) * vec2<f32>(f32(scale), f32(minimum));
}

#if WORDS
fn weight_scale(chunk: u32) -> vec2<f32> {
    let at = dims.rows * (dims.cols / 8u) + chunk / 8u * 4u;
    let words = vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
    return line_of(words, chunk) * vec2<f32>(255.0, 1.0);
}

fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let word = weight[chunk * 4u + j];
    return Octet(unpack4x8unorm(word & 0x0f0f0f0fu), unpack4x8unorm((word >> 4u) & 0x0f0f0f0fu));
}
#else
const HAS_MINIMUM: bool = true;
const ZERO: f32 = 0.0;

fn weight_scale(chunk: u32) -> vec2<f32> {
    return line_of(weight[dims.rows * (dims.cols / CHUNK) + chunk / 8u], chunk);
}

fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word & 0x0f0f0f0fu) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn weight_quad(start: u32, quad: u32) -> vec4<f32> {
    let chunk = start * 8u + quad / 8u;
    let scale = weight_scale(chunk);
    return low_nibbles(weight[chunk][quad % 4u] >> (quad & 4u)) * scale.x + scale.y;
}

fn weight_word(chunk: u32, j: u32) -> u32 {
    return (weight[chunk][j % 4u] >> (j & 4u)) & 0x0f0f0f0fu;
}

fn weight_piece(chunk: u32) -> vec4<u32> {
    return weight[chunk];
}

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return low_nibbles(words[quad % 4u] >> (quad & 4u));
}
#endif
