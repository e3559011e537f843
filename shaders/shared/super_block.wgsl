// What q4k and q5k share: the scales of a block of 8 chunks of 32 columns. One vec4<u32>: f16 scale and f16 minimum; the low 4 bits of
// the chunks' scales; of their minimums; and the upper 2 bits of both. A chunk's are the block's times its own.

// Of the words of a block, the chunk's scale and minimum.
fn line_of(words: vec4<u32>, chunk: u32) -> vec2<f32> {
    let shift = chunk % 8u * 4u;
    let upper = words.w >> shift;
    let scale = ((words.y >> shift) & 15u) | ((upper & 3u) << 4u);
    let minimum = ((words.z >> shift) & 15u) | ((upper & 12u) << 2u);
    return unpack2x16float(words.x) * vec2<f32>(f32(scale), f32(minimum));
}
