//! Learning what the device refused of what was launched.

use burn::backend::CubeDevice;

use crate::error::Result;

/// Natively CubeCL asks the device after each pipeline, and the read-back of what a refused launch was to write fails.
#[cfg(not(target_family = "wasm"))]
pub(super) async fn validated<T>(_: &CubeDevice, work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}

/// A browser answers later, when CubeCL has gone on; what nobody asks about ends the program there.
#[cfg(target_family = "wasm")]
pub(super) async fn validated<T>(device: &CubeDevice, work: impl Future<Output = Result<T>>) -> Result<T> {
    use burn::backend::Cube;
    use cubecl::wgpu::wgpu;

    use super::adapter::raw_device;
    use super::gpu_error;
    use crate::device::Runtime;

    let raw = raw_device();
    // What was launched before must not be in one command buffer with a launch that is refused.
    Cube::sync(device).await?;
    // Should this be dropped half-way, they end in the reverse order too, as they must.
    let validation = raw.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = raw.push_error_scope(wgpu::ErrorFilter::Internal);
    let done = work.await;
    let synced = Cube::sync(device).await;
    // Both at once: only the answers take time.
    let (internal, validation) = (internal.pop(), validation.pop());
    if let Some(error) = internal.await.or(validation.await) {
        return Err(gpu_error(error));
    }
    synced?;
    done
}
