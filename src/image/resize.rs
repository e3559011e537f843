//! Pillow's `Image.resize`, bit for bit: two passes over 8-bit channels with fixed-point weights.

use super::Picture;
use crate::error::{Error, Result};

/// A resampling filter, numbered as in `PIL.Image.Resampling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Bilinear,
    Bicubic,
}

impl Filter {
    /// From the preprocessor's `resample` number.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the filters no LLaVA checkpoint uses (nearest, Lanczos, box, Hamming).
    pub fn from_pil(resample: u64) -> Result<Self> {
        match resample {
            2 => Ok(Self::Bilinear),
            3 => Ok(Self::Bicubic),
            other => Err(Error::unsupported(
                "preprocessor.resample",
                format!("filter {other}; only 2 (bilinear) and 3 (bicubic) are supported"),
            )),
        }
    }

    /// Reach to either side in source pixels, before scaling.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The kernel at distance `x`. Bicubic is Keys' kernel with a = -1/2.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// Fraction bits of a weight: what 32 bits leave beside 8 for the channel and 2 for overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// One half in fixed point: where a sum starts, so that cutting off its fraction rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// The source pixels one output pixel is made of.
struct Taps {
    first: usize,
    /// Fixed point, [`PRECISION_BITS`] of fraction.
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// Taps of the output pixels `window` of an axis resized from `from` to `to` pixels. Downscaling widens the kernel.
fn axis_taps(from: usize, to: usize, window: std::ops::Range<usize>, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let taps = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let distance = |pixel: usize| (pixel as f64 - center + 0.5) * (1.0 / stretch);
        let weights: Vec<f64> = (first..end).map(|pixel| filter.weight(distance(pixel))).collect();
        let sum: f64 = weights.iter().sum();
        let one = f64::from(1u32 << PRECISION_BITS);
        let fixed = |weight: &f64| (weight / sum * one + 0.5f64.copysign(*weight / sum)) as i32;
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    window.map(taps).collect()
}

/// A picture on a wider canvas of one colour, which is never built in memory.
pub(super) struct Canvas<'a> {
    pub picture: &'a Picture,
    pub width: usize,
    pub height: usize,
    /// Position of the picture on the canvas.
    pub left: usize,
    pub top: usize,
    pub colour: [u8; 3],
}

impl<'a> Canvas<'a> {
    /// The picture alone.
    pub fn bare(picture: &'a Picture) -> Self {
        Self { picture, width: picture.width, height: picture.height, left: 0, top: 0, colour: [0; 3] }
    }

    /// LLaVA's `expand2square`: centred on a square as large as the longer side.
    pub fn square(picture: &'a Picture, colour: [u8; 3]) -> Self {
        let side = picture.width.max(picture.height);
        let (left, top) = ((side - picture.width) / 2, (side - picture.height) / 2);
        Self { picture, width: side, height: side, left, top, colour }
    }

