//! The GPU: the only folder that touches CubeCL and Burn's backend internals.

mod adapter;
mod buffers;
mod launch;
mod recording;
mod shader;
mod wait;

pub use adapter::*;
pub use buffers::*;
pub use launch::*;
pub use recording::*;
pub use shader::*;
pub use wait::*;

use crate::error::Error;

fn gpu_error(error: impl std::fmt::Display) -> Error {
    Error::Gpu(error.to_string())
}
