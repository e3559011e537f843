//! Draws the next token where the logits are: penalties, temperature, top-k, top-p and the draw itself, or the largest logit;
//! then leaves the token where the next step reads it.

use super::*;
use crate::device::{each_kind, kind};

/// Recorded instead of a token where a logit is no finite number.
pub const BROKEN_LOGITS: u32 = 0xffff_fffe;

/// Draws one token and records it, in place: `tokens[0][step] = token; tokens[1][step] = its log-probability; seen[token] += 2;
/// state = [position + 1, step + 1, token]`. The log-probability is an f32's bits: the logarithm of the softmax of the logits as they
/// are, whatever is asked of the draw. Once `step` has reached `max_new` it does nothing. If a logit is no finite number the token is
/// [`BROKEN_LOGITS`], and `seen` stays as it is.
///
/// `params` are words, floats as their bits: greedy flag, temperature, top_k (0 keeps all), top_p (1 keeps all), seed
/// (low, high), repetition, frequency and presence penalty. Penalties come first and apply to greedy decoding too; then
/// temperature, top_k and top_p as in transformers, ties with the last one kept being kept too. The draw hashes seed
/// and step: same seed, same token on the same kind of adapter.
///
/// `seen[t]`: bit 0 says that the token is in the prompt, the other bits count how often it was generated.
///
/// # Shapes
/// - `logits`: `[1, vocab]`, `params`: `[9..]`, `seen`: `[vocab]`, `tokens`: `[2, max_new]`, `state`: `[4]`
pub fn sample(logits: Tensor<2>, params: &Buffer, seen: &Buffer, tokens: &Buffer, state: &Buffer) {
    let [params, seen, tokens, state] = [params, seen, tokens, state].map(Buffer::clone);
    Dispatch::sample(logits.into_dispatch(), params, seen, tokens, state);
}

/// In how many runs a draw on this device goes through the vocabulary: token `i` is in run `i % lanes`.
pub fn sample_lanes(device: &Device) -> usize {
    each_kind!(Kind, kind(device), |B, _| B::sample_lanes())
}

/// [`sample`] on plain slices, with the same random numbers, and with the order of the vocabulary that [`sample_lanes`] tells.
pub fn naive(logits: &[f32], lanes: usize, params: &[u32], seen: &mut [u32], tokens: &mut [u32], state: &mut [u32]) {
    let step = state[1];
    let (tokens, logprobs) = tokens.split_at_mut(tokens.len() / 2);
    if step as usize >= tokens.len() {
        return;
    }
    let float = |i: usize| f32::from_bits(params[i]);
    let (greedy, temperature, top_k, top_p) = (params[0] != 0, float(1), params[2] as usize, float(3));
    let penalized = |(logit, seen): (&f32, &u32)| {
        let mut score = *logit;
        if *seen != 0 {
            score = if score < 0.0 { score * float(6) } else { score / float(6) };
        }
        let count = seen >> 1;
        score - count as f32 * float(7) - (count > 0) as u32 as f32 * float(8)
    };
    let mut scores: Vec<f32> = logits.iter().zip(seen.iter()).map(penalized).collect();
    let mut token = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[token] {
            token = i;
        }
    }
    if logits.iter().any(|logit| !logit.is_finite()) {
        tokens[step as usize] = BROKEN_LOGITS;
        (state[0], state[1], state[2]) = (state[0] + 1, step + 1, BROKEN_LOGITS);
        return;
    }
    if !greedy {
        let top = scores[token] / temperature;
        scores.iter_mut().for_each(|score| *score /= temperature);
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut lowest = if top_k == 0 { f32::NEG_INFINITY } else { sorted[top_k.min(sorted.len()) - 1] };
        if top_p < 1.0 {
            let kept: Vec<f32> = sorted.iter().copied().filter(|score| *score >= lowest).collect();
            let total: f64 = kept.iter().map(|score| (score - top).exp() as f64).sum();
            let mut mass = 0.0;
            for score in kept {
                if mass > 0.0 && mass >= top_p as f64 * total {
                    break;
                }
                lowest = score;
                mass += (score - top).exp() as f64;
            }
        }
        let weight = |i: usize| if scores[i] >= lowest { (scores[i] - top).exp() as f64 } else { 0.0 };
        let order = || (0..lanes).flat_map(|lane| (lane..scores.len()).step_by(lanes));
        let target = uniform(params[4], params[5], step) as f64 * order().map(weight).sum::<f64>();
        let mut mass = 0.0;
        for i in order().filter(|i| weight(*i) > 0.0) {
            token = i;
            mass += weight(i);
            if mass > target {
                break;
            }
        }
    }
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mass: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
    logprobs[step as usize] = ((f64::from(logits[token] - top) - mass.ln()) as f32).to_bits();
    tokens[step as usize] = token as u32;
    seen[token] += 2;
    (state[0], state[1], state[2]) = (state[0] + 1, step + 1, token as u32);
}

