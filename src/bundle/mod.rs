//! The weight bundle: a folder of static files with a manifest, a tokenizer and content-addressed chunks.
//!
//! ```text
//! manifest.json            what is in the bundle: written last, so that a bundle without it is no bundle
//! tokenizer.json
//! chunks/<sha256>.bin      tensor bytes, in the order the model needs them
//! ```
//!
//! Tensors are packed one after the other over all chunks and may cross from one chunk into the next. Every chunk
//! but the last has the same size. A manifest that has passed [`Manifest::validate`] can be trusted in its arithmetic;
//! what a chunk holds is checked against its hash.

mod memory;
pub mod source;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::quant::Format;
use crate::{Error, Result};

pub use memory::{LargestWeight, Memory};
#[cfg(not(target_family = "wasm"))]
pub use native::{BundleHead, BundleWriter, FolderSource, check_space};

/// Value of [`Manifest::format`].
pub const FORMAT_NAME: &str = "llava-web";
/// The only [`Manifest::version`] so far.
pub const FORMAT_VERSION: u32 = 1;
/// No chunk is larger: static hosts cap files at 25 MiB, and a chunk is held in memory while it is hashed.
pub const LARGEST_CHUNK: usize = 16 << 20;
/// Chunk size of the converter: small enough that one can be fetched while another, not saved yet, is hashed and stored, and
/// a killed page still loses no more than 12 MB.
pub const DEFAULT_CHUNK: usize = 4 << 20;
/// Far above any real tokenizer.json (LLaMA-3's has 9 MB).
const LARGEST_TOKENIZER: usize = 64 << 20;
const MANIFEST_FILE: &str = "manifest.json";
const TOKENIZER_FILE: &str = "tokenizer.json";

/// Contents of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT_NAME`].
    pub format: String,
    /// Always [`FORMAT_VERSION`].
    pub version: u32,
    pub model: ModelInfo,
    /// The checkpoint's own config.json.
    pub config: Value,
    /// The checkpoint's generation_config.json, or an empty object.
    #[serde(default)]
    pub generation: Value,
    /// The image processor's settings, as in preprocessor_config.json.
    #[serde(default)]
    pub preprocessor: Value,
    /// The format asked of the converter: a label; each tensor has its own `dtype`.
    pub quantization: String,
    /// What pages plan by; absent from bundles made before there was this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    pub tokenizer: FileEntry,
    /// In the order in which the model needs them, and in which they lie in the chunks.
    pub tensors: Vec<TensorEntry>,
    pub chunks: Vec<FileEntry>,
    /// Sum over chunks and tokenizer.
    pub total_bytes: u64,
}

/// What the model is called and where it comes from: free text for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    pub name: String,
    #[serde(default)]
    pub license: String,
    #[serde(default)]
    pub source: String,
}

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the manifest.
    pub file: String,
    pub bytes: usize,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// One tensor: a matrix `[rows, cols]` or a vector `[len]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorEntry {
    pub name: String,
    pub dtype: Format,
    pub shape: Vec<usize>,
    /// Where the bytes lie, in order.
    pub spans: Vec<Span>,
}

/// A stretch of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Index into [`Manifest::chunks`].
    pub chunk: usize,
    pub offset: usize,
    pub bytes: usize,
}

impl FileEntry {
    /// Compares `bytes` with the recorded size and hash.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the file.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.bytes {
            return Err(self.damaged(&format!("has {} bytes instead of {}", bytes.len(), self.bytes)));
        }
        if sha256_hex(bytes) != self.sha256 {
            return Err(self.damaged("does not have the recorded SHA-256"));
        }
        Ok(())
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::bundle(format!("`{}`", self.file), format!("{problem}; fetch or convert it again"))
    }
}

