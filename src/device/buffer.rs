//! Memory that is changed in place.

use burn::tensor::Device;
use futures_lite::future::{BoxedLocal, FutureExt};

use super::runtime::Runtime;
use super::{Buffer, each_kind, kind};
use crate::error::Result;

impl Buffer {
    /// `words` zeros.
    pub fn zeros(words: usize, device: &Device) -> Self {
        Self::allocate(words, Some(vec![0; words * 4]), device)
    }

    /// `words` words of any value.
    pub fn uninitialised(words: usize, device: &Device) -> Self {
        Self::allocate(words, None, device)
    }

    /// `bytes` as little-endian words, padded with zeros to whole 16 bytes.
    pub fn from_bytes(mut bytes: Vec<u8>, device: &Device) -> Self {
        bytes.resize(bytes.len().next_multiple_of(16).max(16), 0);
        Self::allocate(bytes.len() / 4, Some(bytes), device)
    }

    /// Exactly these words.
    pub fn from_words(words: &[u32], device: &Device) -> Self {
        Self::allocate(words.len(), Some(bytemuck::cast_slice(words).to_vec()), device)
    }

    fn allocate(words: usize, bytes: Option<Vec<u8>>, device: &Device) -> Self {
        each_kind!(Kind, kind(device), |B, device| B::allocate(&device, words, bytes).into())
    }

    /// How many words it has.
    pub fn words(&self) -> usize {
        each_kind!(Buffer, self, |B, memory| B::words(memory))
    }

    /// Overwrites the first `words.len()` words, after everything launched before.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn write(&self, words: &[u32]) {
        assert!(words.len() <= self.words(), "write of {} words into a shorter buffer", words.len());
        each_kind!(Buffer, self, |B, memory| B::write(memory, words))
    }

    /// The words as all launches up to this call leave them; what is launched between the call and the end of the wait runs
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device was lost or a launch before failed.
    pub fn read(&self) -> BoxedLocal<Result<Vec<u32>>> {
        each_kind!(Buffer, self, |B, memory| B::read(memory).boxed_local())
    }
}
