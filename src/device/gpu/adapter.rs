//! The adapter: opening it, and what it can do.

use std::sync::OnceLock;

use burn::tensor::Device;
use cubecl::wgpu::wgpu;

use crate::error::{Error, Result};

/// What WGSL may use on an adapter beyond the standard's core, as far as kernels have variants for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Operations between the invocations of a subgroup.
    pub subgroups: bool,
    /// 16-bit floats in arithmetic and in workgroup memory.
    pub f16: bool,
    /// `dot4I8Packed`: products of four signed bytes in one instruction.
    pub packed_dot: bool,
}

/// Which adapter the kernels run on.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Name the driver gives; a browser may leave it empty or give the architecture only.
    pub name: String,
    /// Graphics API below: `vulkan`, `metal`, `dx12`, `gl`, or `webgpu` in a browser.
    pub backend: String,
    /// Whether the adapter is a CPU (SwiftShader, lavapipe), where other shapes of kernels are fast.
    pub software: bool,
    /// The largest buffer a shader can bind, in bytes.
    pub max_binding: u64,
    pub features: Features,
}

/// The GPU: Burn's device and what is known of the adapter behind it.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub device: Device,
    pub adapter: Adapter,
    /// The device below Burn's, asked for what it refuses.
    #[cfg(target_family = "wasm")]
    pub(super) raw: wgpu::Device,
}

static GPU: OnceLock<Gpu> = OnceLock::new();

/// Opens the GPU; the first call does it, later calls return the same one.
///
/// # Errors
/// [`Error::Gpu`] where there is no adapter or it refuses a device.
pub async fn init_device() -> Result<Gpu> {
    if let Some(gpu) = GPU.get() {
        return Ok(gpu.clone());
    }
    #[cfg(target_family = "wasm")]
    web_features::request_subgroups();
    let opened = Device::wgpu_options().init_with_setup_async().await;
    let (device, setup) = match opened {
        Ok(opened) => opened,
        // Someone else opened it while this call waited.
        Err(error) => {
            return GPU.get().cloned().ok_or_else(|| {
                Error::Gpu(format!("no usable WebGPU adapter: {error}. Update the browser or the graphics driver"))
            });
        }
    };
    let info = setup.adapter.get_info();
    let description = format!("{} {}", info.name, info.driver).to_lowercase();
    let software = format!("{:?}", info.device_type) == "Cpu"
        || ["swiftshader", "llvmpipe", "lavapipe"].iter().any(|known| description.contains(known));
    let features = features(&setup.device);
    let limits = setup.device.limits();
    let max_binding = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    let adapter = Adapter { name: info.name, backend: info.backend.to_string(), software, max_binding, features };
    let gpu = Gpu {
        device,
        adapter,
        #[cfg(target_family = "wasm")]
        raw: setup.device,
    };
    Ok(GPU.get_or_init(|| gpu).clone())
}

#[cfg(not(target_family = "wasm"))]
fn features(device: &wgpu::Device) -> Features {
    let has = |feature| device.features().contains(feature);
    // naga writes `dot4I8Packed` out where the driver has no instruction for it.
    Features { subgroups: has(wgpu::Features::SUBGROUP), f16: has(wgpu::Features::SHADER_F16), packed_dot: true }
}

#[cfg(target_family = "wasm")]
fn features(device: &wgpu::Device) -> Features {
    Features {
        subgroups: web_features::has_subgroups(),
        f16: device.features().contains(wgpu::Features::SHADER_F16),
        packed_dot: web_features::has_packed_dot(),
    }
}

/// Features of browsers that wgpu does not know.
#[cfg(target_family = "wasm")]
mod web_features {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "/src/device/gpu/web_features.js")]
    extern "C" {
        /// Makes the device requested next ask for subgroups where the adapter has them.
        pub fn request_subgroups();
        /// Whether that device has them.
        pub fn has_subgroups() -> bool;
        /// Whether the browser's WGSL has `dot4I8Packed`.
        pub fn has_packed_dot() -> bool;
    }
}

/// Whether the kernels run on a CPU adapter; false before [`init_device`].
pub(crate) fn software_adapter() -> bool {
    GPU.get().is_some_and(|gpu| gpu.adapter.software)
}

/// The most bytes a buffer of this GPU may have; no limit before [`init_device`].
pub fn max_binding() -> u64 {
    GPU.get().map_or(u64::MAX, |gpu| gpu.adapter.max_binding)
}

/// What kernels may use; nothing before [`init_device`].
pub fn adapter_features() -> Features {
    GPU.get().map(|gpu| gpu.adapter.features).unwrap_or_default()
}
