//! BMP, TIFF and ICO files, natively. In a browser the page has the browser decode them.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::{
    Picture,
    alpha::rgba_on_white,
    orientation::Orientation,
    stored::{Stored, bad},
};
use crate::error::Result;

/// Decodes a file of these formats; `None` if it is none of them.
pub(super) fn decode(bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Option<Result<Stored>> {
    if let Some(png) = png_in_icon(bytes) {
        return Some(super::png::decode(png, check_size));
    }
    let format = image::guess_format(bytes).ok()?;
    matches!(format, ImageFormat::Bmp | ImageFormat::Tiff | ImageFormat::Ico)
        .then(|| decode_as(format, bytes, check_size))
}

fn decode_as(format: ImageFormat, bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Result<Stored> {
    let damaged = |error: ImageError| bad(&error);
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let rgb = match image.color().has_alpha() {
        true => rgba_on_white(image.into_rgba8().as_raw()),
        false => image.into_rgb8().into_raw(),
    };
    // EXIF is laid out as a TIFF file, so a TIFF file's own directory is read as such.
    Ok(Stored { picture: Picture { width, height, rgb }, orientation: Orientation::of(Some(bytes), None) })
}

/// The largest picture of an ICO file, if it is a PNG file (the `image` crate takes only those with alpha).
fn png_in_icon(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.strip_prefix(b"\0\0\x01\0")?.split_first_chunk::<2>()?;
    let entries = rest.as_chunks::<16>().0.iter().take(usize::from(u16::from_le_bytes(*header)));
    // A side of 256 is stored as 0. Of equal sizes the one with more bits a pixel is the better.
    let side = |side: u8| u16::from(side.wrapping_sub(1));
    let best =
        entries.max_by_key(|entry| (side(entry[0]), side(entry[1]), u16::from_le_bytes([entry[6], entry[7]])))?;
    let number = |at: usize| best[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let (size, offset) = (number(8)?, number(12)?);
    bytes.get(offset..)?.get(..size).filter(|data| data.starts_with(b"\x89PNG"))
}
