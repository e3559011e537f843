// finish(at, pair, sums): what becomes of the sums of a pair of the weight's rows for row `at` of x. The pairs of an
// epilogue are rows it needs together, `dims.distance` apart; pairs (row_of) are numbered so that those of a head, or
// of the whole matrix, follow each other. A last pair may lack its second row.
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> bias: array<f32>; // [rows], read if dims.has_bias

#if ROPE_CACHE
#import epilogue_rope_cache
#else
#if GATED
#import epilogue_gated
#else
#import epilogue_sum
#endif
#endif

// The weight's row at place `slot` of the order of pairs: members of a pair are neighbours.
fn row_of(slot: u32) -> u32 {
    let pair = slot / 2u;
    let row = pair / dims.distance * 2u * dims.distance + pair % dims.distance + slot % 2u * dims.distance;
    return min(row, dims.rows - 1u);
}

fn pair_count() -> u32 {
    return (dims.rows + 1u) / 2u;
}

fn biased(row: u32, sum: f32) -> f32 {
    if (dims.has_bias != 0u) {
        return sum + bias[row];
    }
    return sum;
}
