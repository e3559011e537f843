// f16: two per word, rows one after the other without padding.

#if WORDS
fn weight_element(at: u32) -> f32 {
    return unpack2x16float(weight[at / 2u])[at % 2u];
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let word = (block + quad * 4u) / 2u;
    return vec4<f32>(unpack2x16float(weight[word]), unpack2x16float(weight[word + 1u]));
}
#else
fn weight_element(at: u32) -> f32 {
    return unpack2x16float(weight[at / 8u][at / 2u % 4u])[at % 2u];
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let pair = block / 4u + quad;
    let words = weight[pair / 2u];
    let own = select(words.xy, words.zw, pair % 2u == 1u);
    return vec4<f32>(unpack2x16float(own.x), unpack2x16float(own.y));
}

fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    let first = block / 8u + quad / 2u;
    let words0 = weight[first];
    let words1 = weight[first + 1u];
    return mat4x4<f32>(
        weight_numbers(words0, 0u), weight_numbers(words0, 1u), weight_numbers(words1, 0u), weight_numbers(words1, 1u),
    );
}

const HAS_MINIMUM: bool = false;
const ZERO: f32 = 0.0;
const UPPER: f32 = 1.0;

fn weight_piece_scale(_start: u32, _piece: u32, _part: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn weight_piece(start: u32, piece: u32, _part: u32) -> vec4<u32> {
    return weight[start + piece];
}

fn weight_numbers(words: vec4<u32>, quad: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words[quad * 2u]), unpack2x16float(words[quad * 2u + 1u]));
}
#endif