impl TensorEntry {
    /// Bytes of the tensor by its shape and format; `None` if they do not go together.
    fn byte_len(&self) -> Option<usize> {
        let (rows, cols) = match self.shape[..] {
            [rows, cols] => (rows, cols),
            [len] if !self.dtype.is_quantized() => (1, len),
            _ => return None,
        };
        self.dtype.byte_len(rows, cols)
    }
}

impl Manifest {
    /// Parses and validates a manifest.
    ///
    /// # Errors
    /// [`Error::Bundle`]: not JSON, not a bundle, made by a newer version, or inconsistent.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(json.as_ref()).map_err(|error| broken(error.to_string()))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks everything that can be checked without the chunks, trusting no number.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the tensor, chunk or field.
    pub fn validate(&self) -> Result<()> {
        if self.format != FORMAT_NAME {
            return Err(broken(format!("`format` is {:?}, not {FORMAT_NAME:?}: this is no bundle", self.format)));
        }
        if self.version != FORMAT_VERSION {
            let problem = format!("`version` is {}, this library reads {FORMAT_VERSION}; update it", self.version);
            return Err(broken(problem));
        }
        if self.model.name.is_empty() {
            return Err(broken("`model.name` is empty"));
        }
        let objects =
            [("config", &self.config), ("generation", &self.generation), ("preprocessor", &self.preprocessor)];
        for (field, value) in objects {
            let absent = value.is_null() && field != "config";
            if !value.is_object() && !absent {
                return Err(broken(format!("`{field}` is not an object")));
            }
        }
        self.validate_files()?;
        self.validate_tensors()
    }

    fn validate_files(&self) -> Result<()> {
        let tokenizer = &self.tokenizer;
        if tokenizer.file != TOKENIZER_FILE || !is_sha256(&tokenizer.sha256) || tokenizer.bytes > LARGEST_TOKENIZER {
            let problem = format!("must name {TOKENIZER_FILE}, its SHA-256 and at most {LARGEST_TOKENIZER} bytes");
            return Err(broken(format!("`tokenizer` {problem}")));
        }
        let mut total = tokenizer.bytes as u64;
        let size = self.chunks.first().map_or(0, |chunk| chunk.bytes);
        for (index, chunk) in self.chunks.iter().enumerate() {
            let what = || format!("chunk {index}");
            // The name follows from the hash, so a manifest cannot point outside its folder.
            if !is_sha256(&chunk.sha256) || chunk.file != chunk_file(&chunk.sha256) {
                return Err(Error::bundle(what(), "its file must be `chunks/<sha256>.bin` of its own SHA-256"));
            }
            let last = index + 1 == self.chunks.len();
            if chunk.bytes == 0 || chunk.bytes > LARGEST_CHUNK || chunk.bytes > size || (chunk.bytes < size && !last) {
                let problem = format!("{} bytes: all but the last have {size}, none over {LARGEST_CHUNK}", chunk.bytes);
                return Err(Error::bundle(what(), problem));
            }
            total = total.saturating_add(chunk.bytes as u64);
        }
        if total != self.total_bytes {
            return Err(broken(format!("`total_bytes` is {}, the files sum to {total}", self.total_bytes)));
        }
        Ok(())
    }

