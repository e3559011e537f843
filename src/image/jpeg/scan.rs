//! One scan: which blocks its data fills, and with which codes.

use super::{Decoder, bits::BitReader, damaged, entropy::Scan, frame::Frame, huffman::Huffman};
use crate::error::Result;

/// A channel in a scan, with the numbers of its codes.
pub(super) struct Member {
    component: usize,
    dc: usize,
    ac: usize,
}

/// A scan's header.
pub(super) struct Header {
    members: Vec<Member>,
    scan: Scan,
}

impl Header {
    pub fn parse(body: &[u8], frame: &Frame) -> Result<Self> {
        let bad = || damaged("scan header");
        let count = usize::from(*body.first().ok_or_else(bad)?);
        let tail = *body.get(1 + 2 * count..).and_then(|tail| tail.first_chunk()).ok_or_else(bad)?;
        if !(1..=4).contains(&count) {
            return Err(bad());
        }
        let mut members: Vec<Member> = Vec::with_capacity(count);
        for [id, codes] in body[1..1 + 2 * count].as_chunks().0 {
            let taken = |index| members.iter().any(|member| member.component == index);
            let mut components = frame.components.iter().enumerate();
            let found = components.find(|(index, component)| component.id == *id && !taken(*index));
            let (component, _) = found.ok_or_else(bad)?;
            members.push(Member { component, dc: usize::from(codes >> 4), ac: usize::from(codes & 15) });
        }
        Ok(Self { scan: Scan::new(frame.progressive, tail, count).ok_or_else(bad)?, members })
    }

    /// Whether it holds all channels, so that a sequential picture needs no other scan.
    pub fn is_whole(&self, frame: &Frame) -> bool {
        self.members.len() == frame.components.len()
    }

    /// Coded units a row and a column. One channel alone comes block by block; several come in units of h x v blocks each.
    fn units(&self, frame: &Frame) -> (usize, usize) {
        match &self.members[..] {
            [alone] => frame.components[alone.component].size_in_blocks(),
            _ => frame.mcus,
        }
    }

    /// Blocks the scan goes over.
    pub fn blocks(&self, frame: &Frame) -> u64 {
        let (units_x, units_y) = self.units(frame);
        let blocks = self.members.iter().map(|member| {
            let (across, down) = frame.components[member.component].unit(self.members.len());
            across * down
        });
        units_x as u64 * units_y as u64 * blocks.sum::<usize>() as u64
    }

    /// What is known of the coefficients once this scan is there, the `index`th of the file from 0.
    fn note_progress(&self, frame: &mut Frame, index: usize) {
        for member in &self.members {
            let progress = &mut frame.components[member.component].progress;
            progress.before = if index == 0 { [0; 64] } else { progress.now };
            progress.now[self.scan.first..=self.scan.last].fill(self.scan.shift as i8);
        }
    }
}

impl Decoder {
    /// Decodes the data that begins at `at`; returns where it ends.
    pub(super) fn scan(&mut self, header: Header, bytes: &[u8], at: usize) -> Result<usize> {
        let frame = self.frame.as_mut().ok_or_else(|| damaged("no frame before the data"))?;
        for member in &header.members {
            let component = &mut frame.components[member.component];
            if component.quantization.is_none() {
                component.quantization = self.quantization[component.quantization_index];
            }
            component.quantization.ok_or_else(|| damaged("no quantization table"))?;
        }
        if frame.progressive {
            header.note_progress(frame, self.scans);
        }
        self.scans += 1;

        let (units_x, units_y) = header.units(frame);
        // Rows of a lone channel's blocks in one row of the picture's coded units.
        let rows = match &header.members[..] {
            [alone] => frame.components[alone.component].v,
            _ => 1,
        };
        let mut reader = BitReader::new(bytes, at);
        let Header { members, mut scan } = header;
        let (mut restarts, mut until_restart) = (0, self.restart_interval);
        let mut fresh = [0; 64];
        for (unit_y, unit_x) in (0..units_y).flat_map(|y| (0..units_x).map(move |x| (y, x))) {
            if !reader.starved() {
                self.last_good_row = unit_y / rows;
            }
            if self.restart_interval > 0 {
                if until_restart == 0 {
                    reader.restart(restarts).ok_or_else(|| damaged("the file is cut short"))?;
                    scan.restart();
                    (restarts, until_restart) = ((restarts + 1) & 7, self.restart_interval);
                }
                until_restart -= 1;
            }
            if reader.starved() {
                continue;
            }
            for (slot, member) in members.iter().enumerate() {
                let component = &mut frame.components[member.component];
                let (across, down) = component.unit(members.len());
                let codes = (code(&self.dc_codes, member.dc), code(&self.ac_codes, member.ac));
                for inner in 0..across * down {
                    let place = (unit_x * across + inner % across, unit_y * down + inner / across);
                    let block = match frame.buffered {
                        true => &mut component.coefficients[place.1 * component.blocks_x + place.0],
                        false => &mut fresh,
                    };
                    let read = match frame.progressive {
                        true => scan.refine_block(&mut reader, codes, slot, block),
                        false => scan.block(&mut reader, codes, slot, block),
                    };
                    read.ok_or_else(|| damaged("a Huffman table is missing or wrong"))?;
                    if !frame.buffered {
                        component.reconstruct(place, &fresh);
                        fresh.fill(0);
                    }
                }
            }
            if reader.cut_short() {
                return Err(damaged("the file is cut short"));
            }
        }
        Ok(reader.position())
    }
}

fn code(codes: &[Option<Huffman>; 4], index: usize) -> Option<&Huffman> {
    codes.get(index)?.as_ref()
}
