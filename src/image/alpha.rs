//! Transparency: a picture is shown on white, as on a page and as in transformers.

/// `[pixels, 4]` bytes, alpha last and not premultiplied, to `[pixels, 3]`.
pub(super) fn rgba_on_white(rgba: &[u8]) -> Vec<u8> {
    let pixels = rgba.as_chunks::<4>().0.iter();
    let rgb: Vec<_> = pixels.map(|[red, green, blue, alpha]| on_white([*red, *green, *blue], *alpha)).collect();
    rgb.into_flattened()
}

/// `[pixels, 2]` bytes of grey and alpha to `[pixels, 3]`.
pub(super) fn grey_on_white(grey: &[u8]) -> Vec<u8> {
    let pixels = grey.as_chunks::<2>().0.iter();
    pixels.map(|[grey, alpha]| on_white([*grey; 3], *alpha)).collect::<Vec<_>>().into_flattened()
}

/// Rounded to the nearest, as Pillow's `alpha_composite`.
pub(super) fn on_white(colour: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    colour.map(|channel| {
        let half = u32::from(channel) * alpha + 255 * (255 - alpha) + 128;
        // A division by 255, exact up to 255 * 255.
        ((half + (half >> 8)) >> 8) as u8
    })
}
