// q8: first two vec4<u32> per block of 32 columns, one signed byte per column. Then one f16 scale per block. value = q
// * scale.

fn weight_scale(block: u32) -> f32 {
    let word = block / 2u;
    return unpack2x16float(weight[dims.rows * (dims.cols / 16u) + word / 4u][word % 4u])[block % 2u];
}

fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn weight4(row: u32, quad: u32) -> vec4<f32> {
    let at = row * (dims.cols / 4u) + quad;
    return signed_bytes(weight[at / 4u][at % 4u]) * weight_scale(at / 8u);
}
