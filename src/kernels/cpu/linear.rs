//! Linear layers with what follows them. A task computes [`BLOCK_ROWS`] of the weight's rows: for one row of x straight from
//! the stored weight, for many from a few hundred columns at a time that it has decoded into the cache.

use super::activation;
use super::dots::tile;
use super::formats::for_format;
use super::input::Input;
use super::simd::{Kernel, Simd, run};
use super::weight::{Matrix, Stored};
use super::{Rows, team};
use crate::kernels::{Activation, Heads, KvFormat};

/// Rows of a weight that a task computes: two halves, whose rows are pairs where the epilogue takes pairs.
const BLOCK_ROWS: usize = 16;
const HALF: usize = BLOCK_ROWS / 2;
/// Columns that are decoded at a time: with the rows of a task 32 KiB.
const CHUNK: usize = 512;
/// Weights that a task has at least, when there is one row of x.
const TASK_WEIGHTS: usize = 1 << 17;
/// Tasks that there are at least for all cores to share, where the weight has so many blocks.
const FEWEST_TASKS: usize = 8;

/// What becomes of the sums.
enum Epilogue<'a> {
    /// `act(sum) + residual`
    Sum {
        act: Activation,
        residual: Option<&'a [f32]>,
    },
    /// `act(gate) * up`
    Gated {
        act: Activation,
    },
    RopeCache(RopeCache<'a>),
}

/// Queries and keys are rotated; keys and values go to the cache.
struct RopeCache<'a> {
    rope: &'a [f32],
    k: Rows<'a, u32>,
    v: Rows<'a, u32>,
    position: usize,
    capacity: usize,
    heads: Heads,
    format: KvFormat,
}

struct Linear<'a> {
    x: &'a [f32],
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
    epilogue: Epilogue<'a>,
    /// `[n, width]`
    out: Rows<'a, f32>,
    width: usize,
}

/// `act(x Wᵀ + bias) + residual`
pub fn linear(x: &[f32], weight: Matrix, bias: Option<&[f32]>, residual: Option<&[f32]>, act: Activation) -> Vec<f32> {
    let width = weight.rows;
    let mut out = vec![0.0; x.len() / weight.cols * width];
    let epilogue = Epilogue::Sum { act, residual };
    Linear { x, weight, bias, epilogue, out: Rows::new(&mut out), width }.all();
    out
}

/// `act(gate) * up`, where `x Wᵀ + bias` is all of gate, then all of up.
pub fn linear_gated(x: &[f32], weight: Matrix, bias: Option<&[f32]>, act: Activation) -> Vec<f32> {
    let width = weight.rows / 2;
    let mut out = vec![0.0; x.len() / weight.cols * width];
    Linear { x, weight, bias, epilogue: Epilogue::Gated { act }, out: Rows::new(&mut out), width }.all();
    out
}

/// The cache that [`linear_rope_cache`] writes, from row `position` on.
pub struct CacheMut<'a> {
    pub k: &'a mut [u32],
    pub v: &'a mut [u32],
    pub format: KvFormat,
    pub position: usize,
}

/// Rotated queries, where `x Wᵀ + bias` is all of q, then k, then v; the keys, rotated too, and values go to `cache`.
pub fn linear_rope_cache(
    x: &[f32],
    weight: Matrix,
    bias: Option<&[f32]>,
    rope: &[f32],
    cache: CacheMut,
    heads: Heads,
) -> Vec<f32> {
    let width = heads.heads * heads.head_dim;
    let mut out = vec![0.0; x.len() / weight.cols * width];
    let CacheMut { k, v, format, position } = cache;
    let capacity = rope.len() / heads.head_dim;
    let (k, v) = (Rows::new(k), Rows::new(v));
    let epilogue = Epilogue::RopeCache(RopeCache { rope, k, v, position, capacity, heads, format });
    Linear { x, weight, bias, epilogue, out: Rows::new(&mut out), width }.all();
    out
}

