//! Huffman-coded data to transform coefficients (T.81 annexes F and G).

/// Position in a block, row by row, of the coefficients in coded order.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Code lengths never exceed this.
const LONGEST_CODE: u32 = 16;

/// A code as a table over the next 16 bits.
pub(super) struct Huffman {
    /// Length and symbol by the bits to come; length 0 where no code begins with them.
    table: Vec<(u8, u8)>,
}

impl Huffman {
    /// Reads one table definition; returns it with what follows.
    pub fn parse(body: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = body.split_at_checked(LONGEST_CODE as usize)?;
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let mut table = Vec::with_capacity(1 << LONGEST_CODE);
        let mut symbols = symbols.iter();
        for (length, count) in (1u8..).zip(counts) {
            for symbol in symbols.by_ref().take(usize::from(*count)) {
                let end = table.len() + (1 << (LONGEST_CODE - u32::from(length)));
                if end > 1 << LONGEST_CODE {
                    return None;
                }
                table.resize(end, (length, *symbol));
            }
        }
        table.resize(1 << LONGEST_CODE, (0, 0));
        Some((Self { table }, rest))
    }
}

/// Bits of a scan's data. A marker ends them: zeros follow, as libjpeg has it.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, left-aligned, and how many of them are real or padding.
    bits: u64,
    count: u32,
    /// Padding bits taken in because the file itself ended.
    missing: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, bits: 0, count: 0, missing: 0 }
    }

    /// Where the data ended: at a marker.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether bits were used that the file no longer holds.
    pub fn exhausted(&self) -> bool {
        self.missing > self.count
    }

    fn refill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xFF), Some(0x00)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), Some(0xFF)) => {
                    self.at += 1;
                    continue;
                }
                (Some(0xFF), Some(_)) => 0,
                (Some(byte), _) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.missing += 8;
                    0
                }
            };
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        if self.count < count {
            self.refill();
        }
        let value = (self.bits >> (64 - count)) as u32;
        self.bits <<= count;
        self.count -= count;
        value
    }

    fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        if self.count < LONGEST_CODE {
            self.refill();
        }
        let (length, symbol) = table.table[(self.bits >> (64 - LONGEST_CODE)) as usize];
        self.take(u32::from(length));
        (length > 0).then_some(symbol)
    }

    /// A signed value of `size` bits: those with a leading zero are negative.
    fn value(&mut self, size: u8) -> i32 {
        let size = u32::from(size);
        let value = self.take(size) as i32;
        if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    /// Goes on behind the next restart marker, if the data stopped at one.
    pub fn restart(&mut self) {
        (self.bits, self.count, self.missing) = (0, 0, 0);
        while let Some(pair) = self.bytes.get(self.at..self.at + 2) {
            match pair {
                [0xFF, 0xD0..=0xD7] => {
                    self.at += 2;
                    return;
                }
                [0xFF, 0x01..=0xFE] => return,
                _ => self.at += 1,
            }
        }
    }
}

/// Tables for the first coefficient of a block and for the others.
type Tables<'a> = (Option<&'a Huffman>, Option<&'a Huffman>);

/// State of one scan.
pub(super) struct Scan {
    /// Coded positions this scan holds, first and last.
    first: usize,
    last: usize,
    /// Bits known before this scan (0: none) and bits still missing after it.
    known: u8,
    shift: u8,
    /// Last first-coefficient value by member of the scan.
    predictions: [i32; 4],
    /// Blocks to come that hold nothing new.
    empty_blocks: u32,
}

impl Scan {
    /// From the last three bytes of a scan header; `None` if they contradict each other.
    pub fn new(progressive: bool, [first, last, approximation]: [u8; 3], members: usize) -> Option<Self> {
        let (known, shift) = (approximation >> 4, approximation & 15);
        let sound =
            first <= last && last < 64 && shift < 14 && (first > 0 || last == 0) && (first == 0 || members == 1);
        if !(1..=4).contains(&members) || progressive && !sound {
            return None;
        }
        let (first, last) = (usize::from(first), usize::from(last));
        Some(Self { first, last, known, shift, predictions: [0; 4], empty_blocks: 0 })
    }

    pub fn restart(&mut self) {
        self.predictions = [0; 4];
        self.empty_blocks = 0;
    }

    fn first_value(&mut self, reader: &mut BitReader, table: Option<&Huffman>, member: usize) -> Option<i32> {
        let size = reader.symbol(table?)?;
        let difference = (size < 16).then(|| reader.value(size))?;
        self.predictions[member] = self.predictions[member].wrapping_add(difference);
        Some(self.predictions[member])
    }

    /// A whole block of a sequential scan.
    pub fn block(
        &mut self,
        reader: &mut BitReader,
        (dc, ac): Tables,
        member: usize,
        block: &mut [i16; 64],
    ) -> Option<()> {
        block.fill(0);
        block[0] = self.first_value(reader, dc, member)? as i16;
        let ac = ac?;
        let mut at = 1;
        while at < 64 {
            let symbol = reader.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => break,
                _ => {
                    at += run;
                    *block.get_mut(*ZIGZAG.get(at)?)? = reader.value(size) as i16;
                    at += 1;
                }
            }
        }
        Some(())
    }

    /// What a progressive scan adds to a block.
    pub fn refine_block(
        &mut self,
        reader: &mut BitReader,
        (dc, ac): Tables,
        member: usize,
        block: &mut [i16; 64],
    ) -> Option<()> {
        match (self.first, self.known) {
            (0, 0) => block[0] = (self.first_value(reader, dc, member)? << self.shift) as i16,
            (0, _) => block[0] |= i16::from(reader.bit()) << self.shift,
            (_, 0) => self.first_bits(reader, ac?, block)?,
            _ => self.next_bit(reader, ac?, block)?,
        }
        Some(())
    }

    fn first_bits(&mut self, reader: &mut BitReader, ac: &Huffman, block: &mut [i16; 64]) -> Option<()> {
        if self.empty_blocks > 0 {
            self.empty_blocks -= 1;
            return Some(());
        }
        let mut at = self.first;
        while at <= self.last {
            let symbol = reader.symbol(ac)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    self.empty_blocks = (1 << run) - 1 + reader.take(u32::from(run));
                    break;
                }
                _ => {
                    at += usize::from(run);
                    block[*ZIGZAG.get(at)?] = (reader.value(size) << self.shift) as i16;
                    at += 1;
                }
            }
        }
        Some(())
    }

    /// One more bit of precision: corrections to what is known, and coefficients that appear only now.
    fn next_bit(&mut self, reader: &mut BitReader, ac: &Huffman, block: &mut [i16; 64]) -> Option<()> {
        let step = 1i16 << self.shift;
        let correct = |reader: &mut BitReader, value: &mut i16| {
            if reader.bit() && *value & step == 0 {
                *value = value.wrapping_add(if *value > 0 { step } else { -step });
            }
        };
        let mut at = self.first;
        while self.empty_blocks == 0 && at <= self.last {
            let symbol = reader.symbol(ac)?;
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
                    *value = fresh;
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            at += 1;
        }
        if self.empty_blocks > 0 {
            for position in &ZIGZAG[at.min(self.last + 1)..=self.last] {
                if block[*position] != 0 {
                    correct(reader, &mut block[*position]);
                }
            }
            self.empty_blocks -= 1;
        }
        Some(())
    }
}
