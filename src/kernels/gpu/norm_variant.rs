//! How the norm ahead of a linear layer runs where there is one row.

use super::choice::Choice;
use crate::device::Features;

/// By itself, or with the layer that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormVariant {
    /// A launch of its own.
    Alone,
    /// Each workgroup of the linear layer normalizes the row for itself: a launch less, and twice as much to read of what
    /// all of them share.
    Folded,
}

impl NormVariant {
    pub const ALL: [Self; 2] = [Self::Alone, Self::Folded];

    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Folded => "folded",
        }
    }

    /// Whether an adapter with `features` can run it.
    pub fn available(self, features: &Features) -> bool {
        self == Self::Alone || !features.few_registers
    }
}

static CHOSEN: Choice = Choice::new();

/// Fixes the variant from now on, or leaves it open (`None`).
pub fn set_norm_variant(variant: Option<NormVariant>) {
    CHOSEN.set(variant.map(|variant| variant as usize));
}

/// The variant in use. Linear layers that cannot fold a norm have it alone all the same.
pub fn norm_variant() -> NormVariant {
    CHOSEN.get().map_or(NormVariant::Alone, |index| NormVariant::ALL[index])
}
