//! Channels at their own resolution to RGB rows, as libjpeg-turbo upsamples and converts them.

use super::frame::Component;

/// What the channels mean.
#[derive(Clone, Copy)]
pub(super) enum ColourSpace {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    /// CMYK with its first three channels turned into luma and chroma.
    Ycck,
}

/// `[height, width, 3]` bytes.
pub(super) fn to_rgb(width: usize, height: usize, components: &[Component], space: ColourSpace) -> Vec<u8> {
    let mut rows: Vec<Vec<u8>> = components.iter().map(|c| vec![0; c.width * c.stretch_x]).collect();
    let mut rgb = vec![0u8; 3 * width * height];
    for (y, target) in rgb.chunks_exact_mut(3 * width).enumerate() {
        components.iter().zip(&mut rows).for_each(|(component, row)| component.upsampled_row(y, row));
        for (x, pixel) in target.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = match space {
                ColourSpace::Grey => [rows[0][x]; 3],
                ColourSpace::Rgb => [rows[0][x], rows[1][x], rows[2][x]],
                ColourSpace::YCbCr => ycc_to_rgb(rows[0][x], rows[1][x], rows[2][x]),
                ColourSpace::Cmyk => ink_to_rgb([rows[0][x], rows[1][x], rows[2][x]], rows[3][x]),
                ColourSpace::Ycck => {
                    let light = ycc_to_rgb(rows[0][x], rows[1][x], rows[2][x]);
                    ink_to_rgb(light.map(|channel| 255 - channel), rows[3][x])
                }
            };
        }
    }
    rgb
}

/// JFIF's conversion with 16-bit fractions, each product rounded as libjpeg's tables are.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [red, green, blue].map(|channel| channel.clamp(0, 255) as u8)
}

/// Pillow takes every CMYK JPEG to hold inverted inks, as Adobe writes them, and mixes them by multiplication.
fn ink_to_rgb(inks: [u8; 3], black: u8) -> [u8; 3] {
    let light = i32::from(black);
    inks.map(|ink| {
        let product = (255 - i32::from(ink)) * light + 128;
        (light - ((product + (product >> 8)) >> 8)) as u8
    })
}

impl Component {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * 8 * self.blocks_x..][..self.width]
    }

    /// Row `y` of the whole picture, from this channel's samples. Factors of two are interpolated with a triangle filter
    /// (three quarters of the nearer sample), others repeat samples.
    fn upsampled_row(&self, y: usize, target: &mut [u8]) {
        let near = self.row(y / self.stretch_y);
        // The next nearest row; beyond the picture's edge, the edge itself.
        let far = match (self.stretch_y, y % 2) {
            (2, 0) => self.row((y / 2).saturating_sub(1)),
            (2, _) => self.row((y / 2 + 1).min(self.height - 1)),
            _ => near,
        };
        let wide_enough = self.width > 2;
        match (self.stretch_x, self.stretch_y) {
            (1, 1) => target.copy_from_slice(near),
            (1, 2) => {
                let bias = 1 + (y % 2) as u32;
                for ((sample, near), far) in target.iter_mut().zip(near).zip(far) {
                    *sample = ((3 * u32::from(*near) + u32::from(*far) + bias) >> 2) as u8;
                }
            }
            (2, 1) if wide_enough => widen(target, |x| u32::from(near[x]), (1, 2), 2),
            (2, 2) if wide_enough => {
                widen(target, |x| 3 * u32::from(near[x]) + u32::from(far[x]), (8, 7), 4);
            }
            (stretch, _) => {
                for (group, sample) in target.chunks_exact_mut(stretch).zip(near) {
                    group.fill(*sample);
                }
            }
        }
    }
}

/// Doubles a row: each sample gives two, mixed with the neighbour on either side, `>> shift` after adding the left or
/// the right bias (they differ so that rounding favours neither side).
fn widen(target: &mut [u8], sample: impl Fn(usize) -> u32, (left_bias, right_bias): (u32, u32), shift: u32) {
    let last = target.len() / 2 - 1;
    for (x, pair) in target.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let this = sample(x);
        let left = if x == 0 { this } else { sample(x - 1) };
        let right = if x == last { this } else { sample(x + 1) };
        *pair = [((3 * this + left + left_bias) >> shift) as u8, ((3 * this + right + right_bias) >> shift) as u8];
    }
}
