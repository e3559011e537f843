// f16: two per word, rows one after the other without padding.

#if QUADS
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    let word = (row * dims.cols + quad * 4u) / 2u;
    let words = weight[word / 4u];
    return vec4<f32>(unpack2x16float(words[word % 4u]), unpack2x16float(words[word % 4u + 1u]));
}
#else
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    var values = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (quad * 4u + i < dims.cols) {
            let at = row * dims.cols + quad * 4u + i;
            values[i] = unpack2x16float(weight[at / 8u][at / 2u % 4u])[at % 2u];
        }
    }
    return values;
}
#endif
