//! JPEG as libjpeg-turbo decodes it with its default settings, bit for bit: what Pillow, and so transformers, sees.
//!
//! A decoder of our own, because others differ by up to four levels where chroma is subsampled, enough to turn a greedy
//! token. Huffman-coded 8-bit pictures, sequential and progressive. Sources: ITU-T T.81; JFIF 1.02; for the exact
//! arithmetic, libjpeg-turbo's integer inverse transform, triangle-filter upsampling and 16-bit colour conversion.

mod entropy;
mod idct;
mod output;

use image::metadata::Orientation;

use super::Picture;
use crate::error::{Error, Result};
use entropy::{BitReader, Huffman, Scan, ZIGZAG};

/// A decoded file as it is stored, and how it must be turned to be upright.
pub(super) struct Jpeg {
    pub picture: Picture,
    pub orientation: Orientation,
}

/// Decodes a JPEG file; `check_size` sees width and height before any pixel is decoded.
///
/// # Errors
/// [`Error::Image`] if the file is damaged, cut short, or coded in a way no browser picture is (arithmetic, lossless,
/// 12-bit, hierarchical).
pub(super) fn decode(bytes: &[u8], check_size: impl FnOnce(usize, usize) -> Result<()>) -> Result<Jpeg> {
    let mut check_size = Some(check_size);
    let mut decoder = Decoder::default();
    let mut at = 2;
    loop {
        let (marker, start) = next_marker(bytes, at)?;
        if marker == 0xD9 {
            return decoder.finish();
        }
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            // These stand alone; a restart marker out of place is stepped over.
            at = start;
            continue;
        }
        let body = segment(bytes, start)?;
        at = start + 2 + body.len();
        match marker {
            0xC4 => decoder.huffman_tables(body)?,
            0xC0..=0xC2 => {
                let frame = Frame::parse(body, marker == 0xC2)?;
                if let (Some(check), None) = (check_size.take(), &decoder.frame) {
                    check(frame.width, frame.height)?;
                } else {
                    return Err(damaged("two frames"));
                }
                decoder.frame = Some(frame.with_planes());
            }
            0xC3 | 0xC5..=0xCF => return Err(Error::Image("this kind of JPEG is not supported; save it again".into())),
            0xDA => at = decoder.scan(body, bytes, at)?,
            0xDB => decoder.quantization_tables(body)?,
            0xDD => decoder.restart_interval = usize::from(u16_at(body, 0)?),
            0xE0 => decoder.jfif |= body.starts_with(b"JFIF\0"),
            0xE1 if body.starts_with(b"Exif\0\0") => decoder.orientation = Orientation::from_exif_chunk(&body[6..]),
            0xEE if body.starts_with(b"Adobe") => decoder.adobe_transform = body.get(11).copied(),
            _ => {}
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::Image(format!("damaged JPEG: {what}"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let pair = bytes.get(at..at + 2).ok_or_else(|| damaged("a segment is too short"))?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}

/// The next marker's code and the position behind it. Padding and stray bytes before it are skipped.
fn next_marker(bytes: &[u8], mut at: usize) -> Result<(u8, usize)> {
    loop {
        match bytes.get(at..at + 2) {
            None => return Err(damaged("the file is cut short")),
            Some([0xFF, code]) if !matches!(code, 0x00 | 0xFF) => return Ok((*code, at + 2)),
            Some(_) => at += 1,
        }
    }
}

/// The segment at `start`, without its length field.
fn segment(bytes: &[u8], start: usize) -> Result<&[u8]> {
    let length = usize::from(u16_at(bytes, start)?);
    let body = (length >= 2).then(|| bytes.get(start + 2..start + length)).flatten();
    body.ok_or_else(|| damaged("the file is cut short"))
}

/// What the markers seen so far have set up.
#[derive(Default)]
struct Decoder {
    frame: Option<Frame>,
    /// Quantization steps in row order.
    quantization: [Option<[u16; 64]>; 4],
    dc_tables: [Option<Huffman>; 4],
    ac_tables: [Option<Huffman>; 4],
    /// In minimum coded units; 0 for none.
    restart_interval: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
    orientation: Option<Orientation>,
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    /// Size in minimum coded units.
    mcus: (usize, usize),
}

/// One colour channel at its own resolution.
struct Component {
    id: u8,
    /// Sampling factors, and how much they fall short of the largest.
    h: usize,
    v: usize,
    stretch_x: usize,
    stretch_y: usize,
    /// Samples that belong to the picture.
    width: usize,
    height: usize,
    /// Blocks stored a row and a column, filled up to whole coded units.
    blocks_x: usize,
    blocks_y: usize,
    quantization_index: usize,
    /// The table in force at the component's first scan.
    quantization: Option<[u16; 64]>,
    /// `[blocks_y * 8, blocks_x * 8]`
    samples: Vec<u8>,
    /// `[blocks_y, blocks_x, 64]`, kept only while scans of a progressive file add to them.
    coefficients: Vec<i16>,
    /// Whether any scan brought data.
    seen: bool,
}

impl Frame {
    fn parse(body: &[u8], progressive: bool) -> Result<Self> {
        let (height, width) = (usize::from(u16_at(body, 1)?), usize::from(u16_at(body, 3)?));
        let count = usize::from(*body.get(5).ok_or_else(|| damaged("frame header"))?);
        let specs = body.get(6..6 + 3 * count).ok_or_else(|| damaged("frame header"))?;
        if body[0] != 8 || width == 0 || height == 0 || !matches!(count, 1 | 3 | 4) {
            let problem = format!("a JPEG of {} bits, {width}x{height}, {count} channels is not supported", body[0]);
            return Err(Error::Image(problem));
        }
        let factors = |spec: &[u8]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        let most_h = specs.chunks_exact(3).map(|spec| factors(spec).0).max().unwrap_or(1);
        let most_v = specs.chunks_exact(3).map(|spec| factors(spec).1).max().unwrap_or(1);
        let mut mcus = (0, 0);
        let mut components = Vec::with_capacity(count);
        for spec in specs.chunks_exact(3) {
            let (h, v) = factors(spec);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || most_h % h != 0 || most_v % v != 0 || spec[2] > 3 {
                return Err(damaged("sampling factors or table numbers"));
            }
            mcus = (width.div_ceil(8 * most_h), height.div_ceil(8 * most_v));
            components.push(Component {
                id: spec[0],
                h,
                v,
                stretch_x: most_h / h,
                stretch_y: most_v / v,
                width: (width * h).div_ceil(most_h),
                height: (height * v).div_ceil(most_v),
                blocks_x: mcus.0 * h,
                blocks_y: mcus.1 * v,
                quantization_index: usize::from(spec[2]),
                quantization: None,
                samples: Vec::new(),
                coefficients: Vec::new(),
                seen: false,
            });
        }
        Ok(Self { width, height, progressive, components, mcus })
    }

    /// Memory for the pixels, once the size is known to be acceptable.
    fn with_planes(mut self) -> Self {
        for component in &mut self.components {
            let values = component.blocks_x * component.blocks_y * 64;
            component.samples = vec![0; values];
            component.coefficients = vec![0; if self.progressive { values } else { 0 }];
        }
        self
    }
}

impl Component {
    /// Inverse transform of one block's coefficients into the samples.
    fn reconstruct(&mut self, index: usize, coefficients: &[i16; 64], steps: &[u16; 64]) {
        let (x, y) = (index % self.blocks_x, index / self.blocks_x);
        let stride = 8 * self.blocks_x;
        idct::inverse(coefficients, steps, &mut self.samples[8 * (y * stride + x)..], stride);
    }
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

    fn huffman_tables(&mut self, mut body: &[u8]) -> Result<()> {
        while let Some((&head, rest)) = body.split_first() {
            let (table, rest) = Huffman::parse(rest).ok_or_else(|| damaged("Huffman table"))?;
            let tables = if head >> 4 == 0 { &mut self.dc_tables } else { &mut self.ac_tables };
            *tables.get_mut(usize::from(head & 15)).ok_or_else(|| damaged("Huffman table"))? = Some(table);
            body = rest;
        }
        Ok(())
    }

    /// Decodes the scan whose header is `body` and whose data begins at `at`; returns where its data ends.
    fn scan(&mut self, body: &[u8], bytes: &[u8], at: usize) -> Result<usize> {
        let frame = self.frame.as_mut().ok_or_else(|| damaged("no frame before the data"))?;
        let header = || damaged("scan header");
        let count = usize::from(*body.first().ok_or_else(header)?);
        let [spectral_start, spectral_end, approximation] =
            *body.get(1 + 2 * count..).and_then(|tail| tail.first_chunk()).ok_or_else(header)?;
        let mut members = Vec::with_capacity(count);
        for spec in body[1..1 + 2 * count].chunks_exact(2) {
            let index = frame.components.iter().position(|component| component.id == spec[0]).ok_or_else(header)?;
            let component = &mut frame.components[index];
            if component.quantization.is_none() {
                component.quantization = self.quantization[component.quantization_index];
            }
            component.seen = true;
            members.push((index, usize::from(spec[1] >> 4) & 3, usize::from(spec[1] & 3)));
        }
        let mut scan =
            Scan::new(frame.progressive, [spectral_start, spectral_end, approximation], count).ok_or_else(header)?;
        let mut reader = BitReader::new(bytes, at);

        // One channel alone comes block by block; several come in coded units of h x v blocks each.
        let alone = (count == 1).then(|| &frame.components[members[0].0]);
        let (units_x, units_y) = alone.map_or(frame.mcus, |c| (c.width.div_ceil(8), c.height.div_ceil(8)));
        let interleaved = count > 1;
        let mut block = [0i16; 64];
        for unit in 0..units_x * units_y {
            if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                reader.restart();
                scan.restart();
            }
            let (unit_x, unit_y) = (unit % units_x, unit / units_x);
            for (slot, (index, dc, ac)) in members.iter().enumerate() {
                let component = &mut frame.components[*index];
                let (h, v) = if interleaved { (component.h, component.v) } else { (1, 1) };
                let tables = (self.dc_tables[*dc].as_ref(), self.ac_tables[*ac].as_ref());
                for inner in 0..h * v {
                    let (x, y) = (unit_x * h + inner % h, unit_y * v + inner / h);
                    let position = y * component.blocks_x + x;
                    if frame.progressive {
                        let block = component.coefficients[64 * position..].first_chunk_mut();
                        let block = block.ok_or_else(|| damaged("block position"))?;
                        scan.refine_block(&mut reader, tables, slot, block).ok_or_else(|| damaged("coded data"))?;
                    } else {
                        let steps = component.quantization.ok_or_else(|| damaged("no quantization table"))?;
                        scan.block(&mut reader, tables, slot, &mut block).ok_or_else(|| damaged("coded data"))?;
                        component.reconstruct(position, &block, &steps);
                    }
                }
            }
            if reader.exhausted() {
                return Err(damaged("the file is cut short"));
            }
        }
        Ok(reader.position())
    }

    fn finish(mut self) -> Result<Jpeg> {
        let mut frame = self.frame.take().ok_or_else(|| damaged("no picture in the file"))?;
        if !frame.components.iter().all(|component| component.seen) {
            return Err(damaged("a colour channel is missing"));
        }
        if frame.progressive {
            for component in &mut frame.components {
                let steps = component.quantization.ok_or_else(|| damaged("no quantization table"))?;
                let coefficients = std::mem::take(&mut component.coefficients);
                for (index, block) in coefficients.as_chunks().0.iter().enumerate() {
                    component.reconstruct(index, block, &steps);
                }
            }
        }
        let space = self.colour_space(&frame.components);
        let rgb = output::to_rgb(frame.width, frame.height, &frame.components, space);
        let picture = Picture { width: frame.width, height: frame.height, rgb };
        Ok(Jpeg { picture, orientation: self.orientation.unwrap_or(Orientation::NoTransforms) })
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
