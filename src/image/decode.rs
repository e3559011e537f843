//! PNG, JPEG, WebP and GIF files (first frame) to upright RGB, as transformers loads them through Pillow.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, metadata::Orientation};

use super::{
    Picture,
    jpeg::{self, Jpeg},
};
use crate::error::{Error, Result};

/// The largest picture decoded unless the caller says otherwise: 64 megapixels, 192 MB as RGB.
pub const MAX_PIXELS: u64 = 64_000_000;

/// The longest side: what JPEG can hold. It bounds the work of squaring a very long picture.
const MAX_SIDE: usize = 65_535;

/// See [`Picture::decode`].
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture> {
    let check_size = |width: usize, height: usize| match (width as u64 * height as u64, width.max(height)) {
        (0, _) => Err(Error::Image("the picture has no pixels".to_owned())),
        (pixels, side) if pixels > max_pixels || side > MAX_SIDE => Err(Error::Image(format!(
            "{width}x{height} is too large: the limit is {max_pixels} pixels and {MAX_SIDE} a side; scale the picture down"
        ))),
        _ => Ok(()),
    };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| bad(&error))?;
    let format = reader.format();
    let (mut image, orientation) = match format {
        Some(ImageFormat::Jpeg) => {
            let Jpeg { picture, orientation } = jpeg::decode(bytes, check_size)?;
            let rgb = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.rgb);
            (DynamicImage::from(rgb.unwrap_or_default()), orientation)
        }
        Some(ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif) => {
            let mut decoder = reader.into_decoder().map_err(|error| bad(&error))?;
            let (width, height) = decoder.dimensions();
            check_size(width as usize, height as usize)?;
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
            (DynamicImage::from_decoder(decoder).map_err(|error| bad(&error))?, orientation)
        }
        _ => return Err(Error::Image("not a PNG, JPEG, WebP or GIF file".to_owned())),
    };
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let key = if has_colour_key(bytes, format) { transparent_colour(&image) } else { None };
    let mut rgb = into_rgb(image);
    if let Some(key) = key {
        rgb.chunks_exact_mut(3).filter(|pixel| **pixel == key).for_each(|pixel| pixel.fill(u8::MAX));
    }
    Ok(Picture { width, height, rgb })
}

/// Whether one colour stands for "transparent": in a GIF, or in a PNG without an alpha channel. transformers paints that
/// colour white, while it drops graded alpha.
fn has_colour_key(bytes: &[u8], format: Option<ImageFormat>) -> bool {
    match format {
        Some(ImageFormat::Gif) => true,
        Some(ImageFormat::Png) => match (bytes.get(25), png_transparency(bytes)) {
            (Some(0 | 2), Some(_)) => true,
            // A palette has one such colour if one entry is clear and all others are opaque.
            (Some(3), Some(alpha)) => {
                alpha.iter().filter(|alpha| **alpha == 0).count() == 1
                    && alpha.iter().all(|alpha| matches!(*alpha, 0 | u8::MAX))
            }
            _ => false,
        },
        _ => false,
    }
}

/// The content of a PNG's tRNS chunk, which comes before the pixels.
fn png_transparency(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let (head, tail) = rest.split_at_checked(8)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        match &head[4..] {
            b"tRNS" => return tail.get(..length),
            b"IDAT" => return None,
            _ => rest = tail.get(length.checked_add(4)?..)?,
        }
    }
}

fn transparent_colour(image: &DynamicImage) -> Option<[u8; 3]> {
    match image {
        DynamicImage::ImageLumaA8(grey) => grey.pixels().find(|pixel| pixel[1] == 0).map(|pixel| [pixel[0]; 3]),
        DynamicImage::ImageRgba8(rgba) => {
            rgba.pixels().find(|pixel| pixel[3] == 0).map(|pixel| [pixel[0], pixel[1], pixel[2]])
        }
        _ => None,
    }
}

fn bad(error: &dyn std::fmt::Display) -> Error {
    Error::Image(format!("cannot be decoded: {error}"))
}

/// Pillow keeps the high byte of 16-bit channels, where the `image` crate would round. (16-bit grey it clips to white
/// instead; that is not followed.)
fn into_rgb(image: DynamicImage) -> Vec<u8> {
    let high = |value: u16| (value >> 8) as u8;
    match image {
        DynamicImage::ImageLuma16(grey) => grey.pixels().flat_map(|pixel| [high(pixel[0]); 3]).collect(),
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|pixel| [high(pixel[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels().flat_map(|pixel| [high(pixel[0]), high(pixel[1]), high(pixel[2])]).collect()
        }
        other => other.into_rgb8().into_raw(),
    }
}
