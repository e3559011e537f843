// What tiles in workgroup memory are of: four numbers. x times X_SCALE is in its tile.
#if F16_TILES
alias Tile4 = vec4<f16>;
// Outliers of real layers come near the largest f16, and what is beyond is infinite: x is a 16th in its tile.
const X_SCALE: f32 = 0.0625;
#else
alias Tile4 = vec4<f32>;
const X_SCALE: f32 = 1.0;
#endif

// Four quads of x, as weight4x4_at has those of the weight.
fn x4x4_at(start: u32, quad: u32) -> mat4x4<f32> {
#if CHUNKED
    return mat4x4<f32>(
#repeat i 4
        x4_at(start, quad + $iu),
#end
    );
#else
    var values = mat4x4<f32>();
#repeat i 4
    if ((quad + $iu) * 4u < dims.cols) {
        values[$i] = x4_at(start, quad + $iu);
    }
#end
    return values;
#endif
}
