// f32: one per word, rows one after the other.

#if WORDS
fn weight_element(at: u32) -> f32 {
    return bitcast<f32>(weight[at]);
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    let at = block + quad * 4u;
    return vec4<f32>(weight_element(at), weight_element(at + 1u), weight_element(at + 2u), weight_element(at + 3u));
}
#else
fn weight_element(at: u32) -> f32 {
    return bitcast<f32>(weight[at / 4u][at % 4u]);
}

fn weight_quad(block: u32, quad: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(weight[block / 4u + quad]);
}

fn weight_four(block: u32, quad: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
#repeat i 4
        weight_quad(block, quad + $iu),
#end
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
    return bitcast<vec4<f32>>(words);
}
#endif
