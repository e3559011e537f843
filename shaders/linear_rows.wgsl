// finish(sums over k of x[i, k] * weight[j, k]), for machines without a GPU (SwiftShader, lavapipe): no barrier, no
// workgroup memory, no sums across invocations.
//
// An invocation computes X_ROWS rows of x (1 to decode, 8 to prefill) by 8 slots of the weight's rows, all in named
// variables, so that what it unpacks of the weight serves all rows of x and what it loads of x serves all slots. These
// adapters run 4 or more neighbouring invocations as the lanes of one vector, and loads, not arithmetic, are dear there:
// everything is loaded in single words, since a vec4 costs more than four of those. Every lane needs the same x: with
// SUBGROUPS each lane loads one column of four and the others get it by broadcast.
// `unpack4x8unorm` turns four bytes into floats at once, for what converting one of them costs otherwise; its 1/255 goes
// into the block's scale.
// On a GPU neighbours would read words a whole row apart, and a memory transaction would bring in little that is used.
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<u32>; // [rows, cols] in its format
#import epilogue

struct Octet { // Columns col .. col + 3 and col + 16 .. col + 19 of a row.
    low: vec4<f32>,
    high: vec4<f32>,
}

// value = byte / 255 * x + y
#if Q4
fn weight_scale(row: u32, chunk: u32) -> vec2<f32> {
    let scale = unpack2x16float(weight[dims.rows * (dims.cols / 8u) + row * (dims.cols / 32u) + chunk]);
    return vec2<f32>(scale.x * 255.0, scale.y);
}

fn weight8(row: u32, col: u32, scale: vec2<f32>) -> Octet {
    // The word of column c of a block of 32 is c / 4, and it holds column c + 16 too.
    let word = weight[row * (dims.cols / 8u) + col / 32u * 4u + col % 32u / 4u];
    return Octet(
        unpack4x8unorm(word & 0x0f0f0f0fu) * scale.x + scale.y,
        unpack4x8unorm((word >> 4u) & 0x0f0f0f0fu) * scale.x + scale.y,
    );
}
#else
#if Q8
fn weight_scale(row: u32, chunk: u32) -> vec2<f32> {
    let block = row * (dims.cols / 32u) + chunk;
    let scale = unpack2x16float(weight[dims.rows * (dims.cols / 4u) + block / 2u])[block % 2u];
    return vec2<f32>(scale * 255.0, scale * -128.0);
}

fn weight8(row: u32, col: u32, scale: vec2<f32>) -> Octet {
    let word = row * (dims.cols / 4u) + col / 4u;
    return Octet(
        unpack4x8unorm(weight[word] ^ 0x80808080u) * scale.x + scale.y,
        unpack4x8unorm(weight[word + 4u] ^ 0x80808080u) * scale.x + scale.y,
    );
}
#else
fn weight_scale(row: u32, chunk: u32) -> vec2<f32> {
    return vec2<f32>();
}

fn element(at: u32) -> f32 {
#if F16
    return unpack2x16float(weight[at / 2u])[at % 2u];
#else
    return bitcast<f32>(weight[at]);
#endif
}

// Past the last column the last ones are read again, x being zero there: a branch, 16 times over once inlined, takes
// Subzero minutes to compile.
fn weight4(row: u32, col: u32) -> vec4<f32> {
    let start = row * dims.cols;
#if QUADS
    let at = start + min(col, dims.cols - 4u);
#if F16
    return vec4<f32>(unpack2x16float(weight[at / 2u]), unpack2x16float(weight[at / 2u + 1u]));
#else
    return vec4<f32>(element(at), element(at + 1u), element(at + 2u), element(at + 3u));
#endif
#else
    let last = dims.cols - 1u;
    return vec4<f32>(
        element(start + min(col, last)),
        element(start + min(col + 1u, last)),
        element(start + min(col + 2u, last)),
        element(start + min(col + 3u, last)),
    );
#endif
}

fn weight8(row: u32, col: u32, scale: vec2<f32>) -> Octet {
    return Octet(weight4(row, col), weight4(row, col + 16u));
}
#endif
#endif

fn x1(start: u32, col: u32) -> f32 {
#if BLOCKS
    return x[start + col];
#else
    return select(0.0, x[start + min(col, dims.cols - 1u)], col < dims.cols);
#endif
}

// Columns col .. col + 3 of the row of x that begins at `start`; zeros past the last column.
fn x4(start: u32, col: u32, lane: u32) -> vec4<f32> {
#if SUBGROUPS
    let mine = x1(start, col + lane % 4u);
    return vec4<f32>(
        subgroupBroadcast(mine, 0u),
        subgroupBroadcast(mine, 1u),
        subgroupBroadcast(mine, 2u),
        subgroupBroadcast(mine, 3u),
    );
#else
    return vec4<f32>(x1(start, col), x1(start, col + 1u), x1(start, col + 2u), x1(start, col + 3u));
#endif
}

@compute @workgroup_size(16)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row_groups = (dims.rows + 127u) / 128u;
    let group = flat_index(workgroup, workgroups);
    let at = group / row_groups * X_ROWS;
    if (at >= dims.n) {
        return;
    }
    let slot = (group % row_groups * 16u + lane) * 8u;
#repeat r 8
    let row$r = row_of(slot + $ru);
#end
#repeat m X_ROWS
    let start$m = min(at + $mu, dims.n - 1u) * dims.cols;
#repeat r 8
    var sum$m_$r = 0.0;
#end
#end
    for (var first = 0u; first < dims.cols; first += 32u) {
#repeat r 8
        let scale$r = weight_scale(row$r, first / 32u);
#end
        for (var col = first; col < first + 16u; col += 4u) {
#repeat m X_ROWS
            let low$m = x4(start$m, col, lane);
            let high$m = x4(start$m, col + 16u, lane);
#end
#repeat r 8
            {
                let values = weight8(row$r, col, scale$r);
#repeat m X_ROWS
                sum$m_$r += dot(values.low, low$m) + dot(values.high, high$m);
#end
            }
#end
        }
    }

    var sums = array<vec2<f32>, X_ROWS * 4>(
#repeat m X_ROWS
        vec2<f32>(sum$m_0, sum$m_1),
        vec2<f32>(sum$m_2, sum$m_3),
        vec2<f32>(sum$m_4, sum$m_5),
        vec2<f32>(sum$m_6, sum$m_7),
#end
    );
    // A loop, since code written out for every output would take seconds to compile.
    for (var i = 0u; i < X_ROWS * 4u; i++) {
        let pair = slot / 2u + i % 4u;
        if (at + i / 4u < dims.n && pair < pair_count()) {
            finish(at + i / 4u, pair, sums[i]);
        }
    }
}
