//! Encoded pictures to upright RGB on white, as transformers loads them through Pillow.

use super::{
    Picture, gif, jpeg,
    limits::{check_bytes, check_size},
    png, webp,
};
use crate::error::{Error, Result};

/// What is decoded here.
#[cfg(not(target_family = "wasm"))]
const FORMATS: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF or ICO";
#[cfg(target_family = "wasm")]
const FORMATS: &str = "PNG, JPEG, WebP or GIF";

/// How files begin that people take for pictures, after so many bytes, and what they are.
const OTHERS: [(usize, &[u8], &str); 11] = [
    (4, b"ftypavi", "an AVIF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftypmif1", "a HEIF file"),
    (4, b"JXL ", "a JPEG XL file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"BM", "a BMP file"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"\0\0\x01\0", "an ICO file"),
    (0, b"<svg", "an SVG file"),
    (0, b"%PDF", "a PDF file"),
];

/// See [`Picture::decode`].
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture> {
    check_bytes(bytes.len())?;
    let check_size = |width, height| check_size(width, height, max_pixels);
    let stored = match bytes {
        [0xFF, 0xD8, 0xFF, ..] => jpeg::decode(bytes, check_size)?,
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, check_size)?,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp::decode(bytes, check_size)?,
        [b'G', b'I', b'F', b'8', ..] => return gif::decode(bytes, check_size),
        #[cfg(not(target_family = "wasm"))]
        _ => super::native::decode(bytes, check_size).unwrap_or_else(|| Err(unknown(bytes)))?,
        #[cfg(target_family = "wasm")]
        _ => return Err(unknown(bytes)),
    };
    Ok(stored.orientation.upright(stored.picture))
}

fn unknown(bytes: &[u8]) -> Error {
    let other = OTHERS.iter().find(|(at, start, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(start)));
    let is = other.map(|(_, _, name)| format!("{name}, ")).unwrap_or_default();
    Error::Image(format!("{is}not a {FORMATS} file: convert it to PNG or JPEG first"))
}
