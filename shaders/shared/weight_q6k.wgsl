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

fn scale_of(chunk: u32) -> f32 {
    let scales = dims.rows * (dims.cols / BLOCK) * 48u;
    let block = chunk / 16u;
    let byte = chunk + block * 2u;
    let half = block * 9u + 8u;
    let share = bitcast<i32>(word_at(scales + byte / 4u) << (24u - byte % 4u * 8u)) >> 24u;
    return unpack2x16float(word_at(scales + half / 2u) >> (half % 2u * 16u)).x * f32(share);
}

// The bytes of a quad, of the words in which they lie.
fn six_bits(low: u32, upper: u32, quad: u32) -> u32 {
    return ((low >> ((quad & 2u) * 2u)) & 0x0f0f0f0fu) | (((upper >> (quad * 2u)) & 0x03030303u) << 4u);
}

// The chunk's first word of low bits; the second is the next one.
fn low_at(chunk: u32) -> u32 {
    return chunk * 2u + chunk / 16u * 16u;
}

fn upper_at(chunk: u32) -> u32 {
    return chunk + chunk / 16u * 32u + 32u;
}

#if WORDS
fn weight_scale(chunk: u32) -> vec2<f32> {
    return scale_of(chunk) * vec2<f32>(255.0, -32.0);
}

fn weight_bytes(chunk: u32, j: u32) -> Octet {
    let low = weight[low_at(chunk) + j];
    let upper = weight[upper_at(chunk)];
    return Octet(unpack4x8unorm(six_bits(low, upper, j)), unpack4x8unorm(six_bits(low, upper, j + 2u)));
}
#else
const HAS_MINIMUM: bool = false;
const ZERO: f32 = 32.0;

fn weight_scale(chunk: u32) -> vec2<f32> {
    return vec2<f32>(scale_of(chunk), 0.0);
}

fn bytes_of(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn weight_quad(start: u32, quad: u32) -> vec4<f32> {
    let chunk = start * 16u + quad / 4u;
    let word = six_bits(word_at(low_at(chunk) + quad % 2u), word_at(upper_at(chunk)), quad % 4u);
    return (bytes_of(word) - 32.0) * scale_of(chunk);
}

fn weight_piece(chunk: u32, _part: u32) -> vec4<u32> {
    let low = low_at(chunk);
    return vec4<u32>(word_at(low), word_at(low + 1u), word_at(upper_at(chunk)), 0u);
}

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(six_bits(words[quad % 2u], words.z, quad));
}
#endif
