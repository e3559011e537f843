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

// The same with a shift less, where it is known which quad that is.
fn known_six_bits(low: u32, upper: u32, quad: u32) -> u32 {
    let bits = select(upper >> (quad * 2u - 4u), upper << (4u - quad * 2u), quad < 2u);
    return ((low >> ((quad & 2u) * 2u)) & 0x0f0f0f0fu) | (bits & 0x30303030u);
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
const UPPER: f32 = 1.0;

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let chunk = block * 16u + quad / 4u;
    let word = six_bits(word_at(low_at(0u, chunk) + quad % 2u), word_at(upper_at(0u, chunk)), quad % 4u);
    let scale = scale_of(0u, chunk);
    return bytes_of(word) * scale - 32.0 * scale;
}

// A half of a word of the scales, in its lower half.
fn scale_bits(half: u32) -> u32 {
    return word_at(dims.rows * (dims.cols / BLOCK) * 48u + half / 2u) >> (half % 2u * 16u);
}

// As scale_of, of the first or the second chunk of one of the block's pairs: by words that both have. Where quads are read one by one
// there is nothing to share, and Mali has too few registers for it.
fn scale_in(block: u32, pair: u32, second: bool) -> f32 {
    let share = bitcast<i32>(scale_bits(block * 9u + pair) << select(24u, 16u, second)) >> 24u;
    return unpack2x16float(scale_bits(block * 9u + 8u)).x * f32(share);
}

// A chunk.
fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    let chunk = quad / 4u;
    let at = block + chunk / 16u;
    let pair = chunk % 16u / 2u;
    let second = chunk % 2u == 1u;
    let scale = scale_in(at, pair, second);
    let words = weight[at * 12u + pair];
    let low = select(words.xy, words.zw, second);
    let upper = weight[at * 12u + 8u + pair / 2u][chunk % 4u];
    return mat4x4<f32>(
#repeat i 4
        bytes_of(known_six_bits(low[$iu % 2u], upper, $iu)) * scale - 32.0 * scale,
#end
    );
}

// A piece is PARTS chunks, one or two; words and scales of two chunks lie side by side. Of a part: which pair of its block's, and whether
// it is the second of that.
fn pair_of(piece: u32) -> u32 {
    return piece % (16u / PARTS) * PARTS / 2u;
}

fn is_second(piece: u32, part: u32) -> bool {
    return (piece * (2u - PARTS) + part) % 2u == 1u;
}

fn weight_piece(start: u32, piece: u32, part: u32) -> vec4<u32> {
    let block = start * PARTS / 4u * 3u + piece / (16u / PARTS) * 12u;
    let low = weight[block + pair_of(piece)];
    let uppers = weight[block + 8u + pair_of(piece) / 2u];
    let upper = select(uppers.xy, uppers.zw, pair_of(piece) % 2u == 1u);
    let second = is_second(piece, part);
    return vec4<u32>(select(low.xy, low.zw, second), select(upper.x, upper.y, second), 0u);
}

fn weight_piece_scale(start: u32, piece: u32, part: u32) -> vec2<f32> {
    let block = start * PARTS / 16u + piece / (16u / PARTS);
    return vec2<f32>(scale_in(block, pair_of(piece), is_second(piece, part)), 0.0);
}

#if AS_HALVES
#import halves
const ZERO: f32 = 96.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    let word = known_six_bits(words[quad % 2u], words.z, quad);
    return halves(word << 4u, word >> 4u, 0x03f003f0u, 0x54005400u);
}
#else
const ZERO: f32 = 32.0;

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return bytes_of(known_six_bits(words[quad % 2u], words.z, quad));
}
#endif
#endif
