//! Where things lie: the clone, and the folders outside it that every clone on this machine shares.

use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;

pub struct Paths {
    /// The clone.
    pub root: PathBuf,
    /// The npm package.
    pub www: PathBuf,
    /// Cargo's output; outside the clone, because the dependencies take ten minutes to compile.
    pub target: PathBuf,
    /// What all clones on this machine share.
    pub cache: PathBuf,
    /// Tools built from source: `bin/wasm-bindgen` and its test runner.
    pub tools: PathBuf,
}

impl Paths {
    pub fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = PathBuf::from(manifest).parent().context("xtask has no parent folder")?.to_path_buf();
        let cache = cache_folder()?.join("llava-web");
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir()?.join(folder),
            None => cache.join("target"),
        };
        Ok(Paths { www: root.join("www"), root, target, tools: cache.join("tools"), cache })
    }
}

/// The user's cache folder by the custom of the system.
fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    if cfg!(windows) {
        return Ok(env::var_os("LOCALAPPDATA").context("LOCALAPPDATA is not set")?.into());
    }
    let home = PathBuf::from(env::var_os("HOME").context("HOME is not set: set it, or XDG_CACHE_HOME")?);
    Ok(home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }))
}
