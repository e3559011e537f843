//! How large a picture may be. The package's page holds to the same limits before it copies anything (www/src/input/image.ts).

use crate::error::{Error, Result};

/// Bytes of an encoded picture: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;

/// Pixels of a picture: 64 Mi, 192 MiB as RGB.
pub const MAX_PIXELS: u64 = 64 << 20;

/// The longest side: what JPEG can hold. It bounds the work of squaring a very long picture.
const MAX_SIDE: usize = 65_535;

/// # Errors
/// [`Error::TooLarge`] above [`MAX_BYTES`].
pub(super) fn check_bytes(bytes: usize) -> Result<()> {
    if bytes > MAX_BYTES {
        return Err(too_large(format!("{bytes} bytes"), format!("{MAX_BYTES} bytes")));
    }
    Ok(())
}

/// # Errors
/// [`Error::TooLarge`] above `max_pixels` or [`MAX_SIDE`]; [`Error::Image`] if there are no pixels.
pub(super) fn check_size(width: usize, height: usize, max_pixels: u64) -> Result<()> {
    let pixels = (width as u64).saturating_mul(height as u64);
    if pixels == 0 {
        return Err(Error::Image("the picture has no pixels".to_owned()));
    }
    let size = || format!("{width}x{height} pixels");
    if pixels > max_pixels {
        return Err(too_large(size(), format!("{max_pixels} pixels")));
    }
    if width.max(height) > MAX_SIDE {
        return Err(too_large(size(), format!("{MAX_SIDE} pixels a side")));
    }
    Ok(())
}

fn too_large(size: String, limit: String) -> Error {
    Error::TooLarge { size, limit }
}
