//! Draws a token, as [`crate::kernels::sample`] says; on one core, because its passes over the vocabulary are short.

use std::borrow::Cow;

use super::activation::exp;
use super::simd::{Kernel, Simd, run};
use crate::kernels::BROKEN_LOGITS;
use crate::kernels::sample::uniform;

/// Draws from `logits`, in the order of the vocabulary.
pub fn sample(logits: &[f32], params: &[u32], seen: &mut [u32], tokens: &mut [u32], state: &mut [u32]) {
    let step = state[1];
    let (tokens, logprobs) = tokens.split_at_mut(tokens.len() / 2);
    let Some((token, logprob)) = tokens.get_mut(step as usize).zip(logprobs.get_mut(step as usize)) else { return };
    let Found { finite, top } = run(Extent(logits));
    *token = BROKEN_LOGITS;
    if finite {
        let scores = Scores::new(logits, params, seen);
        let drawn = if params[0] != 0 { scores.largest() } else { scores.draw(params, step) };
        seen[drawn] += 2;
        *token = drawn as u32;
        *logprob = (logits[drawn] - top - run(Mass(logits, top)).ln()).to_bits();
    }
    (state[0], state[1], state[2]) = (state[0] + 1, step + 1, *token);
}

/// What logits are, in one pass.
struct Extent<'a>(&'a [f32]);

struct Found {
    finite: bool,
    /// The largest.
    top: f32,
}

impl Kernel for Extent<'_> {
    type Output = Found;

    #[inline(always)]
    fn run<S: Simd>(self) -> Found {
        let whole = self.0.len() / S::LANES * S::LANES;
        let (mut zeros, mut tops) = ([S::splat(0.0); 2], [S::splat(f32::NEG_INFINITY); 2]);
        for (i, at) in (0..whole).step_by(S::LANES).enumerate() {
            // SAFETY: there are so many.
            let values = unsafe { S::load(self.0.as_ptr().add(at)) };
            // Products with 0 add up to 0 where all are finite.
            zeros[i % 2] = S::mul_add(values, S::splat(0.0), zeros[i % 2]);
            tops[i % 2] = S::max(values, tops[i % 2]);
        }
        let mut lanes = [f32::NEG_INFINITY; 16];
        // SAFETY: a vector has 16 lanes at most.
        unsafe { S::store(lanes.as_mut_ptr(), S::max(tops[0], tops[1])) };
        let rest = &self.0[whole..];
        let finite = S::sum(S::add(zeros[0], zeros[1])) == 0.0 && rest.iter().all(|value| value.is_finite());
        Found { finite, top: lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max) }
    }
}

/// The sum of exp(logit - top) over logits, of which `.1` is the largest.
struct Mass<'a>(&'a [f32], f32);

impl Kernel for Mass<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let Self(logits, top) = self;
        let whole = logits.len() / S::LANES * S::LANES;
        let mut sum = S::splat(0.0);
        for at in (0..whole).step_by(S::LANES) {
            // SAFETY: there are so many.
            let logits = unsafe { S::load(logits.as_ptr().add(at)) };
            sum = S::add(sum, exp::<S>(S::sub(logits, S::splat(top))));
        }
        S::sum(sum) + logits[whole..].iter().map(|logit| (logit - top).exp()).sum::<f32>()
    }
}

/// Logits after the penalties.
struct Scores<'a>(Cow<'a, [f32]>);

impl<'a> Scores<'a> {
    fn new(logits: &'a [f32], params: &[u32], seen: &[u32]) -> Self {
        let [repetition, frequency, presence] = [6, 7, 8].map(|i| f32::from_bits(params[i]));
        if (repetition, frequency, presence) == (1.0, 0.0, 0.0) {
            return Self(logits.into());
        }
        let penalized = |(logit, seen): (&f32, &u32)| {
            if *seen == 0 {
                return *logit;
            }
            let score = if *logit < 0.0 { logit * repetition } else { logit / repetition };
            let count = seen >> 1;
            score - count as f32 * frequency - u32::from(count > 0) as f32 * presence
        };
        Self(logits.iter().zip(seen).map(penalized).collect())
    }

    /// The first of the largest.
    fn largest(&self) -> usize {
        let top = run(Extent(&self.0)).top;
        self.0.iter().position(|score| *score == top).unwrap_or(0)
    }

    fn draw(mut self, params: &[u32], step: u32) -> usize {
        let (temperature, top_k, top_p) = (f32::from_bits(params[1]), params[2] as usize, f32::from_bits(params[3]));
        self.0.to_mut().iter_mut().for_each(|score| *score /= temperature);
        let largest = self.largest();
        let top = self.0[largest];
        let weight = |score: f32| f64::from((score - top).exp());
        let lowest = self.lowest(top_k, top_p, weight);
        let kept = || self.0.iter().enumerate().filter(|(_, score)| **score >= lowest);
        let target =
            f64::from(uniform(params[4], params[5], step)) * kept().map(|(_, score)| weight(*score)).sum::<f64>();
        let (mut token, mut mass) = (largest, 0.0);
        for (i, weight) in kept().map(|(i, score)| (i, weight(*score))).filter(|(_, weight)| *weight > 0.0) {
            token = i;
            mass += weight;
            if mass > target {
                break;
            }
        }
        token
    }

    /// The lowest score that `top_k` and `top_p` keep.
    fn lowest(&self, top_k: usize, top_p: f32, weight: impl Fn(f32) -> f64) -> f32 {
        let mut scores = self.0.to_vec();
        let descending = |a: &f32, b: &f32| b.total_cmp(a);
        let mut lowest = f32::NEG_INFINITY;
        if top_k > 0 && top_k < scores.len() {
            lowest = *scores.select_nth_unstable_by(top_k - 1, descending).1;
        } else if top_k > 0 {
            lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
        }
        if top_p >= 1.0 {
            return lowest;
        }
        scores.retain(|score| *score >= lowest);
        // Only the largest are needed in order: as many more as it takes.
        let total: f64 = scores.iter().map(|score| weight(*score)).sum();
        let (mut sorted, mut mass) = (0, 0.0);
        while sorted < scores.len() {
            let end = scores.len().min((2 * sorted).max(64));
            if end < scores.len() {
                scores[sorted..].select_nth_unstable_by(end - sorted, descending);
            }
            scores[sorted..end].sort_unstable_by(descending);
            for score in &scores[sorted..end] {
                if mass > 0.0 && mass >= f64::from(top_p) * total {
                    return lowest;
                }
                lowest = *score;
                mass += weight(*score);
            }
            sorted = end;
        }
        lowest
    }
}
