//! Writes bundles into folders.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folder::{io, read_file};
use super::manifest::{
    FORMAT_NAME, FORMAT_VERSION, FileEntry, LARGEST_CHUNK, MANIFEST_FILE, Manifest, ModelInfo, Span, TOKENIZER_FILE,
    TensorEntry, broken, chunk_file, is_sha256, sha256_hex,
};
use super::memory::Memory;
use crate::parallel;
use crate::progress::Meter;
use crate::quant::Format;
use crate::{Error, Result};

/// Everything of a manifest that the writer does not work out itself.
#[derive(Debug, Clone, Default)]
pub struct BundleHead {
    pub model: ModelInfo,
    pub config: Value,
    pub generation: Value,
    pub preprocessor: Value,
    pub quantization: String,
    pub memory: Option<Memory>,
}

/// Writes a bundle, chunk by chunk; only [`BundleWriter::finish`] makes it one.
#[derive(Debug)]
pub struct BundleWriter {
    folder: PathBuf,
    chunk_bytes: usize,
    /// Bytes of the chunk being filled.
    buffer: Vec<u8>,
    chunks: Vec<FileEntry>,
    tensors: Vec<TensorEntry>,
}

impl BundleWriter {
    /// Starts a bundle in `folder`, with chunks of `chunk_bytes`. With `force` an existing bundle is replaced, but
    /// only by [`BundleWriter::finish`]: until then it stays whole.
    ///
    /// # Errors
    /// A bundle is there and `force` is not given, the folder holds a checkpoint, the chunk size is not a
    /// multiple of 4 up to [`LARGEST_CHUNK`], or the folder cannot be written.
    pub fn create(folder: &Path, chunk_bytes: usize, force: bool) -> Result<Self> {
        if chunk_bytes == 0 || chunk_bytes > LARGEST_CHUNK || !chunk_bytes.is_multiple_of(4) {
            let problem = format!("{chunk_bytes} is not a multiple of 4 from 4 to {LARGEST_CHUNK}");
            return Err(Error::input("chunk-bytes", problem));
        }
        new_folder(folder, force)?;
        let (folder, buffer) = (folder.to_owned(), Vec::with_capacity(chunk_bytes));
        Ok(Self { folder, chunk_bytes, buffer, chunks: Vec::new(), tensors: Vec::new() })
    }

    /// Begins the next tensor; its bytes follow through [`BundleWriter::write`].
    pub fn begin(&mut self, name: &str, dtype: Format, shape: &[usize]) {
        self.tensors.push(TensorEntry { name: name.into(), dtype, shape: shape.into(), spans: Vec::new() });
    }

    /// Appends bytes to the tensor begun last.
    ///
    /// # Errors
    /// No tensor was begun, or a full chunk cannot be written.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let take = bytes.len().min(self.chunk_bytes - self.buffer.len());
            let (chunk, offset) = (self.chunks.len(), self.buffer.len());
            let tensor = self.tensors.last_mut().ok_or_else(|| broken("bytes before the first tensor"))?;
            match tensor.spans.last_mut().filter(|span| span.chunk == chunk) {
                Some(span) => span.bytes += take,
                None => tensor.spans.push(Span { chunk, offset, bytes: take }),
            }
            let (now, later) = bytes.split_at(take);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == self.chunk_bytes {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Bytes written to the tensor begun last.
    pub fn tensor_bytes(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.spans.iter().map(|span| span.bytes).sum())
    }

    /// A whole tensor at once: `bytes` as [`Format::encode`] gives them.
    ///
    /// # Errors
    /// A full chunk cannot be written.
    pub fn tensor(&mut self, name: &str, dtype: Format, shape: &[usize], bytes: &[u8]) -> Result<()> {
        self.begin(name, dtype, shape);
        self.write(bytes)
    }

