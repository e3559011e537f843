// Multiply-adds on CHAINS independent vectors of four, `rounds` times 16 each, without a load or a store until the end.
@group(0) @binding(0) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + lane;
    let factor = vec4<f32>(dims.factor);
    let term = vec4<f32>(dims.term);
#repeat c CHAINS
    var chain_$c = vec4<f32>(f32(index + $cu));
#end
    for (var i = 0u; i < dims.rounds; i++) {
        for (var j = 0u; j < 4u; j++) {
#repeat c CHAINS
            chain_$c = fma(chain_$c, factor, term);
#end
#repeat c CHAINS
            chain_$c = fma(chain_$c, factor, term);
#end
#repeat c CHAINS
            chain_$c = fma(chain_$c, factor, term);
#end
#repeat c CHAINS
            chain_$c = fma(chain_$c, factor, term);
#end
        }
    }
    var sum = vec4<f32>(0.0);
#repeat c CHAINS
    sum += chain_$c;
#end
    sums[index % arrayLength(&sums)] = sum.x + sum.y + sum.z + sum.w;
}
