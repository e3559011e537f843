//! The weight bundle: a folder of static files with a manifest, a tokenizer and content-addressed chunks.
//!
//! ```text
//! manifest.json            what is in the bundle: written last, so that a bundle without it is no bundle
//! tokenizer.json
//! chunks/<sha256>.bin      tensor bytes, in the order the model needs them
//! second/                  the files of a second model, in a bundle of two
//! ```
//!
//! Tensors are packed one after the other over all chunks and may cross from one chunk into the next. Every chunk
//! but the last has the same size. A manifest that has passed [`Manifest::validate`] can be trusted in its arithmetic;
//! what a chunk holds is checked against its hash.

#[cfg(not(target_family = "wasm"))]
mod folder;
mod manifest;
mod memory;
#[cfg(not(target_family = "wasm"))]
mod pair;
mod part;
pub mod reader;
pub mod source;
#[cfg(not(target_family = "wasm"))]
mod writer;

#[cfg(not(target_family = "wasm"))]
pub use folder::FolderSource;
pub use manifest::{
    DEFAULT_CHUNK, FORMAT_NAME, FORMAT_VERSION, FileEntry, LARGEST_CHUNK, MANIFEST_FILE, Manifest, ModelInfo, Second,
    Span, TensorEntry, sha256_hex,
};
pub use memory::{LargestWeight, Memory};
#[cfg(not(target_family = "wasm"))]
pub use pair::pair;
pub use part::Part;
#[cfg(not(target_family = "wasm"))]
pub use writer::{BundleHead, BundleWriter, check_space};
