//! Waiting for what was launched, and learning what the device refused of it.

use burn::tensor::Device;
#[cfg(target_family = "wasm")]
use cubecl::wgpu::wgpu;

use super::adapter::Gpu;
use super::buffers::cube_device;
use super::gpu_error;
use crate::error::Result;

/// Waits until everything launched so far has run.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost.
pub async fn sync(device: &Device) -> Result<()> {
    cube_device(device).client().sync().await.map_err(gpu_error)
}

/// Does `work`, which launches and waits, so that what the device refuses of it (a shader, a pipeline, a launch) is its error.
/// Nothing else may use the device meanwhile.
///
/// Natively CubeCL asks the device after each pipeline, and the read-back of what a refused launch was to write fails. A
/// browser answers later, when CubeCL has gone on; what nobody asks about ends the program there.
///
/// # Errors
/// [`Error::Gpu`] with what the device says, or the error of `work`.
#[cfg(target_family = "wasm")]
pub async fn validated<T>(gpu: &Gpu, work: impl Future<Output = Result<T>>) -> Result<T> {
    // What was launched before must not be in one command buffer with a launch that is refused.
    sync(&gpu.device).await?;
    // Should this be dropped half-way, they end in the reverse order too, as they must.
    let validation = gpu.raw.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = gpu.raw.push_error_scope(wgpu::ErrorFilter::Internal);
    let done = work.await;
    let synced = sync(&gpu.device).await;
    // Both at once: only the answers take time.
    let (internal, validation) = (internal.pop(), validation.pop());
    if let Some(error) = internal.await.or(validation.await) {
        return Err(gpu_error(error));
    }
    synced?;
    done
}

/// As in a browser.
///
/// # Errors
/// That of `work`.
#[cfg(not(target_family = "wasm"))]
pub async fn validated<T>(_: &Gpu, work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}
