//! Memory that is changed in place.

use burn::backend::Cube;
use burn::tensor::Device;

use super::gpu::GpuTensor;
use super::runtime::Runtime;
use super::{Kind, kind};
use crate::error::Result;

/// 32-bit words on a device that live as long as a model does: weights, caches, the state of decoding. Operations and the host
/// change them in place, so that a recorded step finds its input where the step before left it. Not a tensor: copies of the
/// handle are the same memory, and no backend may put a copy in its place.
#[derive(Clone, Debug)]
pub enum Buffer {
    Gpu(<Cube as Runtime>::Memory),
}

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
        match kind(device) {
            Kind::Gpu(device) => Self::Gpu(Cube::allocate(&device, words, bytes)),
        }
    }

    /// How many words it has.
    pub fn words(&self) -> usize {
        match self {
            Self::Gpu(memory) => Cube::words(memory),
        }
    }

    /// Overwrites the first `words.len()` words, after everything launched before.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn write(&self, words: &[u32]) {
        assert!(words.len() <= self.words(), "write of {} words into a shorter buffer", words.len());
        match self {
            Self::Gpu(memory) => Cube::write(memory, words),
        }
    }

    /// The words as all launches up to this call leave them; what is launched between the call and the end of the wait runs
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device was lost or a launch before failed.
    pub fn read(&self) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        match self {
            Self::Gpu(memory) => Cube::read(memory),
        }
    }

    /// What a shader is launched on.
    pub(crate) fn gpu(&self) -> &GpuTensor {
        match self {
            Self::Gpu(memory) => memory,
        }
    }
}
