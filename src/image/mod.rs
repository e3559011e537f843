//! A picture's way to pixel values: decode, resize as Pillow does, preprocess as CLIPImageProcessor does.

mod alpha;
mod decode;
mod gif;
mod jpeg;
mod limits;
#[cfg(not(target_family = "wasm"))]
mod native;
mod orientation;
mod png;
mod preprocess;
mod resize;
mod stored;
mod webp;

pub use limits::{MAX_BYTES, MAX_PIXELS};
pub use preprocess::{AspectRatio, Patches, PixelValues, PreprocessorConfig, patches};
pub use resize::Filter;

use std::borrow::Cow;

use crate::error::{Error, Result};

/// An 8-bit RGB picture, rows from the top, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// `[height, width, 3]`
    pub rgb: Vec<u8>,
}

/// A picture as the caller has it.
#[derive(Clone, Debug)]
pub enum Source {
    /// An encoded file of at most [`MAX_BYTES`] and [`MAX_PIXELS`], as [`Picture::decode`] takes it; decoded only when it
    /// must be.
    Encoded(Vec<u8>),
    Decoded(Picture),
}

impl From<Picture> for Source {
    fn from(picture: Picture) -> Self {
        Source::Decoded(picture)
    }
}

impl Source {
    /// The pixels.
    ///
    /// # Errors
    /// As [`Picture::decode`].
    pub fn picture(&self) -> Result<Cow<'_, Picture>> {
        match self {
            Source::Encoded(bytes) => Picture::decode(bytes, MAX_PIXELS).map(Cow::Owned),
            Source::Decoded(picture) => Ok(Cow::Borrowed(picture)),
        }
    }
}

impl Picture {
    /// Decodes a PNG, JPEG, WebP or GIF file (of an animation the first frame) and, natively, a BMP, TIFF or ICO file.
    /// The picture is turned upright as EXIF or XMP says, and what is transparent lies on white.
    ///
    /// # Errors
    /// [`Error::Image`] if the format is unknown or the data damaged; [`Error::TooLarge`] above [`MAX_BYTES`] or
    /// `max_pixels`, found out before any pixel is decoded.
    pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Self> {
        decode::decode(bytes, max_pixels)
    }

    /// Takes the pixels of a canvas or `ImageData`: `[height, width, 4]` bytes, alpha last and not premultiplied. What is
    /// transparent lies on white, as for files.
    ///
    /// # Errors
    /// [`Error::Image`] if a side is zero or the byte count does not match the size; [`Error::TooLarge`] above
    /// [`MAX_PIXELS`].
    pub fn from_rgba(width: usize, height: usize, rgba: &[u8]) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(4));
        if width == 0 || height == 0 || expected != Some(rgba.len()) {
            let problem = format!("{} bytes are not {width}x{height} RGBA pixels (4 bytes each)", rgba.len());
            return Err(Error::Image(problem));
        }
        limits::check_size(width, height, MAX_PIXELS)?;
        Ok(Self { width, height, rgb: alpha::rgba_on_white(rgba) })
    }
}
