//! The bits of a scan, up to its end or the next restart marker.

use super::{
    huffman::{Huffman, LONGEST_CODE},
    next_marker,
};

/// Bits of a scan's data. A marker ends them: zeros follow, as libjpeg has it.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, left-aligned, zeros behind them; and how many of them there are.
    bits: u64,
    count: u32,
    /// The marker that ended the data.
    marker: Option<u8>,
    /// Whether bits were used that are not there.
    starved: bool,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, bits: 0, count: 0, marker: None, starved: false }
    }

    /// Where reading goes on after the scan: at the marker that ended the data, if one did.
    pub fn position(&self) -> usize {
        self.at - 2 * usize::from(self.marker.is_some())
    }

    /// Whether bits were used that are not there. A marker came too early, then, and what follows it up to a restart is
    /// made up.
    pub fn starved(&self) -> bool {
        self.starved
    }

    /// Whether bits were used that the file no longer holds.
    pub fn cut_short(&self) -> bool {
        self.starved && self.marker.is_none()
    }

    fn refill(&mut self) {
        while self.count <= 56 && self.marker.is_none() {
            let Some(byte) = self.bytes.get(self.at) else { return };
            self.at += 1;
            if *byte == 0xFF {
                // Any number of these counts as one.
                let Some(length) = self.bytes[self.at..].iter().position(|byte| *byte != 0xFF) else { return };
                let code = self.bytes[self.at + length];
                self.at += length + 1;
                if code != 0 {
                    self.marker = Some(code);
                    return;
                }
            }
            self.bits |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Provides so many bits, made-up ones if need be.
    #[inline(never)]
    fn provide(&mut self, count: u32) {
        self.refill();
        if self.count < count {
            self.starved = true;
            self.count = u64::BITS;
        }
    }

    #[inline]
    pub fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        if self.count < count {
            self.provide(count);
        }
        let value = (self.bits >> (64 - count)) as u32;
        self.bits <<= count;
        self.count -= count;
        value
    }

    pub fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    /// The next symbol. Bits that are no code count as the symbol 0, and one more of them is dropped than the longest code
    /// has, as libjpeg has it.
    pub fn symbol(&mut self, table: &Huffman) -> u8 {
        if self.count < LONGEST_CODE {
            self.refill();
        }
        let (length, symbol) = table.find((self.bits >> (64 - LONGEST_CODE)) as u32);
        self.take(if length == 0 { LONGEST_CODE + 1 } else { length });
        symbol
    }

    /// A signed value of `size` bits: those with a leading zero are negative.
    pub fn value(&mut self, size: u8) -> i32 {
        let size = u32::from(size);
        let value = self.take(size) as i32;
        if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    /// Goes on behind the restart marker of the number `expected`; `None` if the file ends before any marker.
    ///
    /// Where another marker is found, it does as libjpeg's `jpeg_resync_to_restart`: an earlier restart and what is no
    /// marker at all are skipped; at a later restart, and at any other marker, the data counts as empty up to it; a restart
    /// of quite another number is taken for the expected one.
    pub fn restart(&mut self, expected: u8) -> Option<()> {
        (self.bits, self.count) = (0, 0);
        loop {
            let marker = match self.marker.take() {
                Some(marker) => marker,
                None => {
                    let (marker, behind) = next_marker(self.bytes, self.at)?;
                    self.at = behind;
                    marker
                }
            };
            let ahead = marker.wrapping_sub(expected) & 7;
            match marker {
                0xD0..=0xD7 if matches!(ahead, 1 | 2) => break self.marker = Some(marker),
                0xD0..=0xD7 if matches!(ahead, 6 | 7) => {}
                0xD0..=0xD7 => break self.starved = false,
                0x00..0xC0 => {}
                _ => break self.marker = Some(marker),
            }
        }
        Some(())
    }
}