impl Linear<'_> {
    fn all(&self) {
        let Matrix { rows, cols, .. } = self.weight;
        let n = self.x.len() / cols;
        let blocks = match self.epilogue {
            Epilogue::Sum { .. } => rows.div_ceil(BLOCK_ROWS),
            Epilogue::Gated { .. } | Epilogue::RopeCache(_) => (rows / 2).div_ceil(HALF),
        };
        if n == 1 {
            let input = Input::new(self.x, self.weight.format);
            let of_task = (TASK_WEIGHTS / (cols * BLOCK_ROWS)).min(blocks.div_ceil(FEWEST_TASKS)).max(1);
            team::each(blocks.div_ceil(of_task), |task| {
                for block in task * of_task..blocks.min((task + 1) * of_task) {
                    run(One { linear: self, input: &input, block });
                }
            });
        } else {
            team::each(blocks, |block| run(Many { linear: self, block }));
        }
    }

    /// The rows of the weight whose sums make a block. Those past the end are the last one once more.
    #[inline(always)]
    fn rows(&self, block: usize) -> [usize; BLOCK_ROWS] {
        let distance = match &self.epilogue {
            Epilogue::Sum { .. } => {
                let mut rows = [0; BLOCK_ROWS];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = (block * BLOCK_ROWS + i).min(self.weight.rows - 1);
                }
                return rows;
            }
            Epilogue::Gated { .. } => self.weight.rows / 2,
            Epilogue::RopeCache(RopeCache { heads, .. }) => heads.head_dim / 2,
        };
        let mut rows = [0; BLOCK_ROWS];
        for i in 0..HALF {
            let pair = (block * HALF + i).min(self.weight.rows / 2 - 1);
            let first = pair / distance * 2 * distance + pair % distance;
            (rows[i], rows[HALF + i]) = (first, first + distance);
        }
        rows
    }

    /// Makes of a block's sums, over row `i` of x, what becomes of them. They are those of the rows of [`Self::rows`].
    #[inline(always)]
    fn finish(&self, i: usize, block: usize, rows: &[usize; BLOCK_ROWS], sums: &mut [f32; BLOCK_ROWS]) {
        if let Some(bias) = self.bias {
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum += bias[*row];
            }
        }
        match &self.epilogue {
            Epilogue::Sum { act, residual } => {
                activation::apply(*act, sums);
                let at = block * BLOCK_ROWS;
                let range = i * self.width + at..i * self.width + self.width.min(at + BLOCK_ROWS);
                // SAFETY: each block has columns of its own.
                let out = unsafe { self.out.slice(range.clone()) };
                out.copy_from_slice(&sums[..out.len()]);
                if let Some(residual) = residual {
                    for (out, residual) in out.iter_mut().zip(&residual[range]) {
                        *out += residual;
                    }
                }
            }
            Epilogue::Gated { act } => {
                let (gate, up) = sums.split_at_mut(HALF);
                activation::apply(*act, gate);
                let at = block * HALF;
                // SAFETY: each block has columns of its own.
                let out = unsafe { self.out.slice(i * self.width + at..i * self.width + self.width.min(at + HALF)) };
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = *gate * *up;
                }
            }
            Epilogue::RopeCache(rope_cache) => self.rotate(rope_cache, i, block, sums),
        }
    }

    fn rotate(&self, rope_cache: &RopeCache, i: usize, block: usize, sums: &[f32; BLOCK_ROWS]) {
        let RopeCache { rope, k, v, position, capacity, heads, format } = rope_cache;
        let Heads { heads, kv_heads, head_dim } = *heads;
        let (half, at) = (head_dim / 2, position + i);
        if at >= *capacity {
            return;
        }
        let (cos, sin) = rope[at * head_dim..][..head_dim].split_at(half);
        for (pair, (a, b)) in (block * HALF..self.weight.rows / 2).zip(sums[..HALF].iter().zip(&sums[HALF..])) {
            let (head, j) = (pair / half, pair % half);
            let turned = (a * cos[j] - b * sin[j], b * cos[j] + a * sin[j]);
            if head < heads {
                let first = i * self.width + head * head_dim + j;
                // SAFETY: each pair has elements of its own, here and in the caches.
                unsafe { (*self.out.at(first), *self.out.at(first + half)) = turned }
                continue;
            }
            let (cache, head, (a, b)) = match head - heads {
                key if key < kv_heads => (k, key, turned),
                value => (v, value - kv_heads, (*a, *b)),
            };
            let first = at * format.width(kv_heads * head_dim) + head * format.width(head_dim) + j;
            let bits = |value| u32::from(half::f16::from_f32(value).to_bits());
            // SAFETY: as above.
            unsafe {
                match format {
                    KvFormat::F32 => (*cache.at(first), *cache.at(first + half)) = (a.to_bits(), b.to_bits()),
                    KvFormat::F16 => *cache.at(first) = bits(a) | bits(b) << 16,
                }
            }
        }
    }
}

