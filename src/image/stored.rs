//! What the decoders of all formats give.

use super::{Picture, orientation::Orientation};
use crate::error::Error;

/// A picture as it is stored, and how it lies.
pub(super) struct Stored {
    pub picture: Picture,
    pub orientation: Orientation,
}

/// A decoder's complaint about a file.
pub(super) fn bad(error: &dyn std::fmt::Display) -> Error {
    Error::Image(format!("cannot be decoded: {error}"))
}
