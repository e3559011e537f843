//! What a request has on the GPU beside the caches.

use burn::tensor::{Device, Tensor};

use crate::device::Buffer;
use crate::kernels;
use crate::text::sampling::Sampling;

/// What the decode step reads and writes on the GPU. The recorded step refers to these very buffers, so they are
/// written in place and never replaced.
pub struct DecodeBuffers {
    /// `[position, step, token, 0]`.
    pub state: Buffer,
    pub params: Buffer,
    /// Per token of the vocabulary: bit 0 = in the prompt, the rest = times generated.
    seen: Buffer,
    /// Generated tokens by step, then their log-probabilities.
    pub tokens: Buffer,
}

impl DecodeBuffers {
    /// For a vocabulary of `vocab` tokens and answers of up to `capacity`.
    pub fn new(vocab: usize, capacity: usize, device: &Device) -> Self {
        let words = |len| Buffer::zeros(len, device);
        Self { state: words(4), params: words(Sampling::WORDS), seen: words(vocab), tokens: words(2 * capacity) }
    }

    /// Readies all for a request that begins at `position`: `ids` are the prompt's, `sampling` its [words](Sampling::to_words).
    pub fn begin(&self, position: usize, ids: &[u32], sampling: &[u32]) {
        let mut seen = vec![0; self.seen.words()];
        for id in ids {
            if let Some(flag) = seen.get_mut(*id as usize) {
                *flag = 1;
            }
        }
        self.seen.write(&seen);
        self.params.write(sampling);
        self.state.write(&[position as u32, 0, 0, 0]);
    }

    /// Draws from `logits` `[1, vocab]` and moves the state on.
    pub fn sample(&self, logits: Tensor<2>) {
        kernels::sample(logits, &self.params, &self.seen, &self.tokens, &self.state);
    }
}