/// A block of rows with one row of x.
struct One<'a> {
    linear: &'a Linear<'a>,
    input: &'a Input<'a>,
    block: usize,
}

impl Kernel for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        const TOGETHER: usize = 4;
        let rows = self.linear.rows(self.block);
        let mut sums = [0.0; BLOCK_ROWS];
        for (rows, sums) in rows.as_chunks::<TOGETHER>().0.iter().zip(sums.as_chunks_mut::<TOGETHER>().0) {
            let weight = &self.linear.weight;
            *sums = for_format!(weight, Format => Format::dots::<S, TOGETHER>(weight, *rows, self.input));
        }
        self.linear.finish(0, self.block, &rows, &mut sums);
    }
}

/// A block of rows with every row of x.
struct Many<'a> {
    linear: &'a Linear<'a>,
    block: usize,
}

impl Kernel for Many<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // What the registers hold: 32 of 16 floats, 16 of 8, and 16 of 4 that must hold products too.
        match S::LANES {
            16 => self.tiled::<S, 5, 4>(),
            8 => self.tiled::<S, 3, 4>(),
            _ => self.tiled::<S, 2, 4>(),
        }
    }
}

impl Many<'_> {
    /// In tiles of `M` rows of x and `N` of the weight.
    #[inline(always)]
    fn tiled<S: Simd, const M: usize, const N: usize>(self) {
        let Linear { x, weight, .. } = self.linear;
        let cols = weight.cols;
        let n = x.len() / cols;
        let rows = self.linear.rows(self.block);
        let mut panel = vec![0.0; BLOCK_ROWS * CHUNK.min(cols)];
        let mut sums = vec![[0.0; BLOCK_ROWS]; n];
        for start in (0..cols).step_by(CHUNK) {
            let len = CHUNK.min(cols - start);
            for (row, out) in rows.iter().zip(panel.chunks_exact_mut(len)) {
                for_format!(weight, Format => Format::decode::<S>(weight, *row, start..start + len, out));
            }
            for first in (0..n).step_by(M) {
                // The last row stands in for those past the end.
                let mut left = [std::ptr::null(); M];
                for m in 0..M {
                    left[m] = x[(first + m).min(n - 1) * cols + start..].as_ptr();
                }
                for column in (0..BLOCK_ROWS).step_by(N) {
                    let mut right = [std::ptr::null(); N];
                    for i in 0..N {
                        right[i] = panel[(column + i) * len..].as_ptr();
                    }
                    // SAFETY: all of these rows have `len` more floats.
                    let products = unsafe { tile::<S, M, N>(left, right, len) };
                    for m in 0..M.min(n - first) {
                        for i in 0..N {
                            sums[first + m][column + i] += products[m][i];
                        }
                    }
                }
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            self.linear.finish(i, self.block, &rows, sums);
        }
    }
}
