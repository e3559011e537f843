//! The engine and the JS package: cargo -> wasm-bindgen -> wasm-opt -> www/pkg, then tsc -> www/dist.

use crate::files::copy;
use crate::paths::Paths;
use crate::setup;
use crate::shell::{self, say};
use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::process::Command;

/// For size, which is what a page waits for; the features are those every browser with WebGPU has.
const WASM_OPT: [&str; 8] = [
    "-Oz",
    "--strip-debug",
    "--strip-producers",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
];

/// Builds www/pkg (the engine) and www/dist (the package's own code).
pub fn build(paths: &Paths) -> Result<()> {
    engine(paths)?;
    typescript(paths)
}

/// Builds the engine into www/pkg: the very bytes that the package ships.
fn engine(paths: &Paths) -> Result<()> {
    setup::npm_packages(paths)?;
    setup::wasm_bindgen(paths)?;
    let toolchain = setup::wasm_toolchain(paths)?;
    say("compiling the engine for wasm32 (about ten minutes the first time)");
    shell::run(toolchain.cargo(paths, "build").arg("--lib"))?;

    let wasm = paths.wasm(toolchain.target());
    let source = fs::read(&wasm).with_context(|| wasm.display().to_string())?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&source);
    WASM_OPT.iter().for_each(|option| hasher.write(option.as_bytes()));
    let folder = paths.optimised.join(format!("{:016x}", hasher.finish()));
    if !folder.is_dir() {
        optimise(paths, &wasm, &folder)?;
    }
    copy(&folder, &paths.www.join("pkg"))
}

/// Makes the JS glue and the small wasm file, kept in `folder` for the next build that compiles to the same bytes.
fn optimise(paths: &Paths, wasm: &Path, folder: &Path) -> Result<()> {
    let work = folder.with_extension("part");
    say("generating the JS glue");
    shell::run(
        Command::new(paths.tools.join("bin/wasm-bindgen"))
            .args(["--target", "web", "--out-name", "llava_web", "--out-dir"])
            .arg(&work)
            .arg(wasm),
    )?;
    say("making the wasm small (wasm-opt, some minutes when the engine has changed)");
    let bound = work.join("llava_web_bg.wasm");
    let mut wasm_opt = Command::new("node");
    wasm_opt.arg(paths.www.join("node_modules/binaryen/bin/wasm-opt")).args(WASM_OPT);
    shell::run(wasm_opt.arg(&bound).arg("-o").arg(&bound))?;
    fs::rename(&work, folder)?;
    Ok(())
}

/// Compiles the package's TypeScript into www/dist.
fn typescript(paths: &Paths) -> Result<()> {
    say("compiling the JS package");
    shell::run(Command::new("node").arg(paths.www.join("node_modules/typescript/bin/tsc")).current_dir(&paths.www))
}
