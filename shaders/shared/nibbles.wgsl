// What formats share whose quants are one vec4<u32> per chunk of 32 columns: byte j holds column j in its low and column j + 16 in
// its high nibble. They have weight_scale(start, chunk); value = q * scale + minimum.

#if WORDS
fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let word = weight[chunk * 4u + j];
    return Octet(unpack4x8unorm(word & 0x0f0f0f0fu), unpack4x8unorm((word >> 4u) & 0x0f0f0f0fu));
}
#else
#import bytes
const HAS_MINIMUM: bool = true;

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let start = block * (BLOCK / CHUNK);
    let scale = weight_scale(start, quad / 8u);
    let word = (weight[start + quad / 8u][quad % 4u] >> (quad & 4u)) & 0x0f0f0f0fu;
    return bytes_of(word) * scale.x + scale.y;
}

fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    let start = block * (BLOCK / CHUNK);
    let scale = weight_scale(start, quad / 8u);
    let words = weight_words(start + quad / 8u, quad / 4u % 2u);
    return mat4x4<f32>(
#repeat i 4
        bytes_of(words[$i]) * scale.x + scale.y,
#end
    );
}

fn weight_words(chunk: u32, half: u32) -> vec4<u32> {
    return (weight[chunk] >> vec4<u32>(half * 4u)) & vec4<u32>(0x0f0f0f0fu);
}

fn weight_piece_scale(start: u32, piece: u32, _part: u32) -> vec2<f32> {
    return weight_scale(start, piece);
}

fn weight_piece(start: u32, chunk: u32, _part: u32) -> vec4<u32> {
    return weight[start + chunk];
}

#if AS_HALVES
#import halves
const ZERO: f32 = 16.0;
const UPPER: f32 = 1.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    let word = words[quad % 4u];
    return halves(word << (6u - (quad & 4u)), word >> (2u + (quad & 4u)), 0x03c003c0u, 0x4c004c00u);
}
#else
const ZERO: f32 = 0.0;
const UPPER: f32 = 16.0;

// High nibbles where they lie: a shift less.
fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(words[quad % 4u] & select(0x0f0f0f0fu, 0xf0f0f0f0u, quad >= 4u));
}
#endif
#endif
