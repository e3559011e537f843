//! Root-mean-square and layer normalization.

use super::Rows;
use super::dots::dot;
use super::simd::{Kernel, Simd, run};
use super::team;

/// Rows of a task.
const ROWS: usize = 8;

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let cols = self.weight.len();
        for (x, out) in self.x.chunks_exact(cols).zip(self.out.chunks_exact_mut(cols)) {
            let squares = unsafe { dot::<S>(x.as_ptr(), x.as_ptr(), cols) };
            let scale = 1.0 / (squares / cols as f32 + self.eps).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * scale * weight;
            }
        }
    }
}

/// `x / sqrt(mean(x²) + eps) * weight` of each row of x.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    by_rows(x, weight.len(), |x, out| run(RmsNorm { x, weight, eps, out }))
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let cols = self.weight.len();
        let ones = vec![1.0; cols];
        for (x, out) in self.x.chunks_exact(cols).zip(self.out.chunks_exact_mut(cols)) {
            let mean = unsafe { dot::<S>(x.as_ptr(), ones.as_ptr(), cols) } / cols as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let squares = unsafe { dot::<S>(out.as_ptr(), out.as_ptr(), cols) };
            let scale = 1.0 / (squares / cols as f32 + self.eps).sqrt();
            for ((out, weight), bias) in out.iter_mut().zip(self.weight).zip(self.bias) {
                *out = *out * scale * weight + bias;
            }
        }
    }
}

/// `(x - mean) / sqrt(var + eps) * weight + bias` of each row of x.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    by_rows(x, weight.len(), |x, out| run(LayerNorm { x, weight, bias, eps, out }))
}

/// What `task` makes of some rows of x at a time, in as many numbers.
fn by_rows(x: &[f32], cols: usize, task: impl Fn(&[f32], &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let step = ROWS * cols;
    let rows = Rows::new(&mut out);
    team::each(x.len().div_ceil(step), |index| {
        let range = index * step..x.len().min((index + 1) * step);
        // SAFETY: each task has rows of its own.
        let out = unsafe { rows.slice(range.clone()) };
        task(&x[range], out);
    });
    out
}
