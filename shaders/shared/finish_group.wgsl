    // In the body of a mat-vec kernel, LANES invocations of which have parts of the sums of four slots from `slot` on: the sums over
    // all of them, and their ends. They meet in workgroup memory, in two steps of at most 8 each; with SUBGROUPS the first step is
    // one instruction. Sums of NORMED inputs are divided by the root of the mean of their `squares`.
#if SUBGROUPS
    // LANES is 64: the whole workgroup sums the same rows.
    sums = subgroupAdd(sums);
    let step = subgroup_size;
    if (subgroup_lane == 0u) {
        partials[lane] = sums;
    }
#if NORMED
    squares = subgroupAdd(squares);
    if (subgroup_lane == 0u) {
        square_partials[lane] = squares;
    }
#endif
    workgroupBarrier();
#else
    let step = min(8u, LANES);
    partials[lane] = sums;
#if NORMED
    square_partials[lane] = squares;
#endif
    workgroupBarrier();
    if (lane % step == 0u) {
        for (var i = 1u; i < step; i++) {
            sums += partials[lane + i];
#if NORMED
            squares += square_partials[lane + i];
#endif
        }
        partials[lane] = sums;
#if NORMED
        square_partials[lane] = squares;
#endif
    }
    workgroupBarrier();
#endif
    if (part == 0u) {
        for (var i = step; i < LANES; i += step) {
            sums += partials[lane + i];
#if NORMED
            squares += square_partials[lane + i];
#endif
        }
#if NORMED
        sums *= 1.0 / sqrt(squares / f32(dims.cols) + dims.eps);
#endif
        for (var i = 0u; i < 2u; i++) {
            if (slot / 2u + i < pair_count()) {
                finish(0u, slot / 2u + i, select(sums.xy, sums.zw, i == 1u));
            }
        }
    }
