//! JPEG as libjpeg-turbo decodes it with its default settings, bit for bit: what Pillow, and so transformers, sees.
//!
//! A decoder of our own, because others differ by up to four levels where chroma is subsampled, enough to turn a greedy
//! token. Huffman-coded 8-bit pictures, sequential and progressive. Sources: ITU-T T.81; JFIF 1.02; for the exact
//! arithmetic, and for what becomes of damaged data, libjpeg-turbo.

mod bits;
mod entropy;
mod frame;
mod huffman;
mod idct;
mod output;
mod scan;
mod smooth;

use super::{Picture, limits::MAX_PIXELS, orientation::Orientation, stored::Stored};
use crate::error::{Error, Result};
use entropy::ZIGZAG;
use frame::{Component, Frame};
use huffman::Huffman;
use scan::Header;
use smooth::Smoothing;

/// How many blocks all scans of a file may go over, each counted as often as a scan goes over it: 32 times those of the
/// largest grey picture, where six scans are usual. A small file can ask for thousands, which take minutes.
const MAX_BLOCKS: u64 = 32 * MAX_PIXELS / 64;

/// Decodes a JPEG file; `check_size` sees width and height before any pixel is decoded.
///
/// # Errors
/// [`Error::Image`] if the file is damaged beyond what libjpeg shows, cut short, coded in a way no browser picture is
/// (arithmetic, lossless, 12-bit, hierarchical), or of more scans than a picture needs.
pub(super) fn decode(bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Result<Stored> {
    let mut decoder = Decoder::default();
    let mut at = 2;
    loop {
        let (marker, start) = next_marker(bytes, at).ok_or_else(|| damaged("the file is cut short"))?;
        if marker == 0xD9 {
            return decoder.finish();
        }
        if stands_alone(marker) {
            at = start;
            continue;
        }
        let body = segment(bytes, start)?;
        at = start + 2 + body.len();
        match marker {
            0xC4 => decoder.huffman_codes(body)?,
            0xC0..=0xC2 => {
                let frame = Frame::parse(body, marker == 0xC2)?;
                check_size(frame.width, frame.height)?;
                if decoder.frame.replace(frame).is_some() {
                    return Err(damaged("two frames"));
                }
            }
            0xC9..=0xCB | 0xCD..=0xCF => return Err(unsupported("arithmetic coding")),
            0xC3 => return Err(unsupported("lossless coding")),
            0xC5..=0xC8 => return Err(unsupported("hierarchical coding")),
            0xDA => match decoder.start_scan(body, bytes, at)? {
                Some(end) => at = end,
                None => return decoder.finish(),
            },
            0xDB => decoder.quantization_tables(body)?,
            0xDD => decoder.restart_interval = usize::from(u16_at(body, 0)?),
            0xE0 => decoder.jfif |= body.starts_with(b"JFIF\0"),
            0xE1 => decoder.metadata(body),
            0xEE if body.starts_with(b"Adobe") => decoder.adobe_transform = body.get(11).copied(),
            _ => {}
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::Image(format!("damaged JPEG: {what}"))
}

fn unsupported(what: &str) -> Error {
    Error::Image(format!("a JPEG with {what}, which is not supported: save it again as a usual JPEG or as PNG"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let pair = bytes.get(at..at + 2).ok_or_else(|| damaged("a segment is too short"))?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}

/// The next marker's code and the position behind it. Padding and stray bytes before it are skipped.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += 1 + bytes.get(at..)?.iter().position(|byte| *byte == 0xFF)?;
        if let Some(code @ 0x01..=0xFE) = bytes.get(at) {
            return Some((*code, at + 1));
        }
    }
}

/// Whether no segment follows a marker. A restart marker out of place is stepped over, and so are reserved ones, which occur
/// in damaged data only.
fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x00..=0xBF | 0xD0..=0xD8)
}

/// The segment at `start`, without its length field. One that is shorter than this field is empty: what really was in it is
/// skipped in search of the next marker.
fn segment(bytes: &[u8], start: usize) -> Result<&[u8]> {
    let length = usize::from(u16_at(bytes, start)?).max(2);
    bytes.get(start + 2..start + length).ok_or_else(|| damaged("the file is cut short"))
}

/// Blocks that the scans behind `at` go over.
fn blocks_ahead(frame: &Frame, bytes: &[u8], mut at: usize) -> u64 {
    let mut blocks = 0;
    while let Some((marker, start)) = next_marker(bytes, at).filter(|(marker, _)| *marker != 0xD9) {
        at = start;
        if !stands_alone(marker) {
            let Ok(body) = segment(bytes, start) else { break };
            at += 2 + body.len();
            if marker == 0xDA {
                blocks += Header::parse(body, frame).map_or(0, |header| header.blocks(frame));
            }
        }
    }
    blocks
}

/// What the markers seen so far have set up.
#[derive(Default)]
struct Decoder {
    frame: Option<Frame>,
    /// Quantization steps in row order.
    quantization: [Option<[u16; 64]>; 4],
    dc_codes: [Option<Huffman>; 4],
    ac_codes: [Option<Huffman>; 4],
    /// In minimum coded units; 0 for none.
    restart_interval: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
    exif: Option<Vec<u8>>,
    xmp: Option<Vec<u8>>,
    /// Scans begun.
    scans: usize,
    /// The last row of coded units that the last scan's data reached.
    last_good_row: usize,
}

impl Decoder {
    fn quantization_tables(&mut self, mut body: &[u8]) -> Result<()> {
        while let Some((&head, rest)) = body.split_first() {
            let (wide, index) = (usize::from(head >> 4 != 0), usize::from(head & 15));
            let (values, rest) = rest.split_at_checked(64 << wide).ok_or_else(|| damaged("quantization table"))?;
            let slot = self.quantization.get_mut(index).ok_or_else(|| damaged("quantization table"))?;
            let mut table = [0; 64];
            for (position, value) in ZIGZAG.iter().zip(values.chunks_exact(1 << wide)) {
                table[*position] = value.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            *slot = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn huffman_codes(&mut self, mut body: &[u8]) -> Result<()> {
        while let Some((&head, rest)) = body.split_first() {
            let (code, rest) = Huffman::parse(rest).ok_or_else(|| damaged("Huffman table"))?;
            let codes = if head >> 4 == 0 { &mut self.dc_codes } else { &mut self.ac_codes };
            *codes.get_mut(usize::from(head & 15)).ok_or_else(|| damaged("Huffman table"))? = code;
            body = rest;
        }
        Ok(())
    }

    /// The first EXIF segment counts: others are of pictures inside this one, or left over by an editor.
    fn metadata(&mut self, body: &[u8]) {
        if let Some(exif) = body.strip_prefix(b"Exif\0\0") {
            self.exif.get_or_insert_with(|| exif.to_vec());
        } else if let Some(xmp) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.xmp.get_or_insert_with(|| xmp.to_vec());
        }
    }

    /// Decodes the scan whose header is `body` and whose data begins at `at`; returns where its data ends, or `None` if it is
    /// the only one.
    fn start_scan(&mut self, body: &[u8], bytes: &[u8], at: usize) -> Result<Option<usize>> {
        let frame = self.frame.as_mut().ok_or_else(|| damaged("no frame before the data"))?;
        let header = Header::parse(body, frame)?;
        if self.scans == 0 {
            let buffered = frame.progressive || !header.is_whole(frame);
            if buffered && header.blocks(frame) + blocks_ahead(frame, bytes, at) > MAX_BLOCKS {
                return Err(Error::Image(
                    "a JPEG of so many scans that decoding it would take too long: save it again".to_owned(),
                ));
            }
            frame.allocate(buffered);
            if !frame.progressive {
                self.fill_in_standard_codes();
            }
        }
        let end = self.scan(header, bytes, at)?;
        Ok(self.frame.as_ref().is_some_and(|frame| frame.buffered).then_some(end))
    }

    fn fill_in_standard_codes(&mut self) {
        for (index, code) in self.dc_codes[..2].iter_mut().chain(&mut self.ac_codes[..2]).enumerate() {
            if code.is_none() {
                *code = Huffman::standard(index);
            }
        }
    }

    fn finish(mut self) -> Result<Stored> {
        let mut frame =
            self.frame.take().filter(|_| self.scans > 0).ok_or_else(|| damaged("no picture in the file"))?;
        if frame.buffered {
            let smoothing = Smoothing::of(&frame, self.scans, self.last_good_row);
            frame.reconstruct(smoothing.as_ref());
        }
        let space = self.colour_space(&frame.components);
        let rgb = output::to_rgb(frame.width, frame.height, &frame.components, space);
        let picture = Picture { width: frame.width, height: frame.height, rgb };
        Ok(Stored { picture, orientation: Orientation::of(self.exif.as_deref(), self.xmp.as_deref()) })
    }

    /// How libjpeg guesses what the channels mean.
    fn colour_space(&self, components: &[Component]) -> output::ColourSpace {
        use output::ColourSpace::{Cmyk, Grey, Rgb, YCbCr, Ycck};
        let ids: Vec<u8> = components.iter().map(|component| component.id).collect();
        match (components.len(), self.adobe_transform) {
            (1, _) => Grey,
            (4, None | Some(0)) => Cmyk,
            (4, Some(_)) => Ycck,
            _ if self.jfif => YCbCr,
            (_, Some(0)) => Rgb,
            (_, None) if ids == *b"RGB" => Rgb,
            _ => YCbCr,
        }
    }
}
