//! Softmax attention. A task is a key/value head and some queries; the heads that share it are rows beside each other. Keys and
//! values are gone through a few hundred at a time, with a running maximum.

use super::activation::exp;
use super::dots::tile;
use super::simd::{Kernel, Simd, run};
use super::{Rows, team};
use crate::kernels::{Heads, KvFormat};

/// Positions at a time.
const CHUNK: usize = 128;
/// Queries of a task.
const QUERIES: usize = 32;
/// Rows and positions of a tile of scores.
const TILE_ROWS: usize = 3;
const TILE_POSITIONS: usize = 4;

/// Keys, or values, of all positions.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// Floats as their bits, or two f16 in a word.
    pub words: &'a [u32],
    pub format: KvFormat,
    /// Words from one position to the next, and to the first head.
    pub stride: usize,
    pub offset: usize,
}

impl Stored<'_> {
    /// Where `positions` of `head` lie as floats, and how far from each other: in place, or in `scratch`.
    #[inline(always)]
    fn floats<S: Simd>(
        &self,
        positions: std::ops::Range<usize>,
        head: usize,
        head_dim: usize,
        scratch: &mut [f32],
    ) -> (*const f32, usize) {
        let at = |position: usize| position * self.stride + self.offset + head * self.format.width(head_dim);
        assert!(at(positions.end - 1) + self.format.width(head_dim) <= self.words.len(), "positions in the cache");
        if self.format == KvFormat::F32 {
            return (self.words[at(positions.start)..].as_ptr().cast(), self.stride);
        }
        let half = head_dim / 2;
        let whole = half / S::LANES * S::LANES;
        for (position, out) in positions.zip(scratch.chunks_exact_mut(head_dim)) {
            let words = &self.words[at(position)..][..half];
            let (low, high) = out.split_at_mut(half);
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: `whole` is no more than either half has.
                unsafe {
                    let (a, b) = S::load_pairs(words.as_ptr().add(i));
                    S::store(low.as_mut_ptr().add(i), a);
                    S::store(high.as_mut_ptr().add(i), b);
                }
            }
            for i in whole..half {
                let value = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
                (low[i], high[i]) = (value(words[i]), value(words[i] >> 16));
            }
        }
        (scratch.as_ptr(), head_dim)
    }
}

/// Query `i` sees the positions `0..visible(i)`.
#[derive(Clone, Copy)]
pub enum Visible {
    /// Those up to its own, of as many as there are.
    Causal {
        position: usize,
        capacity: usize,
    },
    All(usize),
}

impl Visible {
    #[inline(always)]
    fn to(self, query: usize) -> usize {
        match self {
            Self::Causal { position, capacity } => (position + query + 1).min(capacity),
            Self::All(positions) => positions,
        }
    }
}

/// Queries: row `i` begins at `i * stride`.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    pub count: usize,
}

/// Attention of `q` over `k` and `v`; `[count, heads * head_dim]`.
pub fn attention(q: Queries, k: Stored, v: Stored, visible: Visible, heads: Heads) -> Vec<f32> {
    let width = heads.heads * heads.head_dim;
    let mut out = vec![0.0; q.count * width];
    let rows = Rows::new(&mut out);
    let parts = q.count.div_ceil(QUERIES);
    team::each(parts * heads.kv_heads, |task| {
        let (part, kv_head) = (task / heads.kv_heads, task % heads.kv_heads);
        let queries = part * QUERIES..q.count.min((part + 1) * QUERIES);
        run(Task { q, k, v, visible, heads, kv_head, queries, out: &rows });
    });
    out
}

struct Task<'a> {
    q: Queries<'a>,
    k: Stored<'a>,
    v: Stored<'a>,
    visible: Visible,
    heads: Heads,
    kv_head: usize,
    queries: std::ops::Range<usize>,
    out: &'a Rows<'a, f32>,
}

