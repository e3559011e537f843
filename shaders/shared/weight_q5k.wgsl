// q5k: first 40 words per block of 256 columns in chunks of 32: of each chunk four, byte j of which holds the low 4 bits of column j in
// its low and of column j + 16 in its high nibble; then of each chunk one with the fifth bits, bit i of byte j that of column 4 * i + j.
// Then a block's scales, as super_block.wgsl says. value = q * scale + minimum.
#import super_block

// The bytes of a quad of a chunk, of the words in which they lie.
fn five_bits(low: u32, upper: u32, quad: u32) -> u32 {
    return ((low >> (quad & 4u)) & 0x0f0f0f0fu) | (((upper >> quad) & 0x01010101u) << 4u);
}

#if WORDS
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    let at = dims.rows * (dims.cols / BLOCK) * 40u + start / 2u + chunk / 8u * 4u;
    let words = vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
    return line_of(words, chunk) * vec2<f32>(255.0, 1.0);
}

fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let block = chunk / 8u * 40u;
    let low = weight[block + chunk % 8u * 4u + j];
    let upper = weight[block + 32u + chunk % 8u];
    return Octet(unpack4x8unorm(five_bits(low, upper, j)), unpack4x8unorm(five_bits(low, upper, j + 4u)));
}
#else
#import bytes
const HAS_MINIMUM: bool = true;
const UPPER: f32 = 1.0;

fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    return line_of(weight[dims.rows * (dims.cols / BLOCK) * 10u + start / 8u + chunk / 8u], chunk);
}

fn low_at(start: u32, chunk: u32) -> vec4<u32> {
    return weight[start / 4u * 5u + (chunk + chunk / 8u * 2u)];
}

fn upper_at(start: u32, chunk: u32) -> u32 {
    return weight[start / 4u * 5u + (chunk / 8u * 10u + chunk % 8u / 4u + 8u)][chunk % 4u];
}

// The bytes of a half of a chunk.
fn half_of(start: u32, chunk: u32, half: u32) -> vec4<u32> {
    let low = (low_at(start, chunk) >> vec4<u32>(half * 4u)) & vec4<u32>(0x0f0f0f0fu);
    let upper = vec4<u32>(upper_at(start, chunk) >> (half * 4u)) << vec4<u32>(4u, 3u, 2u, 1u);
    return low | (upper & vec4<u32>(0x10101010u));
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let start = block * (BLOCK / CHUNK);
    let scale = weight_scale(start, quad / 8u);
    let low = low_at(start, quad / 8u)[quad % 4u];
    return bytes_of(five_bits(low, upper_at(start, quad / 8u), quad % 8u)) * scale.x + scale.y;
}

fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    let start = block * (BLOCK / CHUNK);
    let scale = weight_scale(start, quad / 8u);
    let words = half_of(start, quad / 8u, quad / 4u % 2u);
    return mat4x4<f32>(
#repeat i 4
        bytes_of(words[$i]) * scale.x + scale.y,
#end
    );
}

fn weight_words(chunk: u32, half: u32) -> vec4<u32> {
    return half_of(0u, chunk, half);
}

fn weight_piece_scale(start: u32, piece: u32, _part: u32) -> vec2<f32> {
    return weight_scale(start, piece);
}

fn weight_piece(start: u32, piece: u32, part: u32) -> vec4<u32> {
    return half_of(start, piece, part);
}

#if AS_HALVES
#import halves
const ZERO: f32 = 32.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return halves(words[quad] << 5u, words[quad] >> 3u, 0x03e003e0u, 0x50005000u);
}
#else
const ZERO: f32 = 0.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(words[quad]);
}
#endif
#endif
