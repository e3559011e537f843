//! What the fuzz targets share: a limit on memory, and a folder for parsers that read files.
//!
//! Each target hands arbitrary bytes to one parser. Whatever they are, the parser must return: a panic, an overflow, more
//! memory than [`LIMIT`] or more time than libFuzzer's limit is a finding. `corpus/<target>/` holds inputs from which the
//! fuzzer starts, among them all that were once a finding (seeds.py writes them).

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cap::Cap;
use tempfile::TempDir;

/// Bytes that a parser may hold at a time. No input has more than a few hundred kilobytes.
pub const LIMIT: usize = 256 << 20;

/// Fails every allocation beyond [`LIMIT`], which ends the program.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, LIMIT);

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    // In memory where the system has such a folder: a target writes thousands of files a second.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
});

/// The path of `name` in this process's temporary folder.
pub fn path(name: &str) -> PathBuf {
    FOLDER.path().join(name)
}

/// Writes `bytes` as `name` in the temporary folder.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("the temporary folder can be written");
    path
}
