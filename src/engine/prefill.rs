//! Runs a prompt through the decoder, so that the caches hold it, and draws the first token of the answer.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::decode_buffers::DecodeBuffers;
use super::layers::{Halt, Layers};
use super::limits::MAX_PREFILL;
use crate::kernels;
use crate::model::Llama;
use crate::text::tokenizer::PromptTokens;

/// Runs the positions of `prompt` from `start` on, where the state of `buffers` must stand, and draws the first token.
/// `features` are the picture's, which may be absent if it lies before `start`.
///
/// # Errors
/// [`Halt`] by `go_on`, or if the device was lost.
pub async fn prefill(
    llama: &Llama,
    buffers: &DecodeBuffers,
    device: &Device,
    prompt: &PromptTokens,
    mut start: usize,
    features: Option<&Tensor<2>>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Halt> {
    let mut layers = Layers::new(device, go_on);
    loop {
        let end = prompt.ids.len().min(start + MAX_PREFILL);
        let x = embed(llama, device, prompt, start..end, features);
        let hidden = llama.prefill(x, &buffers.state, &mut async || layers.after_layer().await).await?;
        let [positions, width] = hidden.dims();
        if end == prompt.ids.len() {
            // `sample` moves the position on by one more, to the first free row of the caches.
            kernels::advance(&buffers.state, positions - 1);
            buffers.sample(llama.logits(hidden.slice([positions - 1..positions, 0..width])));
            return Ok(());
        }
        kernels::advance(&buffers.state, positions);
        start = end;
    }
}

/// Embeddings of the prompt's positions `range`, `[range, hidden]`.
fn embed(
    llama: &Llama,
    device: &Device,
    prompt: &PromptTokens,
    range: Range<usize>,
    features: Option<&Tensor<2>>,
) -> Tensor<2> {
    let within = |part: Range<usize>| part.start.max(range.start)..part.end.min(range.end);
    let span = prompt.image.clone().unwrap_or(0..0);
    let text = |part: Range<usize>| {
        let ids: Vec<i32> = prompt.ids.get(part)?.iter().map(|id| *id as i32).collect();
        let data = TensorData::new(ids.clone(), [ids.len()]);
        (!ids.is_empty()).then(|| llama.embed(Tensor::from_data(data, device)))
    };
    let picture = |part: Range<usize>| {
        let features = features.filter(|_| !part.is_empty())?.clone();
        let width = features.dims()[1];
        Some(features.slice([part.start - span.start..part.end - span.start, 0..width]))
    };
    let parts = [text(within(0..span.start)), picture(within(span.clone())), text(within(span.end..prompt.ids.len()))];
    Tensor::cat(parts.into_iter().flatten().collect(), 0)
}
