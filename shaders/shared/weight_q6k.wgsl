// q6k: first 48 words per block of 256 columns in chunks of 16: of each chunk two words, whose byte j holds the low 4 bits of column j in
// its low and of column j + 8 in its high nibble; then of each chunk one with the upper 2 bits, bits 2 * i of byte j those of
// column 4 * i + j. Then 18 bytes per block: a signed byte per chunk, and an f16 scale. value = (q - 32) * scale, which is
// the block's times the chunk's.

#if WORDS
fn word_at(at: u32) -> u32 {
    return weight[at];
}
#else
fn word_at(at: u32) -> u32 {
    return weight[at / 4u][at % 4u];
}
#endif

fn scale_of(start: u32, chunk: u32) -> f32 {
    let scales = dims.rows * (dims.cols / BLOCK) * 48u;
    let byte = start + start / 16u * 2u + (chunk + chunk / 16u * 2u);
    let half = start / 16u * 9u + (chunk / 16u * 9u + 8u);
    let share = bitcast<i32>(word_at(scales + byte / 4u) << ((byte ^ 3u) * 8u % 32u)) >> 24u;
    return unpack2x16float(word_at(scales + half / 2u) >> (half % 2u * 16u)).x * f32(share);
}

// The bytes of a quad, of the words in which they lie.
fn six_bits(low: u32, upper: u32, quad: u32) -> u32 {
    return ((low >> ((quad & 2u) * 2u)) & 0x0f0f0f0fu) | (((upper >> (quad * 2u)) & 0x03030303u) << 4u);
}

// The chunk's first word of low bits; the second is the next one.
fn low_at(start: u32, chunk: u32) -> u32 {
    return start * 3u + chunk * 2u + chunk / 16u * 16u;
}

fn upper_at(start: u32, chunk: u32) -> u32 {
    return start * 3u + chunk + chunk / 16u * 32u + 32u;
}

#if WORDS
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    return scale_of(start, chunk) * vec2<f32>(255.0, -32.0);
}

fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let low = weight[low_at(0u, chunk) + j];
    let upper = weight[upper_at(0u, chunk)];
    return Octet(unpack4x8unorm(six_bits(low, upper, j)), unpack4x8unorm(six_bits(low, upper, j + 2u)));
}
#else
#import bytes
const HAS_MINIMUM: bool = false;
const PARTS_SCALED: bool = true;
const UPPER: f32 = 1.0;

fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    return vec2<f32>(scale_of(start, chunk), 0.0);
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let chunk = block * 16u + quad / 4u;
    let word = six_bits(word_at(low_at(0u, chunk) + quad % 2u), word_at(upper_at(0u, chunk)), quad % 4u);
    return (bytes_of(word) - 32.0) * scale_of(0u, chunk);
}

// A piece is two chunks, which are its parts.
fn weight_piece(start: u32, piece: u32, part: u32) -> vec4<u32> {
    let block = (start + piece / 8u * 8u) / 2u * 3u;
    let low = weight[block + piece % 8u];
    let upper = weight[block + 8u + piece % 8u / 2u];
    return vec4<u32>(low[part * 2u], low[part * 2u + 1u], select(upper[part], upper[part + 2u], piece % 2u == 1u), 0u);
}

fn weight_piece_scale(start: u32, piece: u32, part: u32) -> vec2<f32> {
    let block = start / 8u + piece / 8u;
    let scales = dims.rows * (dims.cols / BLOCK) * 48u;
    let half = block * 9u + piece % 8u; // of the scales, in which those of both chunks are
    let shares = word_at(scales + half / 2u) >> (half % 2u * 16u);
    let share = bitcast<i32>(shares << (24u - part * 8u)) >> 24u;
    let last = block * 9u + 8u;
    return vec2<f32>(unpack2x16float(word_at(scales + last / 2u) >> (last % 2u * 16u)).x * f32(share), 0.0);
}

fn piece_bits(words: vec4<u32>, quad: u32) -> u32 {
    let upper = select(words.z >> (quad * 2u - 4u), words.z << (4u - quad * 2u), quad < 2u);
    return ((words[quad % 2u] >> ((quad & 2u) * 2u)) & 0x0f0f0f0fu) | (upper & 0x30303030u);
}

#if AS_HALVES
#import halves
const ZERO: f32 = 96.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    let word = piece_bits(words, quad);
    return halves(word << 4u, word >> 4u, 0x03f003f0u, 0x54005400u);
}
#else
const ZERO: f32 = 32.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(piece_bits(words, quad));
}
#endif
#endif
