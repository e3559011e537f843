//! Depthwise convolution. A task computes a row of places, a few vectors of channels at a time, whose sums stay in registers.

use super::activation;
use super::simd::{Kernel, Simd, run};
use super::{Rows, team};
use crate::activation::Activation;
use crate::kernels::Window;

/// Vectors of channels at a time.
const VECTORS: usize = 4;

/// One row of places.
struct Row<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    window: Window,
    act: Activation,
    channels: usize,
    y: usize,
    /// `[out, channels]`
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for place in 0..self.window.out {
            let at = place * self.channels;
            let mut channel = 0;
            // SAFETY: the channels that are loaded and stored are those of the row.
            unsafe {
                let out = self.out.as_mut_ptr().add(at);
                while channel + VECTORS * S::LANES <= self.channels {
                    let sums = self.sums::<S, VECTORS>(place, channel);
                    for (i, sum) in sums.into_iter().enumerate() {
                        S::store(out.add(channel + i * S::LANES), sum);
                    }
                    channel += VECTORS * S::LANES;
                }
                while channel + S::LANES <= self.channels {
                    let [sum] = self.sums::<S, 1>(place, channel);
                    S::store(out.add(channel), sum);
                    channel += S::LANES;
                }
            }
            for channel in channel..self.channels {
                self.out[at + channel] = self.sum(place, channel);
            }
        }
        activation::apply(self.act, self.out);
    }
}

impl Row<'_> {
    /// The sums of `N` vectors of channels from `channel` on.
    #[inline(always)]
    unsafe fn sums<S: Simd, const N: usize>(&self, place: usize, channel: usize) -> [S::F; N] {
        let mut sums = [S::splat(0.0); N];
        unsafe {
            if let Some(bias) = self.bias {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = S::load(bias.as_ptr().add(channel + i * S::LANES));
                }
            }
            self.each(place, |value, factor| {
                let value = self.x.as_ptr().add(value + channel);
                let factor = self.weight.as_ptr().add(factor + channel);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let at = i * S::LANES;
                    *sum = S::mul_add(S::load(value.add(at)), S::load(factor.add(at)), *sum);
                }
            });
        }
        sums
    }

    /// The sum of one channel.
    #[inline(always)]
    fn sum(&self, place: usize, channel: usize) -> f32 {
        let mut sum = self.bias.map_or(0.0, |bias| bias[channel]);
        self.each(place, |value, factor| sum += self.x[value + channel] * self.weight[factor + channel]);
        sum
    }

    /// Where the first channel of x and of the weight lies, for each of the kernel's numbers that is on the map.
    #[inline(always)]
    fn each(&self, place: usize, mut term: impl FnMut(usize, usize)) {
        let Window { side, kernel, .. } = self.window;
        let ((rows, first_row), (cols, first_col)) = (self.window.covered(self.y), self.window.covered(place));
        for (row, ky) in rows.zip(first_row..) {
            for (col, kx) in cols.clone().zip(first_col..) {
                term((row * side + col) * self.channels, (ky * kernel + kx) * self.channels);
            }
        }
    }
}

/// `act(bias + x * weight)`, each channel with its own kernels.
pub fn depthwise(x: &[f32], weight: &[f32], bias: Option<&[f32]>, window: Window, act: Activation) -> Vec<f32> {
    let channels = weight.len() / (window.kernel * window.kernel);
    let multiple = channels * window.inputs() / x.len();
    let repeated: Vec<f32>;
    let x = match multiple {
        1 => x,
        _ => {
            repeated = x.iter().flat_map(|value| std::iter::repeat_n(*value, multiple)).collect();
            &repeated
        }
    };
    let mut out = vec![0.0; window.outputs() * channels];
    let width = window.out * channels;
    let rows = Rows::new(&mut out);
    team::each(window.out, |y| {
        // SAFETY: each task has a row of its own.
        let out = unsafe { rows.slice(y * width..(y + 1) * width) };
        run(Row { x, weight, bias, window, act, channels, y, out });
    });
    out
}
