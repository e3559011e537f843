//! Words that live as long as a model does.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Words of which all copies of the handle are the same.
#[derive(Clone)]
pub struct Memory(Arc<RwLock<Vec<u32>>>);

impl Memory {
    pub fn new(words: Vec<u32>) -> Self {
        Self(Arc::new(RwLock::new(words)))
    }

    /// An operation that panicked leaves words of any value, as one that a GPU refuses.
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<u32>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<u32>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} words)", self.read().len())
    }
}
