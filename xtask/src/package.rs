//! The npm tarball, put together in a folder of its own: the package's code, the engine, the default model, the papers.

use crate::files::{copy, folder_bytes};
use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{setup, wasm};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a page may be asked to fetch for the engine.
const MAX_WASM_BYTES: u64 = 12_000_000;
const MAX_WASM_BROTLI_BYTES: u64 = 2_500_000;

pub fn run(paths: &Paths) -> Result<()> {
    // Output of sources that are no more must not be shipped.
    for folder in ["dist", "pkg"].map(|folder| paths.www.join(folder)) {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    wasm::build(paths)?;
    let stage = paths.target.join("npm-package");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(&stage)?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&paths.root.join(file), &stage.join(file))?;
    }
    copy(&paths.www.join("package.json"), &stage.join("package.json"))?;
    for folder in ["dist", "pkg", "src"] {
        copy(&paths.www.join(folder), &stage.join(folder))?;
    }
    copy(&paths.root.join("models/llava-sketches"), &stage.join("models/llava-sketches"))?;

    say("packing");
    shell::run(
        setup::npm().args(["pack", "--ignore-scripts", "--pack-destination"]).arg(&paths.www).current_dir(&stage),
    )?;
    report(&stage)
}

/// Prints what the package weighs, and refuses an engine above the limits.
fn report(stage: &Path) -> Result<()> {
    let engine = stage.join("pkg/llava_web_bg.wasm");
    let [raw, gzip, brotli] = sizes(&engine)?;
    println!("engine (wasm): {raw} bytes, gzip {gzip}, brotli {brotli}");
    println!("default model: {} bytes", folder_bytes(&stage.join("models/llava-sketches"))?);
    println!("package, unpacked: {} bytes", folder_bytes(stage)?);
    if raw > MAX_WASM_BYTES || brotli > MAX_WASM_BROTLI_BYTES {
        bail!("the engine is above {MAX_WASM_BYTES} bytes raw or {MAX_WASM_BROTLI_BYTES} brotli");
    }
    Ok(())
}

/// Bytes of a file as it is, with gzip, with brotli; Node has both compressors.
fn sizes(file: &Path) -> Result<[u64; 3]> {
    let script = "const z = require('zlib'), b = require('fs').readFileSync(process.argv[1]);\
                  console.log(b.length, z.gzipSync(b, { level: 9 }).length, z.brotliCompressSync(b).length)";
    let printed =
        shell::output(Command::new("node").args(["-e", script]).arg(file)).context("node cannot measure the wasm")?;
    let numbers = printed.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    numbers.try_into().ok().context("node printed something else than three sizes")
}
