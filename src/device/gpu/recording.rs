//! A chain of launches, recorded once and replayed.

use burn::backend::{Backend, BackendGraph, Cube, CubeDevice};

use super::super::runtime::Runtime;
use super::{gpu_error, launched};
use crate::error::Result;

/// A chain of launches recorded once, with its bind groups and pipelines, to be enqueued again at a fraction of the
/// cost.
pub struct Recording<T> {
    device: CubeDevice,
    graph: BackendGraph<Cube>,
    /// What the step returned while it was recorded: each replay writes these same buffers.
    #[allow(dead_code, reason = "kept alive")]
    output: T,
    /// Launches of one replay.
    pub launches: usize,
}

/// Runs of the step before the recording: pools, pipelines and uniforms are all in place after the first, and the
/// second finds the buffers of the first free again, as a replay will.
const WARM_UP: usize = 2;

pub(super) async fn record<T>(device: &CubeDevice, mut step: impl FnMut() -> T) -> Result<Recording<T>> {
    Cube::graph_prepare(device).map_err(gpu_error)?;
    for _ in 0..WARM_UP {
        let output = step();
        let synced = <Cube as Runtime>::sync(device).await;
        drop(output);
        if let Err(error) = synced {
            // Closes the window that was prepared; the error that matters is the one at hand.
            let _ = Cube::graph_stop_capture(device);
            return Err(error);
        }
    }
    Cube::graph_start_capture(device).map_err(gpu_error)?;
    let before = launched();
    let output = step();
    let launches = launched() - before;
    let graph = Cube::graph_stop_capture(device).map_err(gpu_error)?;
    Ok(Recording { device: device.clone(), graph, output, launches })
}

impl<T> Recording<T> {
    /// Enqueues the recorded launches once more.
    pub(super) fn replay(&self) -> Result<()> {
        // SAFETY: the graph keeps the pages it touches from being reused, `output` keeps its results, and everything
        // else the step read belongs to its caller, who owns this recording beside it. Launches of one thread are
        // ordered.
        unsafe { Cube::graph_replay(&self.device, &self.graph) }.map_err(gpu_error)
    }
}
