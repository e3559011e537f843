//! PNG files: the default picture, whatever follows its last pixel.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, InterlaceInfo, Limits, Reader, Transformations};

use super::{
    Picture,
    alpha::{grey_on_white, on_white, rgba_on_white},
    limits::MAX_BYTES,
    orientation::Orientation,
    stored::{Stored, bad},
};
use crate::error::Result;

/// Decodes a PNG file. Of 16-bit channels the high byte is kept, as in Pillow; 16-bit grey is clipped at 255, as there.
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) if the file is damaged before its last pixel; what `check_size` says.
pub(super) fn decode(bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Result<Stored> {
    let damaged = |error: DecodingError| bad(&error);
    // What is held beside the pixels (rows, texts) is no more than a few times the file.
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: 4 * MAX_BYTES });
    let info = decoder.read_header_info().map_err(damaged)?;
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height)?;
    let deep_grey = (info.color_type, info.bit_depth) == (ColorType::Grayscale, BitDepth::Sixteen);
    decoder.set_transformations(match deep_grey {
        true => Transformations::EXPAND,
        false => Transformations::normalize_to_color8(),
    });
    let mut reader = decoder.read_info().map_err(damaged)?;
    let pixels = read_pixels(&mut reader).map_err(damaged)?;
    let rgb = match (reader.output_color_type().0, deep_grey) {
        (ColorType::Grayscale, true) => pixels.as_chunks().0.iter().flat_map(|grey| [clipped(*grey); 3]).collect(),
        (_, true) => {
            pixels.as_chunks().0.iter().flat_map(|[a, b, alpha, _]| on_white([clipped([*a, *b]); 3], *alpha)).collect()
        }
        (ColorType::Grayscale, _) => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
        (ColorType::GrayscaleAlpha, _) => grey_on_white(&pixels),
        (ColorType::Rgba, _) => rgba_on_white(&pixels),
        (ColorType::Rgb | ColorType::Indexed, _) => pixels,
    };
    // Metadata may follow the pixels. Whether the file ends in order no longer matters.
    let _ = reader.finish();
    let info = reader.info();
    let exif = info.exif_metadata.as_deref().map(<[u8]>::to_vec).or_else(|| exif_as_text(info));
    let orientation = Orientation::of(exif.as_deref(), xmp(info).as_deref());
    Ok(Stored { picture: Picture { width, height, rgb }, orientation })
}

fn clipped(grey: [u8; 2]) -> u8 {
    u16::from_be_bytes(grey).min(255) as u8
}

/// All rows, without a look at what follows them.
fn read_pixels(reader: &mut Reader<Cursor<&[u8]>>) -> std::result::Result<Vec<u8>, DecodingError> {
    /// First column, first row and their steps, of each pass of an interlaced picture (PNG specification, 8.2).
    const PASSES: [[usize; 4]; 7] =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
    let size = reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let (line, bits) = (size / height, (8 * size / height / width) as u8);
    let mut pixels = vec![0; size];
    if !reader.info().interlaced {
        for row in pixels.chunks_exact_mut(line) {
            reader.read_row(row)?;
        }
        return Ok(pixels);
    }
    let passes = PASSES.iter().filter(|[left, ..]| *left < width);
    let rows: usize = passes.map(|[_, top, _, step]| height.saturating_sub(*top).div_ceil(*step)).sum();
    for _ in 0..rows {
        let Some(row) = reader.next_interlaced_row()? else { break };
        if let InterlaceInfo::Adam7(place) = row.interlace() {
            png::expand_interlaced_row(&mut pixels, line, row.data(), place, bits);
        }
    }
    Ok(pixels)
}

fn xmp(info: &Info) -> Option<Vec<u8>> {
    let chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == "XML:com.adobe.xmp")?;
    chunk.get_text().ok().map(String::into_bytes)
}

/// EXIF in hexadecimal digits after three lines of heading, as ImageMagick wrote it before PNG had a chunk for it.
fn exif_as_text(info: &Info) -> Option<Vec<u8>> {
    const KEYWORD: &str = "Raw profile type exif";
    let plain = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == KEYWORD);
    let text = plain.map(|chunk| chunk.text.clone()).or_else(|| {
        let packed = info.compressed_latin1_text.iter().find(|chunk| chunk.keyword == KEYWORD)?;
        packed.get_text().ok()
    })?;
    let digits: Option<Vec<u32>> = text.lines().skip(3).flat_map(str::chars).map(|digit| digit.to_digit(16)).collect();
    Some(digits?.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}
