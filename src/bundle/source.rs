//! Where the chunks of a bundle come from: the browser's store, a folder on disk and a test's memory are sources of the
//! same loading code.

use super::manifest::Manifest;
use crate::Result;

/// Where the chunks of a bundle come from.
#[allow(async_fn_in_trait, reason = "the browser's futures are not Send, and nothing here is sent to a thread")]
pub trait ChunkSource {
    /// The validated manifest.
    fn manifest(&self) -> &Manifest;

    /// All bytes of chunk `index` of the manifest.
    ///
    /// # Errors
    /// The chunk cannot be read or is damaged.
    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>>;

    /// All weights are loaded: no further chunk will be asked for.
    fn all_read(&self) {}
}
