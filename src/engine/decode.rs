//! The answer, token by token: the decode step is recorded once and replayed, and what it drew is read back in batches.

use burn::tensor::Device;
use futures_lite::future::BoxedLocal;
use web_time::Instant;

use super::decode_buffers::DecodeBuffers;
use super::pace::Pace;
use super::request::{FinishReason, Output, since};
use crate::device::{self, Recorded};
use crate::error::{Error, Result};
use crate::kernels::{self, KvFormat, Precision};
use crate::model::LanguageModel;
use crate::text::sampling::Sampling;
use crate::text::stream::TextStream;
use crate::text::tokenizer::Tokenizer;

/// Records the step that runs the token drawn last through the decoder and draws the next.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost or the step cannot be recorded.
pub async fn record_step(decoder: &LanguageModel, buffers: &DecodeBuffers, device: &Device) -> Result<Recorded<()>> {
    // Greedy while recording: which shaders run does not depend on the values in the buffers.
    buffers.params.write(&Sampling::default().to_words(0));
    device::record(device, || step(decoder, buffers)).await
}

fn step(decoder: &LanguageModel, buffers: &DecodeBuffers) {
    let hidden = decoder.forward(decoder.embed_drawn(&buffers.state), &buffers.state);
    buffers.sample(decoder.logits(hidden));
}

/// What one answer is made with.
pub struct Decode<'a> {
    pub decoder: &'a LanguageModel,
    pub step: &'a Recorded<()>,
    pub buffers: &'a DecodeBuffers,
    pub tokenizer: &'a Tokenizer,
    pub eos_token_ids: &'a [u32],
    /// Strings that end the answer.
    pub stop: &'a [String],
    /// Most tokens to generate, for which the caches have room.
    pub max_tokens: usize,
    /// What rounds: told where logits are no numbers.
    pub kv_cache: KvFormat,
    pub precision: Precision,
}

impl Decode<'_> {
    /// Reads the drawn tokens back and queues further steps until there is a reason to end; fills in `output`. One batch
    /// of steps is queued behind the one that is waited for, so that the GPU does not stand still while the host reads. A
    /// device that runs a step at once runs the next one when the last token has been told. Returns the number of steps
    /// queued: some may lie beyond the end.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost, or if the model computes something that is no number.
    pub async fn run(
        &self,
        prefill_started: Instant,
        output: &mut Output,
        on_piece: &mut dyn FnMut(&str, usize) -> bool,
    ) -> Result<usize> {
        let mut text = TextStream::new(self.tokenizer, self.stop);
        let tokens = &mut output.token_ids;
        let mut queued = 0;
        let mut pace = Pace::new();
        let mut decode_started = Instant::now();
        let mut reading = self.buffers.tokens.read();
        let queues = self.step.queues();
        output.finish_reason = loop {
            // The prefill drew one more than the steps.
            let drawn = queued + 1;
            let ahead = if queues { self.queue(pace.batch(), &mut queued)? } else { None };
            let words = reading.await?;
            if tokens.is_empty() {
                output.timings.prefill = since(prefill_started);
                decode_started = Instant::now();
                pace = Pace::new();
            } else {
                pace.queue(drawn - tokens.len());
                pace.waited();
            }
            let mut piece = String::new();
            let mut reason = None;
            let logprobs = &words[words.len() / 2..];
            for (&token, &logprob) in words[..drawn].iter().zip(logprobs).skip(tokens.len()) {
                if token == kernels::BROKEN_LOGITS {
                    return Err(self.broken_logits(tokens.len()));
                }
                tokens.push(token);
                output.token_logprobs.push(f32::from_bits(logprob));
                reason = self.take(token, tokens.len(), &mut text, &mut piece)?;
                if reason.is_some() {
                    break;
                }
            }
            if !on_piece(&piece, tokens.len()) && reason.is_none() {
                reason = Some(FinishReason::Aborted);
            }
            if let Some(reason) = reason {
                break reason;
            }
            let next = if queues { ahead } else { self.queue(1, &mut queued)? };
            match next {
                Some(next) => reading = next,
                None => break FinishReason::Length,
            }
        };
        output.timings.decode = since(decode_started);
        if tokens.len() > 1 {
            output.timings.tokens_per_second = (tokens.len() - 1) as f64 * 1e3 / output.timings.decode.max(0.001);
        }
        output.completion_tokens = tokens.len();
        output.description = text.into_text().trim().to_string();
        Ok(queued)
    }

    /// Adds up to `steps` steps to those `queued`, and a read-back behind them; nothing where the answer is to have no more.
    fn queue(&self, steps: usize, queued: &mut usize) -> Result<Option<BoxedLocal<Result<Vec<u32>>>>> {
        let steps = steps.min(self.max_tokens - 1 - *queued);
        for _ in 0..steps {
            self.step.replay(|| step(self.decoder, self.buffers))?;
        }
        *queued += steps;
        Ok((steps > 0).then(|| self.buffers.tokens.read()))
    }

    /// Adds the text of `token`, the answer's number `count`, to `piece`; why the answer ends with it, if it does.
    fn take(
        &self,
        token: u32,
        count: usize,
        text: &mut TextStream<'_>,
        piece: &mut String,
    ) -> Result<Option<FinishReason>> {
        if self.eos_token_ids.contains(&token) {
            piece.push_str(&text.finish()?);
            return Ok(Some(FinishReason::Stop));
        }
        piece.push_str(&text.push(token)?);
        if text.stopped() {
            return Ok(Some(FinishReason::Stop));
        }
        if count == self.max_tokens {
            piece.push_str(&text.finish()?);
            return Ok(Some(FinishReason::Length));
        }
        Ok(None)
    }

    /// The error for logits that are no numbers, after `drawn` tokens that were: with what rounds most of what is in use.
    fn broken_logits(&self, drawn: usize) -> Error {
        let mut cures = Vec::new();
        if self.kv_cache == KvFormat::F16 {
            cures.push("load the model with `kv_cache: \"f32\"`");
        }
        if self.precision != Precision::Exact {
            cures.push("load the model with `precision: \"exact\"`");
        }
        cures.extend([
            "update the browser or the graphics driver",
            "convert the model again, from f32 or bf16 if there is one",
        ]);
        Error::Gpu(format!(
            "the model computed something that is no number after {drawn} token(s) of the answer: numbers became too large, or \
             a weight or a kernel variant (model.info.variants) is wrong here. In this order: {}",
            cures.join("; ")
        ))
    }
}
