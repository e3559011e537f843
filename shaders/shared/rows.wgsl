// x4(row, quad): columns 4 * quad .. 4 * quad + 3 of the input rows `x` [dims.n, dims.cols]; zeros past the last
// column. x4_at(x_start(row), quad) is the same, for rows that are read more than once.
#if QUADS
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>; // [n, cols / 4]

fn x_start(row: u32) -> u32 {
    return row * (dims.cols / 4u);
}

fn x4_at(start: u32, quad: u32) -> vec4<f32> {
    return x[start + quad];
}
#else
@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]

fn x_start(row: u32) -> u32 {
    return row * dims.cols;
}

fn x4_at(start: u32, quad: u32) -> vec4<f32> {
    var values = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (quad * 4u + i < dims.cols) {
            values[i] = x[start + quad * 4u + i];
        }
    }
    return values;
}
#endif

fn x4(row: u32, quad: u32) -> vec4<f32> {
    return x4_at(x_start(row), quad);
}
