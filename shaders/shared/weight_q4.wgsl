// q4: first one vec4<u32> per block of 32 columns: byte j holds column j in its low and column j + 16 in its high
// nibble. Then one word per block: f16 scale, f16 minimum. value = q * scale + minimum.

fn weight_scale(block: u32) -> vec2<f32> {
    return unpack2x16float(weight[dims.rows * (dims.cols / 32u) + block / 4u][block % 4u]);
}

fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u));
}

fn weight4(row: u32, quad: u32) -> vec4<f32> {
    let block = row * (dims.cols / 32u) + quad / 8u;
    let scale = weight_scale(block);
    return low_nibbles(weight[block][quad % 4u] >> (quad & 4u)) * scale.x + scale.y;
}
