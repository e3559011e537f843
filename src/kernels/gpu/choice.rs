//! Which variant of an operation runs.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A variant chosen for this process: its index, or none.
pub(super) struct Choice(AtomicUsize);

impl Choice {
    const NONE: usize = usize::MAX;

    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(Self::NONE))
    }

    pub(super) fn set(&self, index: Option<usize>) {
        self.0.store(index.unwrap_or(Self::NONE), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|index| *index != Self::NONE)
    }
}
