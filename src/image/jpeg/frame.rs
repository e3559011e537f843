//! What a frame header says: the picture's size, and the channels at their own resolutions.

use super::{damaged, idct, u16_at};
use crate::error::{Error, Result};

/// What a block without data shows.
pub(super) const GREY: u8 = 128;

pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub progressive: bool,
    pub components: Vec<Component>,
    /// Size in minimum coded units.
    pub mcus: (usize, usize),
    /// Whether coefficients are kept until the last scan, because several add to them.
    pub buffered: bool,
}

/// One colour channel at its own resolution.
pub(super) struct Component {
    pub id: u8,
    /// Sampling factors, and how much they fall short of the largest.
    pub h: usize,
    pub v: usize,
    pub stretch_x: usize,
    pub stretch_y: usize,
    /// Samples that belong to the picture.
    pub width: usize,
    pub height: usize,
    /// Blocks stored a row and a column, filled up to whole coded units.
    pub blocks_x: usize,
    pub blocks_y: usize,
    pub quantization_index: usize,
    /// The table in force at the component's first scan, in row order.
    pub quantization: Option<[u16; 64]>,
    /// `[blocks_y * 8, blocks_x * 8]`; mid-grey where no data comes.
    pub samples: Vec<u8>,
    /// `[blocks_y, blocks_x]`, of a buffered frame.
    pub coefficients: Vec<[i16; 64]>,
    pub progress: Progress,
}

/// How well the coefficients of a component are known, in coded order: bits still missing, -1 for all.
pub(super) struct Progress {
    pub now: [i8; 64],
    /// Before the last scan.
    pub before: [i8; 64],
}

impl Frame {
    pub fn parse(body: &[u8], progressive: bool) -> Result<Self> {
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
                progress: Progress { now: [-1; 64], before: [-1; 64] },
            });
        }
        Ok(Self { width, height, progressive, components, mcus, buffered: false })
    }

    /// Memory for what the scans bring, once the size is known to be acceptable.
    pub fn allocate(&mut self, buffered: bool) {
        self.buffered = buffered;
        for component in &mut self.components {
            let blocks = component.blocks_x * component.blocks_y;
            match buffered {
                true => component.coefficients = vec![[0; 64]; blocks],
                false => component.samples = vec![GREY; 64 * blocks],
            }
        }
    }
}

impl Component {
    /// Blocks of which samples belong to the picture, a row and a column.
    pub fn size_in_blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(8), self.height.div_ceil(8))
    }

    /// Its blocks in a coded unit of a scan of so many channels, across and down.
    pub fn unit(&self, members: usize) -> (usize, usize) {
        if members == 1 { (1, 1) } else { (self.h, self.v) }
    }

    /// Inverse transform of the coefficients of the block at `(x, y)` into the samples.
    pub fn reconstruct(&mut self, (x, y): (usize, usize), coefficients: &[i16; 64]) {
        let stride = 8 * self.blocks_x;
        if let Some(steps) = &self.quantization {
            idct::inverse(coefficients, steps, &mut self.samples[8 * (y * stride + x)..], stride);
        }
    }
}
