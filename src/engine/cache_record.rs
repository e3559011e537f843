//! What the key-value caches hold, position by position, so that a request runs only what comes after its common prefix
//! with the one before.

use std::ops::Range;

/// Names a picture: SHA-256 of its pixel values, as the vision tower gets them.
pub type ImageHash = [u8; 32];

/// What the keys and values of one position were computed from, beside all positions before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Token(u32),
    /// Row `index` of a picture's embeddings.
    Image {
        hash: ImageHash,
        index: usize,
    },
}

/// The positions of a prompt: `ids`, but for the picture's in `image`.
pub fn slots(ids: &[u32], image: Option<(Range<usize>, ImageHash)>) -> Vec<Slot> {
    let mut slots: Vec<Slot> = ids.iter().copied().map(Slot::Token).collect();
    if let Some((span, hash)) = image {
        for (index, slot) in slots[span].iter_mut().enumerate() {
            *slot = Slot::Image { hash, index };
        }
    }
    slots
}

/// The record of the caches' rows from the first on. It never claims a row that is not there: it is cut before rows are
/// overwritten and grows when the host has seen that they are written.
#[derive(Debug, Default)]
pub struct CacheRecord {
    slots: Vec<Slot>,
    /// The first rows, up to one that a decode step wrote. They are to the bit what a prefill of the same positions writes
    /// again; a decode step's kernels, and so all rows that look back at its rows, sum in another order.
    prefilled: usize,
}

impl CacheRecord {
    /// Keeps what the record has in common with `wanted` from the first position on; the number of those positions. With
    /// `to_the_bit` no row is kept that a prefill would write otherwise.
    pub fn keep_common(&mut self, wanted: &[Slot], to_the_bit: bool) -> usize {
        let held = &self.slots[..if to_the_bit { self.prefilled } else { self.slots.len() }];
        let common = held.iter().zip(wanted).take_while(|(held, wanted)| held == wanted).count();
        self.slots.truncate(common);
        self.prefilled = self.prefilled.min(common);
        common
    }

    /// A prefill wrote the positions that follow.
    pub fn prefilled(&mut self, slots: &[Slot]) {
        if self.prefilled == self.slots.len() {
            self.prefilled += slots.len();
        }
        self.slots.extend(slots);
    }

    /// Decode steps wrote the positions that follow.
    pub fn decoded(&mut self, tokens: &[u32]) {
        self.slots.extend(tokens.iter().copied().map(Slot::Token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ImageHash = [1; 32];
    const OTHER: ImageHash = [2; 32];

    /// A record of `held` after `wanted` came: how many positions are kept.
    fn kept(held: &[Slot], wanted: &[Slot]) -> usize {
        let mut record = CacheRecord::default();
        record.prefilled(held);
        let common = record.keep_common(wanted, false);
        assert_eq!((record.slots.as_slice(), record.prefilled), (&wanted[..common], common));
        common
    }

    #[test]
    fn a_prefix_ends_at_the_first_difference() {
        let held = slots(&[1, 9, 9, 9, 5, 6], Some((1..4, ONE)));
        assert_eq!(kept(&held, &held), 6);
        assert_eq!(kept(&held, &slots(&[1, 9, 9, 9, 5, 7, 8], Some((1..4, ONE)))), 5);
        assert_eq!(kept(&held, &slots(&[1, 9, 9, 9], Some((1..4, ONE)))), 4);
        // Another picture has the same ids.
        assert_eq!(kept(&held, &slots(&[1, 9, 9, 9, 5, 6], Some((1..4, OTHER)))), 1);
        assert_eq!(kept(&held, &slots(&[1, 9, 9, 9, 5, 6], None)), 1);
        assert_eq!(kept(&held, &slots(&[2, 9, 9, 9, 5, 6], Some((1..4, ONE)))), 0);
        // The same picture one position later.
        assert_eq!(kept(&held, &slots(&[1, 2, 9, 9, 9], Some((2..5, ONE)))), 1);
        assert_eq!(kept(&[], &held), 0);
    }

    #[test]
    fn rows_after_a_decoded_one_are_not_those_of_a_prefill() {
        let mut record = CacheRecord::default();
        let all = slots(&[1, 2, 3, 4, 5, 6], None);
        record.prefilled(&all[..2]);
        record.decoded(&[3]);
        record.prefilled(&all[3..4]);
        assert_eq!((record.slots.as_slice(), record.prefilled), (&all[..4], 2));
        assert_eq!(record.keep_common(&all, false), 4);
        assert_eq!(record.keep_common(&all, true), 2);
        record.prefilled(&all[2..]);
        assert_eq!(record.keep_common(&all[..5], true), 5);
        // Cut within the prompt, the rest is a prefill's still.
        record.decoded(&[9]);
        assert_eq!(record.keep_common(&all[..3], false), 3);
        record.prefilled(&all[3..]);
        assert_eq!(record.keep_common(&all, true), 6);
    }
}
