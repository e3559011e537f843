//! How the next token is chosen: the caller's settings, checked, and their form on the GPU.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Sampling settings with the hosted model's names. Without `temperature` (or with 0) decoding is greedy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Logits are divided by it; 0 or absent means greedy.
    pub temperature: Option<f32>,
    /// Keep the smallest set of tokens whose probability reaches this.
    pub top_p: Option<f32>,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[serde(deserialize_with = "crate::fields::count")]
    pub top_k: Option<u32>,
    /// Same seed, same text, as long as model, load options, adapter and kernel variants are the same.
    pub seed: Option<u64>,
    /// As in transformers: over prompt and generated tokens, logits are divided (positive) or multiplied by it.
    pub repetition_penalty: Option<f32>,
    /// As in OpenAI's API: subtracted once for each time the token was generated.
    pub frequency_penalty: Option<f32>,
    /// As in OpenAI's API: subtracted once if the token was generated at all.
    pub presence_penalty: Option<f32>,
}

impl Sampling {
    /// Number of 32-bit words of [`Sampling::to_words`].
    pub const WORDS: usize = 12;

    /// Checks every field's range.
    pub fn validate(&self) -> Result<()> {
        let within = |field: &'static str, value: Option<f32>, low: f32, high: f32| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err(Error::input(field, format!("must be from {low} to {high}, but it is {value}")))
            }
            _ => Ok(()),
        };
        within("temperature", self.temperature, 0.0, 5.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("repetition_penalty", self.repetition_penalty, 0.0, 2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        if self.repetition_penalty == Some(0.0) {
            return Err(Error::input("repetition_penalty", "must be above 0; 1 switches it off"));
        }
        Ok(())
    }

    /// Whether tokens are drawn by chance; greedy decoding takes the likeliest.
    pub fn draws(&self) -> bool {
        self.temperature.unwrap_or(0.0) != 0.0
    }

    /// The words the `sample` kernel reads: greedy flag, temperature, top_k, top_p, seed (low, high), then the
    /// repetition, frequency and presence penalties; floats as their bits. `fallback_seed` is used where none is set.
    pub fn to_words(&self, fallback_seed: u64) -> [u32; Self::WORDS] {
        let seed = self.seed.unwrap_or(fallback_seed);
        let mut words = [0; Self::WORDS];
        words[0] = !self.draws() as u32;
        words[1] = self.temperature.unwrap_or(0.0).to_bits();
        words[2] = self.top_k.unwrap_or(0);
        words[3] = self.top_p.unwrap_or(1.0).to_bits();
        words[4] = seed as u32;
        words[5] = (seed >> 32) as u32;
        words[6] = self.repetition_penalty.unwrap_or(1.0).to_bits();
        words[7] = self.frequency_penalty.unwrap_or(0.0).to_bits();
        words[8] = self.presence_penalty.unwrap_or(0.0).to_bits();
        words
    }
}
