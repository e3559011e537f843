//! A picture's way to pixel values: decode, resize as Pillow does, preprocess as CLIPImageProcessor does.

mod decode;
mod jpeg;
mod preprocess;
mod resize;

pub use decode::MAX_PIXELS;
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
    /// A PNG, JPEG, WebP or GIF file of at most [`MAX_PIXELS`]; decoded only when it must be.
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
    /// Decodes an encoded picture. EXIF orientation is applied; alpha is dropped, not blended; a single transparent
    /// colour (GIF, PNG without an alpha channel) becomes white; 16-bit channels keep their high byte.
    ///
    /// # Errors
    /// [`Error::Image`] if the format is unknown, the data damaged, or the size in the header above `max_pixels` (found out
    /// before any pixel is decoded).
    pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Self> {
        decode::decode(bytes, max_pixels)
    }

    /// Takes the pixels of a canvas or `ImageData`: `[height, width, 4]` bytes, alpha last. Alpha is dropped, as for files.
    ///
    /// # Errors
    /// [`Error::Image`] if a side is zero or the byte count does not match the size.
    pub fn from_rgba(width: usize, height: usize, rgba: &[u8]) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(4));
        if width == 0 || height == 0 || expected != Some(rgba.len()) {
            let problem = format!("{} bytes are not {width}x{height} RGBA pixels (4 bytes each)", rgba.len());
            return Err(Error::Image(problem));
        }
        let rgb = rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Ok(Self { width, height, rgb })
    }
}
