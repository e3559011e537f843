// weight4(row, quad): columns 4 * quad .. 4 * quad + 3 of `weight` [dims.rows, dims.cols], dequantized; zeros past the
// last column. weight4_at(weight_start(row), quad) is the same, for rows that are read more than once. Where QUADS is not set, `cols` is not a multiple of 4 and elements are read one by one.
//
// `weight_format` stands for shaders/shared/weight_<format>.wgsl, where `weight` is an array<vec4<u32>> or, with WORDS (in
// kernels for CPU adapters), an array<u32>. Quants of all blocks of BLOCK columns come first, then their scales; see
// src/quant/. It has
//   weight_quad(block, quad), as weight4_at with QUADS, of the row whose first block that is; with WORDS only where CHUNKED is not set;
//   weight_four(block, quad), as weight4x4_at of columns that are there, where rows are whole sixteens and not WORDS;
//   weight_element(at), element `at` of row * dims.cols + column, where BLOCK is 1.
// Where CHUNKED is set, each chunk of CHUNK columns of a row, 32 or 16, has one scale and minimum. Chunks are numbered row * (dims.cols
// / CHUNK) + chunk of the row. Where that is said as `start`, the number of the row's first chunk, and `chunk` of the row, rows that are
// read side by side share what follows from the latter. With WORDS:
//   weight_scale(start, chunk), weight_bytes(start + chunk, j): value = byte / 255 * scale.x + scale.y, of the bytes / 255 of columns
//   4 * j .. 4 * j + 3 of the chunk and those CHUNK / 2 further on;
// and else
//   of CHUNK 32 weight_scale(start, chunk), weight_words(start + chunk, half): value = byte * scale.x + scale.y, of the signed bytes of
//   columns 16 * half .. 16 * half + 15 of the chunk, four in a word.
// Where PIECES is set, rows are whole pieces: the PIECE_QUADS quads of columns that kernels read in a turn, in any format; in kernels of
// tiles at least four quads, in mat-vec kernels PARTS parts of PART_QUADS quads, at most 16 bytes each. They are numbered as chunks are, and are whole chunks where CHUNKED is set:
//   weight_piece(start, piece, part), weight_numbers(words, quad): value = (number - ZERO) * scale.x + scale.y, of the four numbers of a
//   quad of the part in `words`, with weight_piece_scale(start, piece, part), which is the piece's unless parts are chunks. scale.y is 0
//   unless HAS_MINIMUM. Numbers of the upper half of a piece's quads are UPPER times as large; it is 1 where there are several PARTS.
#import weight_format

// The number of the row's first block.
fn weight_start(row: u32) -> u32 {
    return row * (dims.cols / BLOCK);
}

fn weight4_at(start: u32, quad: u32) -> vec4<f32> {
#if QUADS
    return weight_quad(start, quad);
#else
    var values = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (quad * 4u + i < dims.cols) {
            values[i] = weight_element(start + quad * 4u + i);
        }
    }
    return values;
#endif
}

#if WORDS
#else
// Four quads, the first of which is a multiple of four; zeros past the last column.
fn weight4x4_at(start: u32, quad: u32) -> mat4x4<f32> {
#if CHUNKED
    return weight_four(start, quad);
#else
    var values = mat4x4<f32>();
#if PIECES
    if (quad * 4u < dims.cols) {
        values = weight_four(start, quad);
    }
#else
#repeat i 4
    if ((quad + $iu) * 4u < dims.cols) {
        values[$i] = weight4_at(start, quad + $iu);
    }
#end
#endif
    return values;
#endif
}
#endif

fn weight4(row: u32, quad: u32) -> vec4<f32> {
    return weight4_at(weight_start(row), quad);
}
