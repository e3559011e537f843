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
pub struct Prefix(Vec<Slot>);

impl Prefix {
    /// Keeps what the record has in common with `wanted` from the first position on; the number of those positions.
    pub fn keep_common(&mut self, wanted: &[Slot]) -> usize {
        let common = self.0.iter().zip(wanted).take_while(|(held, wanted)| held == wanted).count();
        self.0.truncate(common);
        common
    }

    /// The positions that follow are written.
    pub fn extend(&mut self, slots: impl IntoIterator<Item = Slot>) {
        self.0.extend(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ImageHash = [1; 32];
    const OTHER: ImageHash = [2; 32];

    /// A record of `held` after `wanted` came: how many positions are kept.
    fn kept(held: &[Slot], wanted: &[Slot]) -> usize {
        let mut prefix = Prefix::default();
        prefix.extend(held.iter().copied());
        let common = prefix.keep_common(wanted);
        assert_eq!(prefix.0, &wanted[..common]);
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
}
