//! The operations on a CPU, on plain slices: vectors of what the machine has, and all its cores. What they compute is what the
//! naive versions do.

#![allow(clippy::needless_range_loop, reason = "loops over the lanes of a tile are read by their indices")]

mod activation;
mod attention;
mod dots;
mod embedding;
mod formats;
mod input;
mod linear;
mod norm;
mod ops;
mod rows;
mod sample;
mod simd;
mod team;
mod weight;

use attention::{Queries, Stored, Visible, attention};
use embedding::embedding;
use linear::{CacheMut, linear, linear_gated, linear_rope_cache};
use norm::{layer_norm, rms_norm};
use sample::sample;
use weight::Matrix;

pub use input::set_precision;
pub use simd::{Level, set_limit};
#[cfg(target_family = "wasm")]
pub use team::{help, lost as helper_lost};

use rows::Rows;