    /// Row `y` of the picture, if the canvas shows it there.
    fn picture_row(&self, y: usize) -> Option<&[u8]> {
        let bytes = 3 * self.picture.width;
        let y = y.checked_sub(self.top).filter(|y| *y < self.picture.height)?;
        Some(&self.picture.rgb[y * bytes..][..bytes])
    }
}

/// A rectangle of the resized picture; it may reach beyond it.
pub(super) struct Crop {
    pub left: isize,
    pub top: isize,
    pub width: usize,
    pub height: usize,
}

/// What `canvas` resized to `size` (width, height) shows in `window`; black outside the picture. Only pixels that the
/// window needs are computed, with the values the whole resize would give them.
pub(super) fn resize_window(canvas: &Canvas, size: (usize, usize), window: &Crop, filter: Filter) -> Picture {
    let (columns, first_column) = visible(window.left, window.width, size.0);
    let (rows, first_row) = visible(window.top, window.height, size.1);
    let mut shown =
        Picture { width: window.width, height: window.height, rgb: vec![0; 3 * window.width * window.height] };
    if columns.is_empty() || rows.is_empty() {
        return shown;
    }
    // Each pass rounds to 8 bits, so their order shows. An axis that keeps its size has weights of exactly one.
    let columns = axis_taps(canvas.width, size.0, columns, filter);
    let rows = axis_taps(canvas.height, size.1, rows, filter);
    let stride = 3 * columns.len();
    let resized = if vertical_first(canvas, size) {
        let width = 3 * canvas.picture.width;
        let empty = canvas.colour.repeat(canvas.picture.width);
        let shortened = mix_rows(&rows, width, |y| canvas.picture_row(y).unwrap_or(&empty));
        mix_columns(&columns, canvas, shortened.chunks_exact(width).map(Some))
    } else {
        let first = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
        let end = rows.iter().map(Taps::end).max().unwrap_or(0);
        let narrowed = mix_columns(&columns, canvas, (first..end).map(|y| canvas.picture_row(y)));
        mix_rows(&rows, stride, |y| &narrowed[(y - first) * stride..][..stride])
    };
    for (row, pixels) in (first_row..).zip(resized.chunks_exact(stride)) {
        shown.rgb[3 * (row * window.width + first_column)..][..stride].copy_from_slice(pixels);
    }
    shown
}

/// Pillow 13 shortens first what loses far more rows than columns (found by comparing both orders on 7,733 sizes);
/// earlier versions always narrow first. In a centre crop the two differ for pictures over twice as high as wide.
fn vertical_first(canvas: &Canvas, (width, height): (usize, usize)) -> bool {
    let fewer = |from: usize, to: usize| from as i64 - to as i64;
    let rows = fewer(canvas.height, height);
    rows > 0 && rows > 2 * fewer(canvas.width, width)
}

/// The vertical pass: each result row from its taps on the rows that `row` gives, `length` channels each.
fn mix_rows<'a>(rows: &[Taps], length: usize, row: impl Fn(usize) -> &'a [u8]) -> Vec<u8> {
    let mut mixed = Vec::with_capacity(rows.len() * length);
    let mut sums = vec![0i32; length];
    for taps in rows {
        sums.fill(HALF);
        for (y, weight) in (taps.first..).zip(&taps.weights) {
            sums.iter_mut().zip(row(y)).for_each(|(sum, channel)| *sum += weight * i32::from(*channel));
        }
        mixed.extend(sums.iter().copied().map(to_channel));
    }
    mixed
}

/// The horizontal pass over canvas rows: each is given as its part of the picture, or `None` where it is empty.
fn mix_columns<'a>(
    columns: &[Taps],
    canvas: &Canvas,
    rows: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
) -> Vec<u8> {
    let mut source = canvas.colour.repeat(canvas.width);
    let mut empty = vec![0u8; 3 * columns.len()];
    mix_row(columns, &source, &mut empty);
    // Where the result differs from an empty row.
    let (left, right) = (canvas.left, canvas.left + canvas.picture.width);
    let first = columns.partition_point(|taps| taps.end() <= left);
    let end = columns.partition_point(|taps| taps.first < right);
    let mut mixed = empty.repeat(rows.len());
    for (row, target) in rows.zip(mixed.chunks_exact_mut(empty.len())) {
        if let Some(row) = row {
            source[3 * left..3 * right].copy_from_slice(row);
            mix_row(&columns[first..end], &source, &mut target[3 * first..3 * end]);
        }
    }
    mixed
}

/// Every pixel of a row from its taps on `source`.
fn mix_row(columns: &[Taps], source: &[u8], target: &mut [u8]) {
    for (taps, pixel) in columns.iter().zip(target.chunks_exact_mut(3)) {
        let mut sums = [HALF; 3];
        for (weight, from) in taps.weights.iter().zip(source[3 * taps.first..].chunks_exact(3)) {
            sums.iter_mut().zip(from).for_each(|(sum, channel)| *sum += weight * i32::from(*channel));
        }
        pixel.iter_mut().zip(sums).for_each(|(channel, sum)| *channel = to_channel(sum));
    }
}

/// The part of an axis of `size` pixels that a window at `start` sees, and where in the window it begins.
fn visible(start: isize, length: usize, size: usize) -> (std::ops::Range<usize>, usize) {
    let first = start.max(0) as usize;
    let end = (start + length as isize).clamp(0, size as isize) as usize;
    (first.min(end)..end, start.min(0).unsigned_abs())
}

fn to_channel(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
