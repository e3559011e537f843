//! What the host asks of a device, whichever it is.

use burn::tensor::{Device, Tensor};

use super::runtime::Runtime;
use super::tensors;
use super::{each_kind, kind};
use crate::error::Result;

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
