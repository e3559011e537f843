// q8: first two vec4<u32> per block of 32 columns, one signed byte per column. Then one f16 scale per block. value = q
// * scale. A block is a chunk.

#if WORDS
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    let block = start + chunk;
    let scale = unpack2x16float(weight[dims.rows * (dims.cols / 4u) + block / 2u])[block % 2u];
    return vec2<f32>(scale * 255.0, scale * -128.0);
}

fn weight_bytes(block: u32, j: u32) -> Octet {
    let word = block * 8u + j;
    return Octet(unpack4x8unorm(weight[word] ^ 0x80808080u), unpack4x8unorm(weight[word + 4u] ^ 0x80808080u));
}
#else
#import bytes
const HAS_MINIMUM: bool = false;
const UPPER: f32 = 1.0;

fn scale_of(block: u32) -> f32 {
    let word = block / 2u;
    return unpack2x16float(weight[dims.rows * (dims.cols / 16u) + word / 4u][word % 4u] >> (block * 16u % 32u)).x;
}

fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    return vec2<f32>(scale_of(start + chunk), 0.0);
}

fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let at = block * 8u + quad;
    return signed_bytes(weight[at / 4u][at % 4u]) * scale_of(at / 8u);
}

fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    let scale = scale_of(block + quad / 8u);
    let words = weight_words(block + quad / 8u, quad / 4u % 2u);
    return mat4x4<f32>(
#repeat i 4
        signed_bytes(words[$i]) * scale,
#end
    );
}

fn weight_words(block: u32, half: u32) -> vec4<u32> {
    return weight[block * 2u + half];
}

fn weight_piece_scale(start: u32, piece: u32, _part: u32) -> vec2<f32> {
    return weight_scale(start, piece);
}

fn weight_piece(start: u32, chunk: u32, part: u32) -> vec4<u32> {
    return weight[(start + chunk) * 2u + part];
}

#if AS_HALVES
#import halves
const ZERO: f32 = 384.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    let word = words[quad] ^ 0x80808080u;
    return halves(word << 2u, word >> 6u, 0x03fc03fcu, 0x5c005c00u);
}
#else
const ZERO: f32 = 128.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(words[quad] ^ 0x80808080u);
}
#endif
#endif
