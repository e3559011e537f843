//! What is asked, and what is answered.

use serde::{Deserialize, Serialize};
use web_time::Instant;

use crate::fields::{self, NoOther};
use crate::image::AspectRatio;
use crate::text::prompt::Message;
use crate::text::sampling::Sampling;

/// One request, in the hosted model's field names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Input {
    pub prompt: Option<String>,
    pub messages: Option<Vec<Message>>,
    /// Take the prompt as it stands, `<image>` included.
    pub raw: bool,
    /// Most tokens to generate; 512 where absent.
    #[serde(deserialize_with = "fields::count")]
    pub max_tokens: Option<usize>,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How a picture that is not square is made so; the checkpoint's own way where absent.
    pub image_aspect_ratio: Option<AspectRatio>,
    #[serde(flatten)]
    pub sampling: Sampling,
    #[serde(flatten)]
    pub no_other: NoOther,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its answer, or a stop string appeared.
    Stop,
    /// `max_tokens` or the context length was reached.
    Length,
    /// The caller's callback said so.
    Aborted,
}

/// Milliseconds spent, and the decode rate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timings {
    pub image: f64,
    pub prefill: f64,
    pub decode: f64,
    pub tokens_per_second: f64,
}

/// The answer to one request.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The model that answered, by its name in the manifest.
    pub model: String,
    pub description: String,
    /// Every generated token, the end-of-sequence token included.
    pub token_ids: Vec<u32>,
    /// The logarithm of the probability that the model gave to each of them, before penalties, temperature, top-k and top-p.
    pub token_logprobs: Vec<f32>,
    pub prompt_tokens: usize,
    /// Of those, positions whose keys and values were still there from the requests before.
    pub cached_tokens: usize,
    pub completion_tokens: usize,
    pub finish_reason: FinishReason,
    /// The seed that the answer was drawn with: the caller's, or one that was picked, below 2^53, so that a number of
    /// JavaScript holds it. `None` of greedy decoding (no `temperature`, or 0), which draws nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    pub timings: Timings,
}

/// Milliseconds since `start`.
pub(super) fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn inputs_are_read_or_the_field_is_named() {
        let read = |json: Value| serde_json::from_value::<Input>(json).map_err(|error| error.to_string());
        let input =
            read(json!({"prompt": "a", "max_tokens": 1u64 << 40, "top_k": 1u64 << 40, "seed": u64::MAX})).unwrap();
        assert_eq!(input.max_tokens, Some((1u64 << 40).try_into().unwrap_or(usize::MAX)));
        assert_eq!((input.sampling.top_k, input.sampling.seed), (Some(u32::MAX), Some(u64::MAX)));
        assert_eq!(read(json!({"max_tokens": null})).unwrap().max_tokens, None);
        for json in [json!({"max_token": 5}), json!({"prompt": "a", "top_p": 0.5, "max_token": 5})] {
            assert_eq!(read(json).unwrap_err(), "`max_token` is no field of an input");
        }
    }
}
