//! Tests that time launches, and those that launch much, take turns.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No other test that asks for it runs until the guard is dropped.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
