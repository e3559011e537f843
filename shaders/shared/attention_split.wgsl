// The `visible` positions of a query are dealt out to dims.splits workgroups in runs of this length, the last one
// shorter; at short contexts the last workgroups get none. The host knows the cache's capacity only, not the position.
const SPLIT_STEP: u32 = 32u;

fn split_length(visible: u32) -> u32 {
    let even = (visible + dims.splits - 1u) / dims.splits;
    return (even + SPLIT_STEP - 1u) / SPLIT_STEP * SPLIT_STEP;
}
