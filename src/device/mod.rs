//! Where operations run. A kind of device is a backend of Burn's with the operations ([`LlavaOps`](crate::kernels::LlavaOps)) and
//! with what they need beside tensors ([`Runtime`]): memory that is changed in place, reading back, waiting. What is recorded is
//! replayed by Burn.

pub mod gpu;

mod buffer;
mod recording;
mod runtime;

use burn::backend::{Cube, CubeDevice, DispatchDevice};
use burn::tensor::{Device, Tensor};

pub use buffer::Buffer;
pub use recording::{Recorded, record};
pub use runtime::{Adapter, Features, Opened, Runtime};

use crate::error::Result;

/// The kinds of devices there are.
enum Kind {
    Gpu(CubeDevice),
}

/// # Panics
/// On a backend of a dependent's Burn that has no operations of ours.
fn kind(device: &Device) -> Kind {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => Kind::Gpu(device.clone()),
        #[allow(unreachable_patterns, reason = "not with a dependent's features of Burn")]
        _ => panic!("llava-web runs on WebGPU devices only"),
    }
}

/// Opens the GPU; the first call does it, later calls return the same one.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) where there is no adapter or it refuses a device.
pub async fn open() -> Result<Opened> {
    Cube::open().await
}

/// Waits until everything launched so far has run.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device was lost.
pub async fn sync(device: &Device) -> Result<()> {
    match kind(device) {
        Kind::Gpu(device) => Cube::sync(&device).await,
    }
}

/// Reads floats back, row by row; waits as [`sync`] does.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device was lost or a launch before failed.
pub async fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    match kind(&tensor.device()) {
        Kind::Gpu(_) => Cube::read_floats(gpu::primitive(tensor)).await,
    }
}

/// Does `work`, which launches and waits, so that what the device refuses of it (a shader, a pipeline, a launch) is its error.
/// Nothing else may use the device meanwhile.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) with what the device says, or the error of `work`.
pub async fn validated<T>(device: &Device, work: impl Future<Output = Result<T>>) -> Result<T> {
    match kind(device) {
        Kind::Gpu(device) => Cube::validated(&device, work).await,
    }
}
