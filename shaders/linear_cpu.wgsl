// finish(sums over k of x[i, k] * weight[j, k]), for machines without a GPU (SwiftShader, lavapipe): no barrier, no
// workgroup memory, no sums across invocations.
//
// An invocation computes X_ROWS rows of x (1 to decode, 8 to prefill) by 8 slots of the weight's rows, all in named
// variables, so that what it unpacks of the weight serves all rows of x and what it loads of x serves all slots. These
// adapters run 4 or more neighbouring invocations as the lanes of one vector, and loads, not arithmetic, are dear there:
// everything is loaded in single words, since a vec4 costs more than four of those. Every lane needs the same x: with
// SUBGROUPS each lane loads one column of four and the others get it by broadcast.
// `unpack4x8unorm` turns four bytes into floats at once, for what converting one of them costs otherwise; its 1/255 goes
// into the chunk's scale.
// On a GPU neighbours would read words a whole row apart, and a memory transaction would bring in little that is used.
#import flat_index

@group(0) @binding(0) var<storage, read_write> x: array<f32>; // [n, cols]
@group(0) @binding(1) var<storage, read_write> weight: array<u32>; // [rows, cols] in its format
#import epilogue

struct Octet { // Four neighbouring columns of a row, and those half a chunk further on.
    low: vec4<f32>,
    high: vec4<f32>,
}

#import weight_format
#if CHUNKED
#else
// Past the last column the last ones are read again, x being zero there: a branch, 16 times over once inlined, takes
// Subzero minutes to compile.
fn weight4(row: u32, col: u32) -> vec4<f32> {
#if QUADS
    return weight_quad(row * (dims.cols / BLOCK), min(col, dims.cols - 4u) / 4u);
#else
    let start = row * dims.cols;
    let last = dims.cols - 1u;
    return vec4<f32>(
        weight_element(start + min(col, last)),
        weight_element(start + min(col + 1u, last)),
        weight_element(start + min(col + 2u, last)),
        weight_element(start + min(col + 3u, last)),
    );
#endif
}

fn weight8(row: u32, col: u32) -> Octet {
    return Octet(weight4(row, col), weight4(row, col + CHUNK / 2u));
}
#endif

fn x1(start: u32, col: u32) -> f32 {
#if CHUNKED
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

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slots = LANES * 8u;
    let row_groups = (dims.rows + slots - 1u) / slots;
    let group = flat_index(workgroup, workgroups);
    let at = group / row_groups * X_ROWS;
    if (at >= dims.n) {
        return;
    }
    let slot = group % row_groups * slots + lane * 8u;
#repeat r 8
    let row$r = row_of(slot + $ru);
#end
#repeat m X_ROWS
    let start$m = min(at + $mu, dims.n - 1u) * dims.cols;
#repeat r 8
    var sum$m_$r = 0.0;
#end
#end
    for (var first = 0u; first < dims.cols; first += CHUNK) {
#if CHUNKED
#repeat r 8
        let chunk$r = row$r * (dims.cols / CHUNK) + first / CHUNK;
        let scale$r = weight_scale(row$r * (dims.cols / CHUNK), first / CHUNK);
#end
#endif
#if ONE_ROW
        // The scale and the minimum are applied once a chunk: sum(x * (q * s + m)) = s * sum(x * q) + m * sum(x).
        var total = vec4<f32>();
#repeat r 8
        var part$r = 0.0;
#end
#endif
        for (var j = 0u; j < CHUNK / 8u; j++) {
            let col = first + 4u * j;
#repeat m X_ROWS
            let low$m = x4(start$m, col, lane);
            let high$m = x4(start$m, col + CHUNK / 2u, lane);
#end
#if ONE_ROW
            total += low0 + high0;
#repeat r 8
            {
                let bytes = weight_bytes(chunk$r, j);
                part$r += dot(bytes.low, low0) + dot(bytes.high, high0);
            }
#end
#else
#repeat r 8
            {
#if CHUNKED
                let bytes = weight_bytes(chunk$r, j);
                let values = Octet(bytes.low * scale$r.x + scale$r.y, bytes.high * scale$r.x + scale$r.y);
#else
                let values = weight8(row$r, col);
#endif
#repeat m X_ROWS
                sum$m_$r += dot(values.low, low$m) + dot(values.high, high$m);
#end
            }
#end
#endif
        }
#if ONE_ROW
        let x_sum = dot(total, vec4<f32>(1.0));
#repeat r 8
        sum0_$r += part$r * scale$r.x + x_sum * scale$r.y;
#end
#endif
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
