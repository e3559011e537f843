// q4: first the quants of all blocks of 32 columns, as nibbles.wgsl says. Then one word per block: f16 scale, f16 minimum. value = q *
// scale + minimum. A block is a chunk.
#import nibbles

#if WORDS
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    let block = start + chunk;
    let scale = unpack2x16float(weight[dims.rows * (dims.cols / 8u) + block]);
    return vec2<f32>(scale.x * 255.0, scale.y);
}
#else
fn weight_scale(start: u32, chunk: u32) -> vec2<f32> {
    let block = start + chunk;
    return unpack2x16float(weight[dims.rows * (dims.cols / BLOCK) + block / 4u][block % 4u]);
}
#endif
