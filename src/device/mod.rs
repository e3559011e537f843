//! Where operations run.

pub mod gpu;

pub use gpu::*;
