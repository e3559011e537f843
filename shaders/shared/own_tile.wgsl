    // In the body of a kernel of tiles of 64 rows of x by 64 slots: where the workgroup's own begins. Neighbouring workgroups share the
    // weight's tile, the larger of the two to fetch.
    let n_tiles = (dims.n + 63u) / 64u;
    let tile = flat_index(workgroup, workgroups);
    if (tile >= (dims.rows + 63u) / 64u * n_tiles) {
        return;
    }
    let first_x = tile % n_tiles * 64u;
    let first_slot = tile / n_tiles * 64u;
