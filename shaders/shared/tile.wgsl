// What the weight's tiles in workgroup memory are of: four numbers. x is f32 in its own.
#if F16_TILES
alias Tile4 = vec4<f16>;
#else
alias Tile4 = vec4<f32>;
#endif

// x4x4_at(x_start(row), quad): four quads of x, as weight4x4_at has those of the weight.
#if PIECES
// Which of sixteen columns is known: where indices are clamped, that of the sixteen is, once for all of them.
@group(0) @binding(0) var<storage, read_write> x: array<mat4x4<f32>>; // [n, cols / 16]

fn x_start(row: u32) -> u32 {
    return row * (dims.cols / 16u);
}

fn x4x4_at(start: u32, quad: u32) -> mat4x4<f32> {
#if CHUNKED
    return x[start + quad / 4u];
#else
    var values = mat4x4<f32>();
    if (quad * 4u < dims.cols) {
        values = x[start + quad / 4u];
    }
    return values;
#endif
}
#else
#import rows

fn x4x4_at(start: u32, quad: u32) -> mat4x4<f32> {
    var values = mat4x4<f32>();
#repeat i 4
    if ((quad + $iu) * 4u < dims.cols) {
        values[$i] = x4_at(start, quad + $iu);
    }
#end
    return values;
}
#endif
