//! Moves the position in `state` where it lies: after a prefill of `n` rows the token drawn next belongs at `position +
//! n`.

use super::*;
use crate::device::each_kind;

/// Adds `by` to the position in `state`, in place. [`sample`] itself adds one, so a prefill of `n` rows is followed by
/// `advance(state, n - 1)`.
pub fn advance(state: &Buffer, by: usize) {
    each_kind!(Buffer, state, |B, state| B::advance(state, by));
}
