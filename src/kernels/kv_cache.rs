//! The key-value cache of a layer, and how it stores its numbers.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Heads;
use crate::device::Buffer;

/// How a [`KvCache`] stores its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KvFormat {
    #[default]
    F32,
    /// Two f16 in a word: word `d` of a head holds the elements `d` and `d + head_dim / 2`. Needs `head_dim` to be a
    /// multiple of 8.
    F16,
}

impl KvFormat {
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Whether heads of this size can be stored so.
    pub fn fits(self, head_dim: usize) -> bool {
        self == KvFormat::F32 || head_dim.is_multiple_of(8)
    }

    /// Words that hold `numbers` numbers.
    pub fn width(self, numbers: usize) -> usize {
        match self {
            KvFormat::F32 => numbers,
            KvFormat::F16 => numbers / 2,
        }
    }

    /// The words of a cache that hold these rows of heads.
    pub fn pack(self, values: &[f32], head_dim: usize) -> Vec<u32> {
        if self == KvFormat::F32 {
            return values.iter().map(|value| value.to_bits()).collect();
        }
        let bits = |value: &f32| half::f16::from_f32(*value).to_bits() as u32;
        let head = |head: &[f32]| {
            let (low, high) = head.split_at(head_dim / 2);
            let word = |(low, high): (&f32, &f32)| bits(low) | bits(high) << 16;
            low.iter().zip(high).map(word).collect::<Vec<u32>>()
        };
        values.chunks_exact(head_dim).flat_map(head).collect()
    }

    /// The numbers in the words of a cache.
    pub fn unpack(self, words: &[u32], head_dim: usize) -> Vec<f32> {
        if self == KvFormat::F32 {
            return words.iter().map(|word| f32::from_bits(*word)).collect();
        }
        let half = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
        let head = |words: &[u32]| {
            let low = words.iter().map(|word| half(*word));
            let high = words.iter().map(|word| half(*word >> 16));
            low.chain(high).collect::<Vec<f32>>()
        };
        words.chunks_exact(head_dim / 2).flat_map(head).collect()
    }
}

/// Keys and values of the positions seen so far, for one layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    /// `[capacity, words of kv_heads * head_dim numbers]`
    pub k: Buffer,
    /// As `k`.
    pub v: Buffer,
    /// Positions.
    pub capacity: usize,
    pub format: KvFormat,
}

impl KvCache {
    /// Room for `capacity` positions; what it holds is undefined until written.
    ///
    /// # Panics
    /// On f16 with a `head_dim` that is not a multiple of 8.
    pub fn new(capacity: usize, heads: Heads, format: KvFormat, device: &Device) -> Self {
        assert!(format.fits(heads.head_dim), "f16 caches need a head_dim that is a multiple of 8");
        let words = capacity * format.width(heads.kv_heads * heads.head_dim);
        let [k, v] = [(); 2].map(|()| Buffer::uninitialised(words, device));
        Self { k, v, capacity, format }
    }

    /// # Panics
    /// If it is not one for these heads.
    pub(super) fn check(&self, heads: Heads) {
        let words = self.capacity * self.format.width(heads.kv_heads * heads.head_dim);
        assert_eq!([self.k.words(), self.v.words()], [words; 2], "words of a cache for {heads:?}");
    }
}
