//! The npm tarball, put together in a folder of its own: the package's code, the engine, the default model, the demo, the papers.

use crate::files::{copy, folder_bytes};
use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{setup, wasm};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a page may be asked to fetch, with gzip, before the model: its own module, the worker, the engine.
const MAX_CORE_GZIP_BYTES: u64 = 2_500_000;
/// What the engine for the CPU may have, which is fetched instead of the other: as it is, and with brotli.
const MAX_CPU_ENGINE: [u64; 2] = [3_000_000, 900_000];
const CPU_ENGINE: &str = "dist/llava-web/engine-cpu.wasm";
const CORE: [&str; 3] = ["dist/index.js", "dist/llava-web/worker.js", "dist/llava-web/engine.wasm"];

/// Builds the package and packs it; what was packed lies unpacked in www/package, which the demo, the tests and the command line
/// use. Returns the tarball.
pub fn build(paths: &Paths) -> Result<PathBuf> {
    wasm::build(paths)?;
    let stage = empty(paths.target.join("npm-package"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&paths.root.join(file), &stage.join(file))?;
    }
    for part in ["package.json", "dist", "demo"] {
        copy(&paths.www.join(part), &stage.join(part))?;
    }
    say("packing");
    let packed = empty(paths.target.join("npm-packed"))?;
    shell::run(
        setup::npm()
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(&packed)
            .current_dir(&stage),
    )?;
    let tarball = fs::read_dir(&packed)?.next().context("npm packed nothing")??.path();
    // In the tarball all is in a folder `package`.
    empty(paths.www.join("package"))?;
    shell::run(Command::new("tar").arg("-xzf").arg(&tarball).current_dir(&paths.www))?;
    Ok(tarball)
}

/// `cargo xtask package`: leaves the tarball in www, and prints what it weighs.
pub fn run(paths: &Paths) -> Result<()> {
    let tarball = build(paths)?;
    let name = tarball.file_name().context("a tarball has a name")?;
    copy(&tarball, &paths.www.join(name))?;
    weigh(paths)?;
    println!("tarball: www/{}, {} bytes", name.to_string_lossy(), fs::metadata(&tarball)?.len());
    Ok(())
}

/// An empty folder, whatever was there.
fn empty(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Prints what the built package weighs, and refuses a core or an engine above its limit.
pub fn weigh(paths: &Paths) -> Result<()> {
    let package = &paths.www.join("package");
    let mut core = 0;
    for file in CORE {
        let [raw, gzip, brotli] = sizes(&package.join(file))?;
        println!("{file}: {raw} bytes, gzip {gzip}, brotli {brotli}");
        core += gzip;
    }
    println!("core (all of these), gzip: {core} bytes");
    let [raw, gzip, brotli] = sizes(&package.join(CPU_ENGINE))?;
    println!("{CPU_ENGINE}: {raw} bytes, gzip {gzip}, brotli {brotli}");
    println!("default model: {} bytes", folder_bytes(&package.join("dist/llava-web/model"))?);
    println!("package, unpacked: {} bytes", folder_bytes(package)?);
    if core > MAX_CORE_GZIP_BYTES {
        bail!("the core is above {MAX_CORE_GZIP_BYTES} bytes with gzip");
    }
    let [most, most_brotli] = MAX_CPU_ENGINE;
    if raw > most || brotli > most_brotli {
        bail!("{CPU_ENGINE} is above {most} bytes, or {most_brotli} with brotli");
    }
    Ok(())
}

/// Bytes of a file as it is, with gzip, with brotli; Node has both compressors.
fn sizes(file: &Path) -> Result<[u64; 3]> {
    let script = "const z = require('zlib'), b = require('fs').readFileSync(process.argv[1]);\
                  console.log(b.length, z.gzipSync(b, { level: 9 }).length, z.brotliCompressSync(b).length)";
    let printed =
        shell::output(Command::new("node").args(["-e", script]).arg(file)).context("node cannot measure the file")?;
    let numbers = printed.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    numbers.try_into().ok().context("node printed something else than three sizes")
}
