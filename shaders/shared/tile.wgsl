// What tiles in workgroup memory are of: four numbers. x times X_SCALE is in its tile.
#if F16_TILES
alias Tile4 = vec4<f16>;
// Outliers of real layers come near the largest f16, and what is beyond is infinite: x is a 16th in its tile.
const X_SCALE: f32 = 0.0625;
#else
alias Tile4 = vec4<f32>;
const X_SCALE: f32 = 1.0;
#endif
