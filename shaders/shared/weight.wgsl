// weight4(row, quad): columns 4 * quad .. 4 * quad + 3 of `weight` [dims.rows, dims.cols], dequantized; zeros past the
// last column. Where QUADS is not set, `cols` is not a multiple of 4 and elements are read one by one.
#if Q4
#import weight_q4
#endif
#if Q8
#import weight_q8
#endif
#if F16
#import weight_f16
#endif
#if F32
#import weight_f32
#endif
