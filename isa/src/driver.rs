//! The driver of the first Vulkan device there is, asked what it made of shaders.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use ash::{khr, vk};

use crate::spirv::{self, Checks};
use crate::{Kernel, Result};

/// What the driver tells of each kernel, by the driver's own words.
///
/// # Errors
/// There is no Vulkan device, or it tells no statistics.
pub fn statistics(kernels: &[Kernel], checks: Checks) -> Result<Vec<BTreeMap<String, u64>>> {
    // SAFETY: calls in the order the specification gives; what is created lives until the process ends, which is soon.
    unsafe {
        let driver = Driver::open()?;
        kernels.iter().map(|kernel| driver.statistics(&kernel.wgsl, checks)).collect()
    }
}

struct Driver {
    device: ash::Device,
    reports: khr::pipeline_executable_properties::Device,
    /// The library that all of it is in.
    _entry: ash::Entry,
}

impl Driver {
    unsafe fn open() -> Result<Self> {
        unsafe {
            let entry = ash::Entry::load()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&create, None)?;
            let physical = *instance.enumerate_physical_devices()?.first().ok_or("no Vulkan device")?;
            // All features the device has: what a shader may use is the shader's business.
            let mut f11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut f12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut f13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut reports = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut all = vk::PhysicalDeviceFeatures2::default().push_next(&mut f11).push_next(&mut f12);
            all = all.push_next(&mut f13).push_next(&mut reports);
            instance.get_physical_device_features2(physical, &mut all);
            let features = all.features;
            for next in [&mut f11.p_next, &mut f12.p_next, &mut f13.p_next, &mut reports.p_next] {
                *next = null_mut();
            }
            if reports.pipeline_executable_info == 0 {
                return Err("this driver tells no statistics of pipelines".into());
            }
            let extensions = [khr::pipeline_executable_properties::NAME.as_ptr()];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .enabled_features(&features)
                .push_next(&mut f11)
                .push_next(&mut f12)
                .push_next(&mut f13)
                .push_next(&mut reports);
            let device = instance.create_device(physical, &create, None)?;
            let reports = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { device, reports, _entry: entry })
        }
    }

    unsafe fn statistics(&self, wgsl: &str, checks: Checks) -> Result<BTreeMap<String, u64>> {
        let compiled = spirv::compile(wgsl, checks)?;
        let layout = |binding: &spirv::Binding| {
            let kind =
                if binding.uniform { vk::DescriptorType::UNIFORM_BUFFER } else { vk::DescriptorType::STORAGE_BUFFER };
            let layout = vk::DescriptorSetLayoutBinding::default().binding(binding.number).descriptor_type(kind);
            layout.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = compiled.bindings.iter().map(layout).collect();
        unsafe {
            let device = &self.device;
            let module =
                device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&compiled.words), None)?;
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE);
            let create = vk::ComputePipelineCreateInfo::default()
                .layout(layout)
                .stage(stage.module(module).name(c"main"))
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR);
            let pipelines = device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let pipeline = pipelines.map_err(|(_, error)| error)?[0];
            let which = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            let told = self.reports.get_pipeline_executable_statistics(&which)?;
            let told = told.iter().map(|statistic| (text(&statistic.name), statistic.value.u64)).collect();
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            Ok(told)
        }
    }
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: the driver ends its names with a zero.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}
