//! WGSL to SPIR-V, as wgpu writes it.

use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

use crate::Result;

/// What is added to a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// Nothing: as native builds run it.
    None,
    /// What browsers add: every index is clamped, workgroup memory is zeroed first.
    Browser,
}

impl Checks {
    pub const ALL: [Self; 2] = [Self::None, Self::Browser];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "unchecked",
            Self::Browser => "clamped",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|checks| checks.name() == name)
    }
}

/// SPIR-V with the entry point `main`.
pub struct Module {
    pub words: Vec<u32>,
    pub bindings: Vec<Binding>,
}

/// A buffer that is bound.
pub struct Binding {
    pub number: u32,
    /// Else it is storage.
    pub uniform: bool,
}

/// # Errors
/// It is no WGSL.
pub fn compile(wgsl: &str, checks: Checks) -> Result<Module> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(wgsl))?;
    let (policy, zeroed) = match checks {
        Checks::None => (BoundsCheckPolicy::Unchecked, spv::ZeroInitializeWorkgroupMemoryMode::None),
        Checks::Browser => (BoundsCheckPolicy::Restrict, spv::ZeroInitializeWorkgroupMemoryMode::Native),
    };
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() },
        zero_initialize_workgroup_memory: zeroed,
        force_loop_bounding: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    let words = spv::write_vec(&module, &info, &options, Some(&entry))?;
    let bindings = module.global_variables.iter().filter_map(|(_, variable)| {
        let number = variable.binding.as_ref()?.binding;
        Some(Binding { number, uniform: variable.space == naga::AddressSpace::Uniform })
    });
    let bindings = bindings.collect();
    Ok(Module { words, bindings })
}
