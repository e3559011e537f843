//! The models of a bundle, each as if it were the only one.

use super::manifest::Manifest;
use super::source::ChunkSource;
use crate::Result;

/// One model of a bundle. The second one's chunks follow those of the first.
pub struct Part<'a, S> {
    whole: &'a S,
    manifest: &'a Manifest,
    first_chunk: usize,
}

impl<'a, S: ChunkSource> Part<'a, S> {
    /// The models of `whole`, in order.
    pub fn all(whole: &'a S) -> impl Iterator<Item = Self> {
        let first = whole.manifest();
        let second = first.second.as_ref().map(|second| (&second.manifest, first.chunks.len()));
        let parts = std::iter::once((first, 0)).chain(second);
        parts.map(move |(manifest, first_chunk)| Self { whole, manifest, first_chunk })
    }
}

impl<S: ChunkSource> ChunkSource for Part<'_, S> {
    fn manifest(&self) -> &Manifest {
        self.manifest
    }

    async fn read_chunk(&self, index: usize) -> Result<Vec<u8>> {
        self.whole.read_chunk(self.first_chunk + index).await
    }

    fn all_read(&self) {
        let whole = self.whole.manifest();
        if self.first_chunk + self.manifest.chunks.len() == whole.chunk_count() {
            self.whole.all_read();
        }
    }
}
