// q4k: first the quants of all chunks of 32 columns, as nibbles.wgsl says. Then one vec4<u32> per block of 8 chunks: f16 scale and f16
// minimum; the low 4 bits of the chunks' scales; of their minimums; and the upper 2 bits of both. value = q * scale + minimum,
// which are the block's times the chunk's.
#import nibbles

// Of the words of a block, the chunk's scale and minimum.
fn line_of(words: vec4<u32>, chunk: u32) -> vec2<f32> {
    let shift = chunk % 8u * 4u;
    let upper = words.w >> shift;
    let scale = ((words.y >> shift) & 15u) | ((upper & 3u) << 4u);
    let minimum = ((words.z >> shift) & 15u) | ((upper & 12u) << 2u);
    return unpack2x16float(words.x) * vec2<f32>(f32(scale), f32(minimum));
}

#if WORDS
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    let at = dims.rows * (dims.cols / 8u) + start / 2u + chunk / 8u * 4u;
    let words = vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
    return line_of(words, chunk) * vec2<f32>(255.0, 1.0);
}
#else
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    return line_of(weight[dims.rows * (dims.cols / CHUNK) + start / 8u + chunk / 8u], chunk);
}
#endif
