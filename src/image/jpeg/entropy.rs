//! Huffman-coded data to transform coefficients (T.81 annexes F and G). Data that breaks the rules is read as libjpeg reads it:
//! what can be shown of a damaged picture is the same in both.

use super::{bits::BitReader, huffman::Huffman};

/// Position in a block, row by row, of the coefficients in coded order.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Position in a block of the coefficient `at` in coded order; what would lie behind the last counts as the last.
fn position(at: usize) -> usize {
    ZIGZAG[at.min(63)]
}

/// Codes for the first coefficient of a block and for the others.
pub(super) type Codes<'a> = (Option<&'a Huffman>, Option<&'a Huffman>);

/// State of one scan.
pub(super) struct Scan {
    /// Coded positions this scan holds, first and last.
    pub first: usize,
    pub last: usize,
    /// Bits known before this scan (0: none) and bits still missing after it.
    known: u8,
    pub shift: u8,
    /// Last first-coefficient value by member of the scan.
    predictions: [i32; 4],
    /// Blocks to come that hold nothing new.
    empty_blocks: u32,
}

impl Scan {
    /// From the last three bytes of a scan header; `None` if they contradict each other.
    pub fn new(progressive: bool, [first, last, approximation]: [u8; 3], members: usize) -> Option<Self> {
        let (known, shift) = (approximation >> 4, approximation & 15);
        let sound = first <= last
            && last < 64
            && shift < 14
            && (known == 0 || known == shift + 1)
            && (first > 0 || last == 0)
            && (first == 0 || members == 1);
        if progressive && !sound {
            return None;
        }
        let (first, last) = (usize::from(first), usize::from(last));
        Some(Self { first, last, known, shift, predictions: [0; 4], empty_blocks: 0 })
    }

    pub fn restart(&mut self) {
        self.predictions = [0; 4];
        self.empty_blocks = 0;
    }

    fn first_value(&mut self, reader: &mut BitReader, code: Option<&Huffman>, member: usize) -> Option<i32> {
        let size = reader.symbol(code?);
        let difference = (size < 16).then(|| reader.value(size))?;
        self.predictions[member] = self.predictions[member].wrapping_add(difference);
        Some(self.predictions[member])
    }

    /// A whole block of a sequential scan, into zeros. `None` without a code for it.
    pub fn block(
        &mut self,
        reader: &mut BitReader,
        (dc, ac): Codes,
        member: usize,
        block: &mut [i16; 64],
    ) -> Option<()> {
        block[0] = self.first_value(reader, dc, member)? as i16;
        let ac = ac?;
        let mut at = 1;
        while at < 64 {
            let symbol = reader.symbol(ac);
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => break,
                _ => {
                    at += run;
                    block[position(at)] = reader.value(size) as i16;
                    at += 1;
                }
            }
        }
        Some(())
    }

    /// What a progressive scan adds to a block. `None` without a code for it.
    pub fn refine_block(
        &mut self,
        reader: &mut BitReader,
        (dc, ac): Codes,
        member: usize,
        block: &mut [i16; 64],
    ) -> Option<()> {
        match (self.first, self.known) {
            (0, 0) => block[0] = (self.first_value(reader, dc, member)? << self.shift) as i16,
            (0, _) => block[0] |= i16::from(reader.bit()) << self.shift,
            (_, 0) => self.first_bits(reader, ac?, block),
            _ => self.next_bit(reader, ac?, block),
        }
        Some(())
    }

    fn first_bits(&mut self, reader: &mut BitReader, ac: &Huffman, block: &mut [i16; 64]) {
        if self.empty_blocks > 0 {
            self.empty_blocks -= 1;
            return;
        }
        let mut at = self.first;
        while at <= self.last {
            let symbol = reader.symbol(ac);
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    self.empty_blocks = (1 << run) - 1 + reader.take(u32::from(run));
                    break;
                }
                _ => {
                    at += usize::from(run);
                    block[position(at)] = (reader.value(size) << self.shift) as i16;
                    at += 1;
                }
            }
        }
    }

    /// One more bit of precision: corrections to what is known, and coefficients that appear only now.
    fn next_bit(&mut self, reader: &mut BitReader, ac: &Huffman, block: &mut [i16; 64]) {
        let step = 1i16 << self.shift;
        let correct = |reader: &mut BitReader, value: &mut i16| {
            if reader.bit() && *value & step == 0 {
                *value = value.wrapping_add(if *value > 0 { step } else { -step });
            }
        };
        let mut at = self.first;
        while self.empty_blocks == 0 && at <= self.last {
            let symbol = reader.symbol(ac);
            let (mut run, size) = (symbol >> 4, symbol & 15);
            let mut fresh = 0;
            if size > 0 {
                fresh = if reader.bit() { step } else { -step };
            } else if run < 15 {
                self.empty_blocks = (1 << run) + reader.take(u32::from(run));
                break;
            }
            // Skips `run` zeros, correcting what lies between them.
            while at <= self.last {
                let value = &mut block[ZIGZAG[at]];
                if *value != 0 {
                    correct(reader, value);
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            if size > 0 {
                block[position(at)] = fresh;
            }
            at += 1;
        }
        if self.empty_blocks > 0 {
            self.empty_blocks -= 1;
            // Many blocks are empty in many scans: one look is enough for these.
            if *block == [0; 64] {
                return;
            }
            for position in &ZIGZAG[at.min(self.last + 1)..=self.last] {
                if block[*position] != 0 {
                    correct(reader, &mut block[*position]);
                }
            }
        }
    }
}