    /// Tensors must fill the chunks in order, without gaps, overlaps or rest.
    fn validate_tensors(&self) -> Result<()> {
        let mut names = HashSet::new();
        let mut cursor = Span { chunk: 0, offset: 0, bytes: 0 };
        for tensor in &self.tensors {
            let broken = |problem: String| Error::bundle(format!("tensor `{}`", tensor.name), problem);
            if tensor.name.is_empty() || !names.insert(tensor.name.as_str()) {
                return Err(broken("its name is empty or appears twice".into()));
            }
            let expected = tensor.byte_len().filter(|&bytes| bytes > 0);
            let expected = expected.ok_or_else(|| {
                broken(format!("shape {:?} cannot be stored as {}", tensor.shape, tensor.dtype.name()))
            })?;
            let mut sum = 0usize;
            for span in &tensor.spans {
                let chunk = self.chunks.get(span.chunk);
                let chunk = chunk.ok_or_else(|| broken(format!("chunk {} does not exist", span.chunk)))?;
                if (span.chunk, span.offset) != (cursor.chunk, cursor.offset) {
                    let place = format!("chunk {} at {}", cursor.chunk, cursor.offset);
                    return Err(broken(format!("chunk {} at {}, expected {place}", span.chunk, span.offset)));
                }
                let end = span.offset.checked_add(span.bytes).filter(|&end| span.bytes > 0 && end <= chunk.bytes);
                let end = end.ok_or_else(|| broken(format!("a span of {} bytes leaves its chunk", span.bytes)))?;
                if !end.is_multiple_of(4) {
                    return Err(broken("a span does not end on a multiple of 4 bytes".into()));
                }
                sum = sum.checked_add(span.bytes).ok_or_else(|| broken("its spans overflow".into()))?;
                cursor = match end == chunk.bytes {
                    true => Span { chunk: span.chunk + 1, offset: 0, bytes: 0 },
                    false => Span { offset: end, ..cursor },
                };
            }
            if sum != expected {
                let dtype = tensor.dtype.name();
                let problem = format!("{sum} bytes, shape {:?} as {dtype} takes {expected}", tensor.shape);
                return Err(broken(problem));
            }
        }
        if (cursor.chunk, cursor.offset) != (self.chunks.len(), 0) {
            return Err(broken("its tensors do not fill its chunks"));
        }
        Ok(())
    }
}

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn chunk_file(sha256: &str) -> String {
    format!("chunks/{sha256}.bin")
}

fn broken(problem: impl Into<String>) -> Error {
    Error::bundle(MANIFEST_FILE, problem)
}

/// Reading and writing bundles as folders.
#[cfg(not(target_family = "wasm"))]
mod native {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::bundle::source::ChunkSource;
    use crate::parallel;
    use crate::progress::Meter;

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
            if folder.join("config.json").exists() {
                let problem = format!("{} holds a checkpoint; choose another folder", folder.display());
                return Err(Error::input("out", problem));
            }
            if folder.join(MANIFEST_FILE).exists() && !force {
                let problem = format!("{} already holds a bundle; --force replaces it", folder.display());
                return Err(Error::input("out", problem));
            }
            let chunks = folder.join("chunks");
            fs::create_dir_all(&chunks).map_err(io(&chunks))?;
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
        fn new(file: String, bytes: &[u8]) -> Self {
            Self { file, bytes: bytes.len(), sha256: sha256_hex(bytes) }
        }

        fn chunk(bytes: &[u8]) -> Self {
            let entry = Self::new(String::new(), bytes);
            Self { file: chunk_file(&entry.sha256), ..entry }
        }
    }

    /// Files of `chunks/` that a replaced bundle or an interrupted conversion left behind.
    fn remove_strays(folder: &Path, manifest: &Manifest) -> Result<()> {
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
    fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
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

    /// A file of the bundle in `folder`: compares the size before reading and the hash after it.
    fn read_file(folder: &Path, entry: &FileEntry) -> Result<Vec<u8>> {
        let path = folder.join(&entry.file);
        let size = fs::metadata(&path).map_err(io(&path))?.len();
        if size != entry.bytes as u64 {
            return Err(entry.damaged(&format!("has {size} bytes instead of {}", entry.bytes)));
        }
        let bytes = fs::read(&path).map_err(io(&path))?;
        entry.verify(&bytes)?;
        Ok(bytes)
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
    }

    impl ChunkSource for FolderSource {
        fn manifest(&self) -> &Manifest {
            &self.manifest
        }

        async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
            let entry = self.manifest.chunks.get(index);
            read_file(&self.folder, entry.ok_or_else(|| Error::bundle(format!("chunk {index}"), "does not exist"))?)
        }
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let what = path.display().to_string();
        move |error| Error::Io { what, problem: error.to_string() }
    }
}
