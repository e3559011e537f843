//! LLaVA-1.5 (CLIP vision tower -> MLP projector -> LLaMA decoder) on hand-written WGSL kernels, natively and in the browser.

#[macro_use]
mod wgsl;

pub mod activation;
pub mod bundle;
pub mod device;
pub mod engine;
pub mod error;
mod fields;
pub mod image;
pub mod kernels;
pub mod model;
mod parts;
pub mod quant;
pub mod text;

#[cfg(not(target_family = "wasm"))]
pub mod convert;
#[cfg(not(target_family = "wasm"))]
mod parallel;
#[cfg(not(target_family = "wasm"))]
pub mod progress;
#[cfg(target_family = "wasm")]
mod allocator;
#[cfg(target_family = "wasm")]
mod promise;
#[cfg(target_family = "wasm")]
pub mod web;

pub use error::{Error, Result};
