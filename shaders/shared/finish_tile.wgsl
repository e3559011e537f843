    // In the body of a kernel of tiles, an invocation of which has 4 * X_QUADS by 4 sums, from row first_at and pair first_pair on: their ends. They
    // are chosen by comparing, as an array that is indexed by a variable lies in memory where indices are checked; and the
    // bounds are no constants, as code written out for every output is ten thousand instructions.
    let end_at = min(first_at + X_QUADS * 4u, dims.n);
    let end_pair = min(first_pair + 2u, pair_count());
    for (var at = first_at; at < end_at; at++) {
        var sums = sum0_0;
#repeat m X_QUADS
#repeat i 4
        if (at - first_at == $mu * 4u + $iu) {
            sums = sum$m_$i;
        }
#end
#end
        for (var pair = first_pair; pair < end_pair; pair++) {
            finish(at, pair, select(sums.zw, sums.xy, pair == first_pair));
        }
    }