/// A number in `[0, 1)` for a seed and a step.
pub(super) fn uniform(seed_low: u32, seed_high: u32, step: u32) -> f32 {
    (mix(seed_low ^ mix(seed_high ^ mix(step.wrapping_add(0x9e3779b9)))) >> 8) as f32 / 16777216.0
}

/// Chris Wellons' `lowbias32` integer hash.
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846ca68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greedy off, the settings given as floats, then the penalties.
    fn params(temperature: f32, top_k: u32, top_p: f32, penalties: [f32; 3]) -> Vec<u32> {
        let mut words = vec![0, temperature.to_bits(), top_k, top_p.to_bits(), 1, 2];
        words.extend(penalties.map(f32::to_bits));
        words
    }

    /// How often each token is drawn in `draws` steps that see the same logits.
    fn histogram(logits: &[f32], params: &[u32], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; logits.len()];
        let (mut tokens, mut state) = (vec![0; 2 * draws], vec![0; 4]);
        for _ in 0..draws {
            naive(logits, 1, params, &mut vec![0; logits.len()], &mut tokens, &mut state);
            counts[state[2] as usize] += 1;
        }
        counts
    }

    #[test]
    fn draws_follow_the_softmax() {
        // Probabilities 0.644, 0.237, 0.087, 0.032.
        let counts = histogram(&[2.0, 1.0, 0.0, -1.0], &params(1.0, 0, 1.0, [1.0, 0.0, 0.0]), 20000);
        for (count, expected) in counts.iter().zip([0.644, 0.237, 0.087, 0.032]) {
            assert!((*count as f64 / 20000.0 - expected).abs() < 0.012, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_keep_what_transformers_keeps() {
        let logits = [2.0, 1.0, 0.0, -1.0];
        let kept = |top_k, top_p| {
            let counts = histogram(&logits, &params(1.0, top_k, top_p, [1.0, 0.0, 0.0]), 2000);
            counts.iter().filter(|count| **count > 0).count()
        };
        assert_eq!(kept(1, 1.0), 1);
        assert_eq!(kept(3, 1.0), 3);
        assert_eq!(kept(0, 0.0), 1);
        assert_eq!(kept(0, 0.6), 1);
        assert_eq!(kept(0, 0.7), 2);
        assert_eq!(kept(0, 0.9), 3);
        // Of the two that top_k leaves, the first has 0.73 of the mass.
        assert_eq!(kept(2, 0.7), 1);
    }

    #[test]
    fn penalties_apply_to_greedy_decoding() {
        let greedy = |logits: &[f32], seen: &[u32], penalties| {
            let mut params = params(0.0, 0, 1.0, penalties);
            params[0] = 1;
            let mut state = vec![0; 4];
            naive(logits, 1, &params, &mut seen.to_vec(), &mut [0; 2], &mut state);
            state[2]
        };
        assert_eq!(greedy(&[1.0, -1.0, 0.9], &[0, 0, 0], [2.0, 0.0, 0.0]), 0);
        assert_eq!(greedy(&[1.0, -1.0, 0.9], &[1, 0, 0], [2.0, 0.0, 0.0]), 2);
        // A negative score is multiplied: away from the maximum too.
        assert_eq!(greedy(&[-3.0, -2.0, -2.5], &[0, 2, 0], [2.0, 0.0, 0.0]), 2);
        // The prompt does not count as generated.
        assert_eq!(greedy(&[1.0, 0.9], &[1, 0], [1.0, 0.5, 0.5]), 0);
        assert_eq!(greedy(&[1.0, 0.9], &[2, 0], [1.0, 0.0, 0.5]), 1);
        assert_eq!(greedy(&[1.0, 0.5], &[4, 0], [1.0, 0.2, 0.0]), 0);
        assert_eq!(greedy(&[1.0, 0.5], &[6, 0], [1.0, 0.2, 0.0]), 1);
        // The lowest of equal maxima.
        assert_eq!(greedy(&[0.5, 1.0, 1.0], &[0; 3], [1.0, 0.0, 0.0]), 1);
    }
}
