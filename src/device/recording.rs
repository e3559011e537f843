//! A chain of launches, recorded once and replayed.

use burn::backend::{Backend, BackendGraph, Dispatch};
use burn::tensor::Device;

use super::gpu::{gpu_error, launched};
use super::sync;
use crate::error::Result;

/// A chain of launches recorded once, with its bind groups and pipelines, to be enqueued again at a fraction of the
/// cost.
pub struct Recorded<T> {
    device: Device,
    graph: BackendGraph<Dispatch>,
    /// What the step returned while it was recorded: each replay writes these same buffers.
    pub output: T,
    /// Launches of one replay.
    pub launches: usize,
}

/// Runs of the step before the recording: pools, pipelines and uniforms are all in place after the first, and the
/// second finds the buffers of the first free again, as a replay will.
const WARM_UP: usize = 2;

/// Records `step`. It is run for real a few times first, so the caller sets the buffers it changes in place
/// afterwards ([`Buffer::write`](super::Buffer::write)). Within it nothing may be read or written by the host; its inputs are buffers that live
/// on and are changed in place.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost or the step cannot be recorded.
pub async fn record<T>(device: &Device, mut step: impl FnMut() -> T) -> Result<Recorded<T>> {
    let dispatch = device.as_dispatch();
    Dispatch::graph_prepare(dispatch).map_err(gpu_error)?;
    for _ in 0..WARM_UP {
        let output = step();
        let synced = sync(device).await;
        drop(output);
        if let Err(error) = synced {
            // Closes the window that was prepared; the error that matters is the one at hand.
            let _ = Dispatch::graph_stop_capture(dispatch);
            return Err(error);
        }
    }
    Dispatch::graph_start_capture(dispatch).map_err(gpu_error)?;
    let before = launched();
    let output = step();
    let launches = launched() - before;
    let graph = Dispatch::graph_stop_capture(dispatch).map_err(gpu_error)?;
    Ok(Recorded { device: device.clone(), graph, output, launches })
}

impl<T> Recorded<T> {
    /// Enqueues the recorded launches once more.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost.
    pub fn replay(&self) -> Result<()> {
        // SAFETY: the graph keeps the pages it touches from being reused, `output` keeps its results, and everything
        // else the step read belongs to its caller, who owns this recording beside it. Launches of one thread are
        // ordered.
        unsafe { Dispatch::graph_replay(self.device.as_dispatch(), &self.graph) }.map_err(gpu_error)
    }
}
