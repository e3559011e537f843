    // In the body of a mat-vec kernel, LANES invocations of which have parts of the sums of four slots from `slot` on: the sums over
    // all of them, and their ends. They meet in workgroup memory, in two steps of at most 8 each; with SUBGROUPS the first step is
    // one instruction.
#if SUBGROUPS
    // LANES is 64: the whole workgroup sums the same rows.
    sums = subgroupAdd(sums);
    let step = subgroup_size;
    if (subgroup_lane == 0u) {
        partials[lane] = sums;
    }
    workgroupBarrier();
#else
    let step = min(8u, LANES);
    partials[lane] = sums;
    workgroupBarrier();
    if (lane % step == 0u) {
        for (var i = 1u; i < step; i++) {
            sums += partials[lane + i];
        }
        partials[lane] = sums;
    }
    workgroupBarrier();
#endif
    if (part == 0u) {
        for (var i = step; i < LANES; i += step) {
            sums += partials[lane + i];
        }
        for (var i = 0u; i < 2u; i++) {
            if (slot / 2u + i < pair_count()) {
                finish(0u, slot / 2u + i, select(sums.xy, sums.zw, i == 1u));
            }
        }
    }
