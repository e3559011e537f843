//! The engine and the JS package: cargo and wasm-bindgen make www/pkg, tsc and esbuild make www/dist.

use crate::paths::Paths;
use crate::shell::{self, say};
use crate::{order, setup};
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What runs in a page is compiled for one kind of device.
pub struct Kind {
    /// Of its files.
    pub name: &'static str,
    /// For cargo.
    pub features: [&'static str; 3],
    /// For cargo, too: where the work is done in wasm, our own crate is to be fast first and small second.
    profile: &'static [&'static str],
    /// Whether threads help, where a page may have them.
    threads: bool,
}

pub const GPU: Kind =
    Kind { name: "gpu", features: ["--no-default-features", "--features", "gpu"], profile: &[], threads: false };
pub const CPU: Kind = Kind {
    name: "cpu",
    features: ["--no-default-features", "--features", "cpu"],
    profile: &["--config", "profile.wasm.package.llava-web.opt-level=3"],
    threads: true,
};

/// Builds www/pkg (the engines, the very bytes that the package ships) and www/dist (the package's own code).
pub fn build(paths: &Paths) -> Result<()> {
    setup::npm_packages(paths)?;
    // Output of sources that are no more must not be shipped.
    for folder in ["build", "dist", "pkg"].map(|folder| paths.www.join(folder)) {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    for kind in [&GPU, &CPU] {
        engine(paths, kind)?;
    }
    say("compiling the JS package");
    shell::run(setup::npm().args(["run", "--silent", "build"]).current_dir(&paths.www))
}

/// The page tells the glue where the wasm is: an address in the glue itself would have bundlers ship the file twice.
fn engine(paths: &Paths, kind: &Kind) -> Result<()> {
    let out = paths.www.join("pkg").join(kind.name);
    bindgen(paths, "llava-web", kind, &out, &["--omit-default-module-path"])?;
    order::functions(&out.join("llava_web_bg.wasm"))
}

/// Compiles the library of `package` for wasm32 and puts it with its JS glue into `out`; `options` are wasm-bindgen's.
pub fn bindgen(paths: &Paths, package: &str, kind: &Kind, out: &Path, options: &[&str]) -> Result<()> {
    setup::wasm_bindgen(paths)?;
    let mut toolchain = setup::wasm_toolchain(paths)?;
    if kind.threads {
        toolchain = toolchain.with_threads();
    }
    say(format!(
        "compiling {package} for wasm32 and the {} (about ten minutes the first time)",
        kind.name.to_uppercase()
    ));
    // The crate type is asked for here alone: any other build wants a plain library, whose file cargo names by its flags.
    let mut cargo = toolchain.cargo(paths, "rustc");
    cargo.args(kind.features).args(kind.profile).args(["--lib", "--package", package, "--crate-type", "cdylib"]);
    shell::run(&mut cargo)?;

    say("generating the JS glue");
    let name = package.replace('-', "_");
    let mut wasm_bindgen = Command::new(paths.tools.join("bin/wasm-bindgen"));
    wasm_bindgen
        .args(["--target", "web", "--out-name", &name, "--out-dir"])
        .arg(out)
        .args(options)
        // A quarter of the file is names of functions.
        .args(["--remove-name-section", "--remove-producers-section"])
        .arg(toolchain.target().join(format!("wasm32-unknown-unknown/wasm/{name}.wasm")));
    shell::run(&mut wasm_bindgen)
}