/// A query of one head: what it has seen so far.
struct Row {
    q: *const f32,
    visible: usize,
    top: f32,
    total: f32,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let sharing = heads / kv_heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut rows = Vec::with_capacity(self.queries.len() * sharing);
        for query in self.queries.clone() {
            for head in self.kv_head * sharing..(self.kv_head + 1) * sharing {
                let q = self.q.values[query * self.q.stride + head * head_dim..][..head_dim].as_ptr();
                rows.push(Row { q, visible: self.visible.to(query), top: f32::NEG_INFINITY, total: 0.0 });
            }
        }
        let positions = self.visible.to(self.queries.end - 1);
        // Floats are read where they lie.
        let scratch = if self.k.format == KvFormat::F32 { 0 } else { CHUNK * head_dim };
        let mut scratch = [vec![0.0; scratch], vec![0.0; scratch]];
        let mut scores = vec![0.0; rows.len() * CHUNK];
        let mut sums = vec![0.0; rows.len() * head_dim];
        for start in (0..positions).step_by(CHUNK) {
            let end = positions.min(start + CHUNK);
            let [of_keys, of_values] = &mut scratch;
            let (keys, stride) = self.k.floats::<S>(start..end, self.kv_head, head_dim, of_keys);
            for (rows, scores) in rows.chunks(TILE_ROWS).zip(scores.chunks_mut(TILE_ROWS * CHUNK)) {
                // The last row and the last position stand in for those past the end.
                let mut left = [std::ptr::null(); TILE_ROWS];
                for m in 0..TILE_ROWS {
                    left[m] = rows[m.min(rows.len() - 1)].q;
                }
                for first in (0..end - start).step_by(TILE_POSITIONS) {
                    let mut right = [std::ptr::null(); TILE_POSITIONS];
                    for n in 0..TILE_POSITIONS {
                        // SAFETY: `floats` has all positions up to `end`.
                        right[n] = unsafe { keys.add((first + n).min(end - start - 1) * stride) };
                    }
                    // SAFETY: a head's numbers each.
                    let products = unsafe { tile::<S, TILE_ROWS, TILE_POSITIONS>(left, right, head_dim) };
                    for m in 0..rows.len() {
                        for n in 0..TILE_POSITIONS {
                            scores[m * CHUNK + first + n] = products[m][n] * scale;
                        }
                    }
                }
            }
            let (values, stride) = self.v.floats::<S>(start..end, self.kv_head, head_dim, of_values);
            let each = rows.iter_mut().zip(scores.chunks_exact_mut(CHUNK)).zip(sums.chunks_exact_mut(head_dim));
            for ((row, scores), sums) in each {
                let seen = row.visible.saturating_sub(start).min(end - start);
                if seen > 0 {
                    row.weigh::<S>(&mut scores[..seen], sums);
                    // SAFETY: `floats` has all positions up to `end`.
                    unsafe { weighted::<S>(&scores[..seen], values, stride, sums) }
                }
            }
        }
        for (i, (row, sums)) in rows.iter().zip(sums.chunks_exact(head_dim)).enumerate() {
            let (query, head) = (self.queries.start + i / sharing, self.kv_head * sharing + i % sharing);
            let at = query * heads * head_dim + head * head_dim;
            // SAFETY: each row has elements of its own.
            let out = unsafe { self.out.slice(at..at + head_dim) };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum / row.total;
            }
        }
    }
}

impl Row {
    /// Makes weights of further `scores`, and fits the `sums` so far to a larger maximum.
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, scores: &mut [f32], sums: &mut [f32]) {
        let top = scores.iter().fold(self.top, |top, score| if *score > top { *score } else { top });
        if top > self.top {
            let shrink = (self.top - top).exp();
            self.total *= shrink;
            sums.iter_mut().for_each(|sum| *sum *= shrink);
            self.top = top;
        }
        let top = S::splat(top);
        let mut total = S::splat(0.0);
        let mut chunks = scores.chunks_exact_mut(S::LANES);
        for chunk in &mut chunks {
            // SAFETY: a vector's floats.
            unsafe {
                let weights = exp::<S>(S::sub(S::load(chunk.as_ptr()), top));
                total = S::add(total, weights);
                S::store(chunk.as_mut_ptr(), weights);
            }
        }
        let rest = chunks.into_remainder();
        let mut padded = [f32::NEG_INFINITY; 16];
        padded[..rest.len()].copy_from_slice(rest);
        // SAFETY: as above.
        unsafe { S::store(padded.as_mut_ptr(), exp::<S>(S::sub(S::load(padded.as_ptr()), top))) }
        rest.copy_from_slice(&padded[..rest.len()]);
        self.total += S::sum(total) + rest.iter().sum::<f32>();
    }
}

/// Adds the values, each with its weight, to `sums`.
#[inline(always)]
unsafe fn weighted<S: Simd>(weights: &[f32], values: *const f32, stride: usize, sums: &mut [f32]) {
    let mut d = 0;
    unsafe {
        while d + 4 * S::LANES <= sums.len() {
            columns::<S, 4>(weights, values.add(d), stride, sums.as_mut_ptr().add(d));
            d += 4 * S::LANES;
        }
        while d + S::LANES <= sums.len() {
            columns::<S, 1>(weights, values.add(d), stride, sums.as_mut_ptr().add(d));
            d += S::LANES;
        }
        for d in d..sums.len() {
            for (i, weight) in weights.iter().enumerate() {
                sums[d] += weight * *values.add(i * stride + d);
            }
        }
    }
}

/// [`weighted`] of `V` vectors.
#[inline(always)]
unsafe fn columns<S: Simd, const V: usize>(weights: &[f32], values: *const f32, stride: usize, sums: *mut f32) {
    unsafe {
        let mut sum = [S::splat(0.0); V];
        for v in 0..V {
            sum[v] = S::load(sums.add(v * S::LANES));
        }
        for (i, weight) in weights.iter().enumerate() {
            let weight = S::splat(*weight);
            for v in 0..V {
                sum[v] = S::mul_add(weight, S::load(values.add(i * stride + v * S::LANES)), sum[v]);
            }
        }
        for v in 0..V {
            S::store(sums.add(v * S::LANES), sum[v]);
        }
    }
}
