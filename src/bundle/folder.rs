//! A bundle in a folder, and how its files are read.

use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::{FileEntry, MANIFEST_FILE, Manifest};
use super::source::ChunkSource;
use crate::{Error, Result};

/// Where the files of a second model lie, each under its own path.
pub(super) const SECOND_FOLDER: &str = "second";

/// A bundle on disk.
#[derive(Debug)]
pub struct FolderSource {
    folder: PathBuf,
    manifest: Manifest,
}

impl FolderSource {
    /// Opens the bundle in `folder`.
    ///
    /// # Errors
    /// There is no manifest, or it is not valid.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let path = folder.join(MANIFEST_FILE);
        let manifest = Manifest::from_json(fs::read(&path).map_err(io(&path))?)?;
        Ok(Self { folder, manifest })
    }

    /// The bytes of tokenizer.json.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn tokenizer(&self) -> Result<Vec<u8>> {
        read_file(&self.folder, &self.manifest.tokenizer)
    }

    /// The same of each model in the bundle, in order.
    ///
    /// # Errors
    /// As [`FolderSource::tokenizer`].
    pub fn tokenizers(&self) -> Result<Vec<Vec<u8>>> {
        let second = self.manifest.second.as_ref();
        let second = second.map(|second| read_file(&self.folder.join(SECOND_FOLDER), &second.manifest.tokenizer));
        std::iter::once(self.tokenizer()).chain(second).collect()
    }
}

impl ChunkSource for FolderSource {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        let Manifest { chunks, second, .. } = &self.manifest;
        let second = second.iter().flat_map(|second| &second.manifest.chunks);
        let second = second.map(|entry| (self.folder.join(SECOND_FOLDER), entry));
        let entry = chunks.iter().map(|entry| (self.folder.clone(), entry)).chain(second).nth(index);
        let (folder, entry) = entry.ok_or_else(|| Error::bundle(format!("chunk {index}"), "does not exist"))?;
        read_file(&folder, entry)
    }
}

/// A file of the bundle in `folder`: compares the size before reading and the hash after it.
pub(super) fn read_file(folder: &Path, entry: &FileEntry) -> Result<Vec<u8>> {
    let path = folder.join(&entry.file);
    let size = fs::metadata(&path).map_err(io(&path))?.len();
    if size != entry.bytes as u64 {
        return Err(entry.damaged(&format!("has {size} bytes instead of {}", entry.bytes)));
    }
    let bytes = fs::read(&path).map_err(io(&path))?;
    entry.verify(&bytes)?;
    Ok(bytes)
}

/// What became of the file at `path`.
pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let what = path.display().to_string();
    move |error| Error::Io { what, problem: error.to_string() }
}
