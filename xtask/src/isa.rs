//! `cargo xtask isa`: the kernels' statistics, from the compiler of a GPU that need not be there.

use crate::paths::Paths;
use crate::{become_program, bench, setup};
use anyhow::Result;
use std::ffi::OsString;
use std::process::ExitCode;

/// Hands over to `llava-isa`, with Mesa's driver where there is one.
pub fn run(paths: &Paths, args: &[OsString]) -> Result<ExitCode> {
    let mut program = bench::program(paths, "llava-isa", "llava-isa")?;
    if let Some(driver) = setup::amd_vulkan() {
        program.arg("--driver").arg(driver);
    }
    become_program(program.args(args))
}
