//! Kernels on this machine's GPU (or Vulkan's software one) against their naive versions; every shader parsed by naga.

#[path = "kernels/cases.rs"]
#[macro_use]
mod cases;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use futures_lite::future::block_on;
use llava_web::device;
use llava_web::kernels;

/// The GPU. There is no skipping: a suite that passes without one proves nothing.
fn gpu() -> &'static device::Opened {
    static GPU: OnceLock<device::Opened> = OnceLock::new();
    GPU.get_or_init(|| {
        let opened = block_on(device::open());
        opened.unwrap_or_else(|error| {
            panic!("{error}\nThese tests need a Vulkan adapter; a software one is enough (Debian: mesa-vulkan-drivers)")
        })
    })
}

/// Cases change which variants run in this process, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

macro_rules! on_the_gpu {
    ($($case:ident),*) => {
        $(#[test]
        fn $case() {
            let _alone = alone();
            block_on(cases::$case(&gpu().device));
        })*
    };
}

for_each_case!(on_the_gpu);
for_each_case_of_shaders!(on_the_gpu);

/// The CPU, with each of its instruction sets.
mod cpu {
    use super::*;
    use llava_web::kernels::cpu::{Level, set_limit};

    macro_rules! on_the_cpu {
        ($($case:ident),*) => {
            $(#[test]
            fn $case() {
                let _alone = alone();
                let cpu = block_on(device::open_cpu()).unwrap();
                for level in Level::ALL {
                    println!("{level:?}");
                    set_limit(level);
                    block_on(cases::$case(&cpu.device));
                }
            })*
        };
    }

    for_each_case!(on_the_cpu);
}

#[test]
fn launch_cost() {
    let (launched, replayed) = block_on(cases::shaders::launch_cost(&gpu().device, 200));
    println!("{:?}: {launched:.1} us a launch, {replayed:.1} us replayed", gpu().adapter);
}

/// So that it is known that a run for other subgroups had them.
#[test]
#[ignore = "for runs that set LP_NATIVE_VECTOR_WIDTH, the bits of lavapipe's vectors"]
fn subgroups_have_the_size_asked_for() {
    let text = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;\n\
                @compute @workgroup_size(64)\nfn main(@builtin(subgroup_size) size: u32) { out[0] = size * dims.bits; }";
    let shader = kernels::Shader { name: "subgroup_size", text, constants: vec![("SUBGROUPS", 1)], dims: &["bits"] };
    let out = device::Buffer::zeros(4, &gpu().device);
    device::gpu::launch_on(shader, &[&out], &[32], 1);
    let width = std::env::var("LP_NATIVE_VECTOR_WIDTH").expect("LP_NATIVE_VECTOR_WIDTH");
    assert_eq!(block_on(out.read()).unwrap()[0].to_string(), width);
}

#[test]
fn every_shader_is_valid_wgsl() {
    let shaders = kernels::shaders();
    for shader in &shaders {
        let source = shader.source();
        let module = naga::front::wgsl::parse_str(&source);
        let module = module.unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
        // Nothing beyond the WebGPU standard: `unpack2x16float` and, as far as a shader enables them, f16 and subgroups.
        let capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32
            | naga::valid::Capabilities::SHADER_FLOAT16
            | naga::valid::Capabilities::SUBGROUP;
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        validator
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all());
        validator.validate(&module).unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
        let bindings = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
        // A norm that is folded in is for adapters that allow one more.
        let most = if shader.constants.contains(&("NORMED", 1)) { 10 } else { 9 };
        assert!(bindings <= most, "{}: too many storage buffers beside the uniform", shader.name);
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(shared <= 16384, "{}: {shared} bytes of workgroup memory", shader.name);
    }
    let names: BTreeSet<&str> = shaders.iter().map(|shader| shader.name).collect();
    println!("{} variants of {} shaders", shaders.len(), names.len());
}
