// Copies a buffer of `words`: every invocation moves PER elements, neighbours neighbouring ones, each a word or (WIDE)
// four. `words` is a multiple of all that.
#if WIDE
@group(0) @binding(0) var<storage, read_write> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4<u32>>;
#else
@group(0) @binding(0) var<storage, read_write> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> copied: array<u32>;
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 64u * PER + lane;
    if (first < dims.elements) {
#repeat i PER
        copied[first + $iu * 64u] = source[first + $iu * 64u];
#end
    }
}
