//! What a bundle says of itself, and the checks of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::memory::Memory;
use crate::quant::Format;
use crate::{Error, Result};

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
/// No answer that is waited for is longer, in bytes: each of them may be a token to generate.
const LONGEST_ANSWER: usize = 64;
/// The file that says what is in a bundle.
pub const MANIFEST_FILE: &str = "manifest.json";
pub(super) const TOKENIZER_FILE: &str = "tokenizer.json";

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
    /// Another model, for pictures that this one does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<Second>>,
}

/// A model beside the first one, and which pictures are its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// What the first model is asked about a picture.
    pub question: String,
    /// Where it answers this, the second model is asked in its place.
    pub answer: String,
    /// The second model's own manifest; its files lie in the folder `second/`.
    pub manifest: Manifest,
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

    pub(super) fn damaged(&self, problem: &str) -> Error {
        Error::bundle(format!("`{}`", self.file), format!("{problem}; fetch or convert it again"))
    }
}

impl Second {
    fn validate(&self) -> Result<()> {
        if self.question.trim().is_empty() {
            return Err(broken("`second.question` is empty"));
        }
        if self.answer.trim().is_empty() || self.answer.len() > LONGEST_ANSWER {
            return Err(broken(format!("`second.answer` must have 1 to {LONGEST_ANSWER} bytes")));
        }
        if self.manifest.second.is_some() {
            return Err(broken("`second.manifest` has a `second` of its own, and two models are the most"));
        }
        self.manifest.validate()
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
        self.validate_tensors()?;
        self.second.as_ref().map_or(Ok(()), |second| second.validate())
    }

    /// Chunks of all models in the bundle.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len() + self.second.as_ref().map_or(0, |second| second.manifest.chunks.len())
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

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn chunk_file(sha256: &str) -> String {
    format!("chunks/{sha256}.bin")
}

pub(super) fn broken(problem: impl Into<String>) -> Error {
    Error::bundle(MANIFEST_FILE, problem)
}
