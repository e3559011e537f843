//! WebP files, of an animation the first frame.

use std::{borrow::Cow, io::Cursor};

use image_webp::{DecodingError, WebPDecoder};

use super::{
    Picture,
    alpha::rgba_on_white,
    orientation::Orientation,
    stored::{Stored, bad},
};
use crate::error::Result;

/// Decodes a WebP file.
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) if the file is damaged; what `check_size` says.
pub(super) fn decode(bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Result<Stored> {
    let damaged = |error: DecodingError| bad(&error);
    let bytes = without_announcements(bytes);
    let mut decoder = WebPDecoder::new(Cursor::new(&bytes[..])).map_err(damaged)?;
    decoder.set_memory_limit(bytes.len());
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or_else(|| bad(&"it does not fit into memory"))?];
    decoder.read_image(&mut pixels).map_err(damaged)?;
    let rgb = if decoder.has_alpha() { rgba_on_white(&pixels) } else { pixels };
    let (exif, xmp) = (decoder.exif_metadata().ok().flatten(), decoder.xmp_metadata().ok().flatten());
    Ok(Stored {
        picture: Picture { width, height, rgb },
        orientation: Orientation::of(exif.as_deref(), xmp.as_deref()),
    })
}

/// The file without the flags that announce EXIF and XMP: `image-webp` finds these without, and refuses a file that announces
/// what an editor has taken out.
fn without_announcements(bytes: &[u8]) -> Cow<'_, [u8]> {
    const FLAGS: usize = 20;
    const EXIF_AND_XMP: u8 = 0x0C;
    let mut bytes = Cow::Borrowed(bytes);
    if bytes.get(12..16) == Some(b"VP8X") && bytes.get(FLAGS).is_some_and(|flags| flags & EXIF_AND_XMP != 0) {
        bytes.to_mut()[FLAGS] &= !EXIF_AND_XMP;
    }
    bytes
}
