//! Where operations run. A kind of device is a backend of Burn's with the operations ([`LlavaOps`](crate::kernels::LlavaOps)) and
//! with what they need beside tensors ([`Runtime`]): memory that is changed in place, reading back, waiting, steps that run again
//! and again. A build has the kinds that its features name, one at least.

#[cfg(feature = "cpu")]
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;

mod buffer;
mod kinds;
mod recording;
mod runtime;
pub mod tensors;

use burn::tensor::{Device, Tensor};

pub use kinds::{Buffer, Recorded};
pub(crate) use kinds::{Kind, each_kind, kind};
pub use recording::record;
pub use runtime::{Adapter, Features, Opened, Runtime};

use crate::error::Result;

/// Opens the GPU; the first call does it, later calls return the same one.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) where there is no adapter or it refuses a device.
#[cfg(feature = "gpu")]
pub async fn open() -> Result<Opened> {
    burn::backend::Cube::open().await
}

/// Opens the CPU, in a build for it alone.
///
/// # Errors
/// None.
#[cfg(not(feature = "gpu"))]
pub async fn open() -> Result<Opened> {
    open_cpu().await
}

/// Opens the CPU, which is always there.
///
/// # Errors
/// None.
#[cfg(feature = "cpu")]
pub async fn open_cpu() -> Result<Opened> {
    burn::backend::Flex::open().await
}

/// Opens the GPU where there is a real one, else the CPU, as a page does.
///
/// # Errors
/// None.
#[cfg(all(feature = "gpu", feature = "cpu"))]
pub async fn open_auto() -> Result<Opened> {
    match open().await {
        Ok(gpu) if !gpu.adapter.software => Ok(gpu),
        _ => open_cpu().await,
    }
}

/// The most bytes a buffer of this device may have.
pub fn max_binding(device: &Device) -> u64 {
    each_kind!(Kind, kind(device), |B, _| B::max_binding())
}

/// Waits until everything launched so far has run.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device was lost.
pub async fn sync(device: &Device) -> Result<()> {
    each_kind!(Kind, kind(device), |B, device| B::sync(&device).await)
}

/// Reads floats back, row by row; waits as [`sync`] does.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device was lost or a launch before failed.
pub async fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    each_kind!(Kind, kind(&tensor.device()), |B, _| B::read_floats(tensors::primitive::<B, D>(tensor)).await)
}

/// Does `work`, which launches and waits, so that what the device refuses of it (a shader, a pipeline, a launch) is its error.
/// Nothing else may use the device meanwhile.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) with what the device says, or the error of `work`.
pub async fn validated<T>(device: &Device, work: impl Future<Output = Result<T>>) -> Result<T> {
    each_kind!(Kind, kind(device), |B, device| B::validated(&device, work).await)
}
