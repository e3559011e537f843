//! Runs of layers that can be ended between two of them.

use burn::tensor::Device;

use super::pace::Pace;
use crate::device;
use crate::error::Error;

/// Why a run of layers ended before its last.
pub enum Halt {
    Aborted,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// Between layers: waits for the GPU every few of them, so that what is queued stays short, and then asks whether to go
/// on.
pub struct Layers<'a> {
    device: &'a Device,
    pace: Pace,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl<'a> Layers<'a> {
    /// Starts the clock.
    pub fn new(device: &'a Device, go_on: &'a mut dyn FnMut() -> bool) -> Self {
        Self { device, pace: Pace::new(), go_on }
    }

    /// One more layer is queued.
    ///
    /// # Errors
    /// [`Halt::Aborted`] if `go_on` says so, or the device was lost.
    pub async fn after_layer(&mut self) -> std::result::Result<(), Halt> {
        if self.pace.queue(1) {
            device::sync(self.device).await?;
            self.pace.waited();
            if !(self.go_on)() {
                return Err(Halt::Aborted);
            }
        }
        Ok(())
    }
}
