//! `cargo xtask bench`: builds the bench crate, picks the driver, and hands over to it.

use crate::paths::Paths;
use crate::{setup, shell};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Runs the native bench with the arguments it knows.
pub fn run(paths: &Paths, args: &[OsString]) -> Result<ExitCode> {
    let mut args = pico_args::Arguments::from_vec(args.to_vec());
    args.contains("--native");
    let swiftshader = args.contains("--swiftshader");
    native(paths, swiftshader, &args.finish())
}

fn native(paths: &Paths, swiftshader: bool, args: &[OsString]) -> Result<ExitCode> {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(&paths.root).args(["build", "--release", "--package", "llava-bench"]);
    shell::run(cargo.env("CARGO_TARGET_DIR", &paths.target))?;
    let mut bench =
        Command::new(paths.target.join("release").join(format!("llava-bench{}", std::env::consts::EXE_SUFFIX)));
    let driver = if swiftshader { Some(chromium_swiftshader()?) } else { setup::software_driver_wanted() };
    if let Some(driver) = driver {
        bench.env("VK_ICD_FILENAMES", driver);
    }
    crate::become_program(bench.args(args))
}

/// The Vulkan driver in software that Chromium brings along: the one its WebGPU runs on where there is no GPU.
fn chromium_swiftshader() -> Result<PathBuf> {
    let browser = setup::browser()?;
    let mut places = vec![PathBuf::from("/usr/lib/chromium")];
    places.extend(browser.canonicalize().ok().and_then(|browser| Some(browser.parent()?.to_path_buf())));
    let file = places.iter().map(|folder| folder.join("vk_swiftshader_icd.json")).find(|file| file.is_file());
    match file {
        Some(file) => Ok(file),
        None => bail!("no vk_swiftshader_icd.json beside {}: this browser has no SwiftShader", browser.display()),
    }
}
