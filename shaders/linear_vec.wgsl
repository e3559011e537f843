// finish(sums over k of x[0, k] * weight[j, k]) for one row on a GPU: reading the weights is the cost.
//
// Workgroup: 64 / LANES groups of LANES invocations; a group computes 4 slots of the weight's rows. Its invocations take the
// pieces of a row, 16 to 32 bytes, in turn, so that neighbours read neighbouring bytes. Of 16 bytes the words of all 4 rows
// are kept in registers, and x is read quad by quad beside them. Scale and minimum are applied once for all that share them:
// sum(x * (q * s + m)) = s * sum(x * q) + m * sum(x); what number stands for 0 likewise. NORMED: x is normalized on the way,
// sum(x / rms * w * q) = sum(x * w * q) / rms, so that the rms is needed at the end only.
#import flat_index
#if PIECES
// Places in a piece are known: where indices are clamped, that of the piece is, once for all of them.
@group(0) @binding(0) var<storage, read_write> x: array<array<vec4<f32>, PIECE_QUADS>>; // [cols / 4 / PIECE_QUADS]
#else
#import rows
#endif

@group(0) @binding(1) var<storage, read_write> weight: array<vec4<u32>>; // [rows, cols] in its format
#import weight
#import epilogue

#if NORMED
@group(0) @binding(NORM_BINDING) var<storage, read_write> norm_weight: array<array<vec4<f32>, PIECE_QUADS>>; // as x
#endif

var<workgroup> partials: array<vec4<f32>, 64>;
#if NORMED
var<workgroup> square_partials: array<f32, 64>;
#endif

// A quad of a piece of x as the weights are to be multiplied by it; its squares come to `squares` where they are needed.
fn x_quad(piece: u32, quad: u32, squares: ptr<function, f32>) -> vec4<f32> {
#if PIECES
    let values = x[piece][quad];
#else
    let values = x4_at(0u, piece);
#endif
#if NORMED
    *squares += dot(values, values);
    return values * norm_weight[piece][quad];
#else
    return values;
#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
#if SUBGROUPS
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
#endif
) {
    let first_slot = flat_index(workgroup, workgroups) * (4u * 64u / LANES);
    if (first_slot >= dims.rows) {
        return;
    }
    let part = lane % LANES;
    let slot = first_slot + lane / LANES * 4u;
    // Where PIECES is not set each quad is one.
    let pieces = (dims.cols + 3u) / 4u / PIECE_QUADS;
#repeat r 4
#if PIECES
    let start$r = row_of(slot + $ru) * pieces;
#else
    let start$r = weight_start(row_of(slot + $ru));
#endif
#end
    var sums = vec4<f32>();
    var squares = 0.0;
    for (var piece = part; piece < pieces; piece += LANES) {
#if PIECES
#repeat r 4
        var products$r = 0.0;
#end
        var x_sum = 0.0;
#repeat p PARTS
        {
#repeat r 4
            let words$r = weight_piece(start$r, piece, $pu);
#end
#repeat i PART_QUADS
            {
                // The upper half first: its products, which are UPPER times too large, are divided before the others come.
                let quad = PART_QUADS - 1u - $iu;
                if (UPPER != 1.0 && quad == PART_QUADS / 2u - 1u) {
#repeat r 4
                    products$r /= UPPER;
#end
                }
                let values = x_quad(piece, $pu * PART_QUADS + quad, &squares);
                x_sum += values.x + values.y + (values.z + values.w);
#repeat r 4
                {
                    let numbers = weight_numbers(words$r, quad);
#repeat k 4
                    products$r += numbers[$k] * values[$k];
#end
                }
#end
            }
#end
            // A part that is a chunk has a scale of its own.
            if (PART_QUADS * 4u == CHUNK || $pu == PARTS - 1u) {
#repeat r 4
                {
                    let scale = weight_piece_scale(start$r, piece, $pu);
                    if (ZERO != 0.0) {
                        products$r -= ZERO * x_sum;
                    }
                    sums[$r] += scale.x * products$r;
                    if (HAS_MINIMUM) {
                        sums[$r] += scale.y * x_sum;
                    }
                    products$r = 0.0;
                }
#end
                x_sum = 0.0;
            }
        }
#end
#else
        let values = x_quad(piece, 0u, &squares);
#repeat r 4
        sums[$r] += dot(weight4_at(start$r, piece), values);
#end
#endif
    }

#import finish_group
}
