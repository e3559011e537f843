//! The adapter: opening it, and what it can do.

use std::sync::OnceLock;

use burn::tensor::Device;
use cubecl::wgpu::wgpu;

#[cfg(target_family = "wasm")]
use crate::device::runtime::SubgroupMatrix;
use crate::device::runtime::{Adapter, Features, Opened};
use crate::error::{Error, Result};

struct Gpu {
    opened: Opened,
    /// The device below Burn's, asked for what it refuses.
    #[cfg(target_family = "wasm")]
    raw: wgpu::Device,
}

static GPU: OnceLock<Gpu> = OnceLock::new();

pub(super) async fn open() -> Result<Opened> {
    if let Some(gpu) = GPU.get() {
        return Ok(gpu.opened.clone());
    }
    #[cfg(target_family = "wasm")]
    web_features::watch_request();
    let opened = Device::wgpu_options().init_with_setup_async().await;
    let (device, setup) = match opened {
        Ok(opened) => opened,
        // Someone else opened it while this call waited.
        Err(error) => {
            return GPU.get().map(|gpu| gpu.opened.clone()).ok_or_else(|| {
                Error::Gpu(format!("no usable WebGPU adapter: {error}. Update the browser or the graphics driver"))
            });
        }
    };
    let info = setup.adapter.get_info();
    let description = format!("{} {}", info.name, info.driver).to_lowercase();
    let software = format!("{:?}", info.device_type) == "Cpu"
        || ["swiftshader", "llvmpipe", "lavapipe"].iter().any(|known| description.contains(known));
    let features = features(&setup.device, &info);
    let limits = setup.device.limits();
    let max_binding = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    let adapter = Adapter { name: info.name, backend: info.backend.to_string(), software, max_binding, features };
    let gpu = Gpu {
        opened: Opened { device, adapter },
        #[cfg(target_family = "wasm")]
        raw: setup.device,
    };
    Ok(GPU.get_or_init(|| gpu).opened.clone())
}

#[cfg(not(target_family = "wasm"))]
fn features(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Features {
    const ARM: u32 = 0x13b5;
    let has = |feature| device.features().contains(feature);
    Features {
        subgroups: has(wgpu::Features::SUBGROUP),
        f16: has(wgpu::Features::SHADER_F16),
        // naga writes `dot4I8Packed` out where the driver has no instruction for it.
        packed_dot: true,
        many_bindings: has_many_bindings(device),
        // naga's kind of matrices is not the browsers'.
        subgroup_matrix: None,
        few_registers: info.vendor == ARM,
    }
}

#[cfg(target_family = "wasm")]
fn features(device: &wgpu::Device, _info: &wgpu::AdapterInfo) -> Features {
    Features {
        subgroups: web_features::has_subgroups(),
        f16: device.features().contains(wgpu::Features::SHADER_F16),
        packed_dot: web_features::has_packed_dot(),
        many_bindings: has_many_bindings(device),
        subgroup_matrix: match web_features::subgroup_matrix()[..] {
            [m, n, k, lanes] => Some(SubgroupMatrix { m, n, k, lanes }),
            _ => None,
        },
        few_registers: web_features::is_arms(),
    }
}

fn has_many_bindings(device: &wgpu::Device) -> bool {
    device.limits().max_storage_buffers_per_shader_stage > wgpu::Limits::default().max_storage_buffers_per_shader_stage
}

/// What wgpu does not tell of a browser's adapter.
#[cfg(target_family = "wasm")]
mod web_features {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "/src/device/gpu/web_features.js")]
    extern "C" {
        /// Makes the device requested next ask for subgroups and their matrices where the adapter has them, and remembers what
        /// adapter that was.
        pub fn watch_request();
        /// Whether that device has subgroups.
        pub fn has_subgroups() -> bool;
        /// m, n, k and invocations of that device's products of f16 matrices; nothing where it has none of a size that tiles of
        /// 32 by 32 are made of.
        pub fn subgroup_matrix() -> Vec<u32>;
        /// Whether that adapter is a GPU of Arm's.
        pub fn is_arms() -> bool;
        /// Whether the browser's WGSL has `dot4I8Packed`.
        pub fn has_packed_dot() -> bool;
    }
}

/// The device that was opened.
#[cfg(target_family = "wasm")]
pub(super) fn raw_device() -> &'static wgpu::Device {
    &GPU.get().expect("work on a device that was opened").raw
}

/// Whether the kernels run on a CPU adapter; false before [`open`](crate::device::open).
pub(crate) fn software_adapter() -> bool {
    GPU.get().is_some_and(|gpu| gpu.opened.adapter.software)
}

/// The most bytes a buffer of this GPU may have; no limit before [`open`](crate::device::open).
pub fn max_binding() -> u64 {
    GPU.get().map_or(u64::MAX, |gpu| gpu.opened.adapter.max_binding)
}

/// What kernels may use; nothing before [`open`](crate::device::open).
pub fn adapter_features() -> Features {
    GPU.get().map(|gpu| gpu.opened.adapter.features).unwrap_or_default()
}
