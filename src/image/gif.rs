//! The first frame of a GIF file on its whole canvas.

use gif::{DecodeOptions, DecodingError, MemoryLimit};

use super::{Picture, stored::bad};
use crate::error::Result;

/// Decodes a GIF file. Where the first frame does not reach, the canvas shows what is transparent (so white) or, if the
/// frame has no transparent colour, the palette's first, as in Pillow; a frame that reaches beyond the canvas widens it.
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) if the file is damaged or holds no frame; what `check_size` says.
pub(super) fn decode(bytes: &[u8], check_size: impl Fn(usize, usize) -> Result<()>) -> Result<Picture> {
    let damaged = |error: DecodingError| bad(&error);
    let mut options = DecodeOptions::new();
    options.allow_unknown_blocks(true);
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(damaged)?;
    let frame = decoder.next_frame_info().map_err(damaged)?.ok_or_else(|| bad(&"it holds no frame"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent.map(usize::from);
    let width = usize::from(decoder.width()).max(left + frame_width);
    let height = usize::from(decoder.height()).max(top + frame_height);
    check_size(width, height)?;

    let mut colours = [[0; 3]; 256];
    let palette = decoder.palette().map_err(damaged)?.as_chunks::<3>().0;
    colours.iter_mut().zip(palette).for_each(|(colour, entry)| *colour = *entry);
    if let Some(transparent) = transparent {
        colours[transparent] = [u8::MAX; 3];
    }
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(damaged)?;

    let mut rgb = colours[transparent.unwrap_or(0)].repeat(width * height);
    for (y, row) in indices.chunks_exact(frame_width.max(1)).enumerate() {
        let target = &mut rgb[3 * ((top + y) * width + left)..];
        target
            .as_chunks_mut::<3>()
            .0
            .iter_mut()
            .zip(row)
            .for_each(|(pixel, index)| *pixel = colours[usize::from(*index)]);
    }
    Ok(Picture { width, height, rgb })
}
