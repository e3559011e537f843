// q4k: first the quants of all chunks of 32 columns, as nibbles.wgsl says. Then a block's scales, as super_block.wgsl says. value = q *
// scale + minimum.
#import nibbles
#import super_block

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
