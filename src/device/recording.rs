//! A step, recorded once and replayed.

use burn::tensor::Device;

use super::runtime::Runtime;
use super::{Recorded, each_kind, kind};
use crate::error::Result;

/// Records `step`. It is run for real once at least, so the caller sets the buffers it changes in place
/// afterwards ([`Buffer::write`](super::Buffer::write)). Within it nothing may be read or written by the host; its inputs are buffers that live
/// on and are changed in place.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) if the device was lost or the step cannot be recorded.
pub async fn record<T>(device: &Device, step: impl FnMut() -> T) -> Result<Recorded<T>> {
    each_kind!(Kind, kind(device), |B, device| Ok(B::record(&device, step).await?.into()))
}

impl<T> Recorded<T> {
    /// Runs `step`, which is the one that was recorded, once more: on a GPU by enqueuing its launches at a fraction of the cost.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device was lost.
    pub fn replay(&self, step: impl FnOnce() -> T) -> Result<()> {
        each_kind!(Recorded, self, |B, recording| B::replay(recording, step))
    }

    /// Whether replays are queued, and run while the host does other things.
    pub fn queues(&self) -> bool {
        each_kind!(Recorded, self, |B, _| B::QUEUES)
    }

    /// Launches of one replay; 0 on a CPU.
    pub fn launches(&self) -> usize {
        each_kind!(Recorded, self, |B, recording| B::launches::<T>(recording))
    }
}