    /// Writes the last chunk and the tokenizer, reads every chunk back (which `meter` counts) and, when all is in
    /// place, writes the manifest; removes chunks that an earlier bundle left behind.
    ///
    /// # Errors
    /// The bundle would not be valid (a tensor has too few bytes, a name appears twice), a file cannot be
    /// written, or a chunk is not what was written.
    pub fn finish(mut self, head: BundleHead, tokenizer: &[u8], mut meter: Meter) -> Result<Manifest> {
        self.flush()?;
        let BundleHead { model, config, generation, preprocessor, quantization, memory } = head;
        let manifest = Manifest {
            format: FORMAT_NAME.into(),
            version: FORMAT_VERSION,
            model,
            config,
            generation,
            preprocessor,
            quantization,
            memory,
            tokenizer: FileEntry::new(TOKENIZER_FILE.into(), tokenizer),
            total_bytes: self.chunks.iter().map(|chunk| chunk.bytes as u64).sum::<u64>() + tokenizer.len() as u64,
            tensors: self.tensors,
            chunks: self.chunks,
            second: None,
        };
        manifest.validate()?;
        write_file(&self.folder.join(TOKENIZER_FILE), tokenizer)?;
        check_chunks(&self.folder, &manifest.chunks, &mut meter)?;
        let json = serde_json::to_vec(&manifest).map_err(|error| broken(error.to_string()))?;
        write_file(&self.folder.join(MANIFEST_FILE), &json)?;
        File::open(self.folder.join(MANIFEST_FILE)).and_then(|file| file.sync_all()).map_err(io(&self.folder))?;
        remove_strays(&self.folder, &manifest)?;
        Ok(manifest)
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let entry = FileEntry::chunk(&self.buffer);
            write_file(&self.folder.join(&entry.file), &self.buffer)?;
            self.chunks.push(entry);
            self.buffer.clear();
        }
        Ok(())
    }
}

impl FileEntry {
    /// The entry of a file of these `bytes`.
    fn new(file: String, bytes: &[u8]) -> Self {
        Self { file, bytes: bytes.len(), sha256: sha256_hex(bytes) }
    }

    /// The entry of a chunk, which is named by its hash.
    fn chunk(bytes: &[u8]) -> Self {
        let entry = Self::new(String::new(), bytes);
        Self { file: chunk_file(&entry.sha256), ..entry }
    }
}

/// Makes the folder of a bundle, unless it holds something that must stay.
pub(super) fn new_folder(folder: &Path, force: bool) -> Result<()> {
    if folder.join("config.json").exists() {
        let problem = format!("{} holds a checkpoint; choose another folder", folder.display());
        return Err(Error::input("out", problem));
    }
    if folder.join(MANIFEST_FILE).exists() && !force {
        let problem = format!("{} already holds a bundle; --force replaces it", folder.display());
        return Err(Error::input("out", problem));
    }
    let chunks = folder.join("chunks");
    fs::create_dir_all(&chunks).map_err(io(&chunks))
}

/// Files of `chunks/` that a replaced bundle or an interrupted conversion left behind.
pub(super) fn remove_strays(folder: &Path, manifest: &Manifest) -> Result<()> {
    let used: HashSet<_> = manifest.chunks.iter().map(|chunk| folder.join(&chunk.file)).collect();
    let chunks = folder.join("chunks");
    for entry in fs::read_dir(&chunks).map_err(io(&chunks))? {
        let path = entry.map_err(io(&chunks))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_chunk = name.trim_end_matches(".part").strip_suffix(".bin").is_some_and(is_sha256);
        if is_chunk && !used.contains(&path) {
            fs::remove_file(&path).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// Writes under a temporary name first: a file with its proper name is complete.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::write(&part, bytes).map_err(io(&part))?;
    fs::rename(&part, path).map_err(io(path))
}

/// Sees to it that all chunks are on the disk, reads them back and compares their hashes, on all cores.
fn check_chunks(folder: &Path, chunks: &[FileEntry], meter: &mut Meter) -> Result<()> {
    let check = |chunk: &FileEntry| {
        let path = folder.join(&chunk.file);
        File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
        read_file(folder, chunk).map(|bytes| bytes.len())
    };
    parallel::in_order(chunks, check, |checked| {
        for bytes in checked {
            meter.add(bytes?);
        }
        Ok(())
    })
}

/// Makes sure that the disk of `folder`, which must exist, has room for `bytes`.
///
/// # Errors
/// [`Error::Input`] with both numbers where it has not.
pub fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    let free = fs4::available_space(folder).map_err(io(folder))?;
    if free < bytes {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let problem = format!(
            "{:.2} GB are needed and {:.2} GB are free at {}; free some, or choose a folder on another disk",
            gb(bytes),
            gb(free),
            folder.display()
        );
        return Err(Error::input("out", problem));
    }
    Ok(())
}
