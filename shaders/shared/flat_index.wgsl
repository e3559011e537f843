// Workgroups are counted along x and, past 65535 of them, along y: the number of this one. It may lie past the last one
// asked for.
fn flat_index(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}
