//! A file read through the memory map: its pages come when they are touched, and can be given back.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file.
#[derive(Debug)]
pub struct Mapped(Mmap);

impl Mapped {
    /// Maps a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read. Were another process to cut the file short meanwhile, reading would end the
        // converter with SIGBUS; no bundle is finished then.
        unsafe { Mmap::map(&file) }.map(Self)
    }

    /// Tells the system that `part` of the file was read once and is done with: else all 14 GB of a model would count as
    /// this program's memory. Only a hint, so what comes of it does not matter.
    pub fn done_with(&self, part: &[u8]) {
        let offset = part.as_ptr().addr().checked_sub(self.0.as_ptr().addr());
        let offset = offset.filter(|offset| offset + part.len() <= self.0.len());
        #[cfg(unix)]
        if let Some(offset) = offset {
            // SAFETY: of a map of a file that is only read, pages dropped come back from the file when they are read again.
            let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, part.len()) };
        }
        #[cfg(not(unix))]
        let _ = offset;
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
