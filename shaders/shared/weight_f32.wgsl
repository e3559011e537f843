// f32: one per word, rows one after the other.

#if QUADS
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(weight[row * (dims.cols / 4u) + quad]);
}
#else
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    var values = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (quad * 4u + i < dims.cols) {
            let at = row * dims.cols + quad * 4u + i;
            values[i] = bitcast<f32>(weight[at / 4u][at % 4u]);
        }
    }
    return values;
}
#endif
