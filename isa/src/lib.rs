//! What a GPU's own compiler makes of the kernels, on a machine without that GPU: Mesa's RADV compiles for AMD GPUs that are not
//! there ("null hardware") and tells registers, spills, scratch memory, waves and instructions. The kernels are written by the
//! launchers' own code, so that what is compiled is what runs.

mod driver;
mod kernels;
mod measure;
mod spirv;
mod table;

pub use driver::statistics;
pub use kernels::{Kernel, hot};
pub use measure::{Measured, measure};
pub use spirv::Checks;
pub use table::table;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The GPUs compiled for: the name RADV knows one by, and ours.
pub const GPUS: [(&str, &str); 2] = [("navi21", "RDNA2"), ("gfx1100", "RDNA3")];
