//! Smoothing between the blocks of a progressive picture of which scans are missing, as libjpeg-turbo does it (jdcoefct.c):
//! the first nine coefficients after the mean, where they are zero and not known to the last bit, are estimated from the
//! means of the blocks around.

use super::{
    entropy::ZIGZAG,
    frame::{Component, Frame, GREY},
};

/// Weights of the means of 5x5 blocks, by row and column.
type Kernel = [[i64; 5]; 5];

const fn transposed(kernel: Kernel) -> Kernel {
    let mut result = [[0; 5]; 5];
    let mut at = 0;
    while at < 25 {
        result[at % 5][at / 5] = kernel[at / 5][at % 5];
        at += 1;
    }
    result
}

/// Kernels of coefficients in coded order, where nothing but means is known; the first is of the mean itself.
const MEANS_ONLY: [Kernel; 10] = {
    let mean =
        [[-2, -6, -8, -6, -2], [-6, 6, 42, 6, -6], [-8, 42, 152, 42, -8], [-6, 6, 42, 6, -6], [-2, -6, -8, -6, -2]];
    let x = [[-1, -1, 0, 1, 1], [-3, 13, 0, -13, 3], [-3, 38, 0, -38, 3], [-3, 13, 0, -13, 3], [-1, -1, 0, 1, 1]];
    let xx = [[0; 5], [0, 2, -5, 2, 0], [1, 7, -14, 7, 1], [0, 2, -5, 2, 0], [0; 5]];
    let xy = [[-1, 0, 0, 0, 1], [0, 9, 0, -9, 0], [0; 5], [0, -9, 0, 9, 0], [1, 0, 0, 0, -1]];
    let xxx = [[0; 5], [0, 1, 0, -1, 0], [0, 2, 0, -2, 0], [0, 1, 0, -1, 0], [0; 5]];
    let xxy = [[0; 5], [0, 1, -3, 1, 0], [0; 5], [0, -1, 3, -1, 0], [0; 5]];
    [mean, x, transposed(x), transposed(xx), xy, xx, xxx, xxy, transposed(xxy), transposed(xxx)]
};

/// The same where some other coefficients are known.
const MORE_KNOWN: [Kernel; 6] = {
    let x = [[0; 5], [0; 5], [-7, 50, 0, -50, 7], [0; 5], [0; 5]];
    let xx = [[0; 5], [0; 5], [-1, 13, -24, 13, -1], [0; 5], [0; 5]];
    let xy = [[0, -1, 0, 1, 0], [-1, 10, 0, -10, 1], [0; 5], [1, -10, 0, 10, -1], [0, 1, 0, -1, 0]];
    [[[0; 5]; 5], x, transposed(x), transposed(xx), xy, xx]
};

/// How many coefficients can be estimated, in coded order, the mean included.
const ESTIMATED: usize = MEANS_ONLY.len();

impl Frame {
    /// The samples of a buffered frame.
    pub fn reconstruct(&mut self, smoothing: Option<&Smoothing>) {
        for component in &mut self.components {
            let blocks = std::mem::take(&mut component.coefficients);
            component.samples = vec![GREY; 64 * blocks.len()];
            let (width, height) = component.size_in_blocks();
            for place in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                match smoothing {
                    Some(smoothing) => {
                        let block = smoothing.block(component, &blocks, place);
                        component.reconstruct(place, &block);
                    }
                    None => component.reconstruct(place, &blocks[place.1 * component.blocks_x + place.0]),
                }
            }
        }
    }
}

/// What smoothing needs to know of a picture.
pub(super) struct Smoothing {
    /// Rows of coded units.
    rows: usize,
    /// The last such row that the last scan reached.
    last_good_row: usize,
    /// Whether there was more than one scan.
    several_scans: bool,
}

impl Smoothing {
    /// `None` where there is nothing to smooth: every coefficient is known, or the means are not.
    pub fn of(frame: &Frame, scans: usize, last_good_row: usize) -> Option<Self> {
        let possible = |component: &Component| {
            let divides = |steps: &[u16; 64]| ZIGZAG[..ESTIMATED].iter().all(|at| steps[*at] != 0);
            component.progress.now[0] >= 0 && component.quantization.as_ref().is_some_and(divides)
        };
        let useful = |component: &Component| component.progress.now[1..ESTIMATED].iter().any(|bits| *bits != 0);
        let smooth = frame.progressive && frame.components.iter().all(possible) && frame.components.iter().any(useful);
        smooth.then_some(Self { rows: frame.mcus.1, last_good_row, several_scans: scans > 1 })
    }

    /// The block at `(x, y)` with its estimates.
    pub fn block(&self, component: &Component, blocks: &[[i16; 64]], (x, y): (usize, usize)) -> [i16; 64] {
        let mut block = blocks[y * component.blocks_x + x];
        let Some(steps) = &component.quantization else { return block };
        let bits = match y / component.v > self.last_good_row {
            false => &component.progress.now,
            true if self.several_scans => &component.progress.before,
            true => &[-1; 64],
        };
        let means_only = bits[1..ESTIMATED].iter().all(|bits| *bits == -1);
        let kernels = if means_only { &MEANS_ONLY[..] } else { &MORE_KNOWN[..] };
        let means = self.means(component, blocks, (x, y));
        for (at, kernel) in kernels.iter().enumerate() {
            let position = ZIGZAG[at];
            let unknown = if at == 0 { means_only } else { bits[at] != 0 && block[position] == 0 };
            if unknown {
                let weighted =
                    kernel.as_flattened().iter().zip(means.as_flattened()).map(|(weight, mean)| weight * mean);
                let sum = i64::from(steps[0]) * weighted.sum::<i64>();
                let step = i64::from(steps[position]);
                let mut size = (((step << 7) + sum.abs()) / (step << 8)) as i32;
                if at > 0 && bits[at] > 0 {
                    // More would have shown in the bits that are known.
                    size = size.min((1 << bits[at]) - 1);
                }
                block[position] = if sum < 0 { size.wrapping_neg() } else { size } as i16;
            }
        }
        block
    }

    /// The means of the blocks around `(x, y)`. Beyond an edge, the block at the edge stands for them.
    fn means(&self, component: &Component, blocks: &[[i16; 64]], (x, y): (usize, usize)) -> [[i64; 5]; 5] {
        let (width, height) = component.size_in_blocks();
        let columns = [x.saturating_sub(2), x.saturating_sub(1), x, (x + 1).min(width - 1), (x + 2).min(width - 1)];
        // Only the last row of units is short. libjpeg counts rows as if all were; its edges follow from that.
        let unit_row = y / component.v;
        let filled = match height % component.v {
            short if short > 0 && unit_row + 1 == self.rows => short,
            _ => component.v,
        };
        let (row, rows) = (unit_row * filled + y % component.v, self.rows * filled);
        let above = if row > 0 { y - 1 } else { y };
        let far_above = if row > 1 { y - 2 } else { above };
        let below = if row + 1 < rows { y + 1 } else { y };
        let far_below = if row + 2 < rows { y + 2 } else { below };
        [far_above, above, y, below, far_below]
            .map(|row| columns.map(|column| i64::from(blocks[row * component.blocks_x + column][0])))
    }
}
