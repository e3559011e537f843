//! Runs a prompt through the decoder, so that the caches hold it, up to the logits of the answer's first token.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::layers::{Halt, Layers};
use super::limits::MAX_PREFILL;
use crate::device::{Buffer, tensors};
use crate::kernels::{self, MANY_ROWS};
use crate::model::LanguageModel;
use crate::text::tokenizer::PromptTokens;

/// Runs the positions of `prompt` from `start` on, where `state` must stand, and leaves `state` at the last of them; the
/// logits after it, `[1, vocab]`. `features` are the picture's, which may be absent if it lies before `start`.
///
/// A row's keys, values and logits are the same bits wherever `start` is: the kernels for many rows run, however few there are.
///
/// # Errors
/// [`Halt`] by `go_on`, or if the device was lost.
pub async fn prefill(
    decoder: &LanguageModel,
    state: &Buffer,
    device: &Device,
    prompt: &PromptTokens,
    start: usize,
    features: Option<&Tensor<2>>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Tensor<2>, Halt> {
    let mut layers = Layers::new(device, go_on);
    let mut before = 0;
    let mut last = None;
    for part in parts(start..prompt.ids.len()) {
        if before > 0 {
            kernels::advance(state, before);
        }
        let x = embed(decoder, device, prompt, part.clone(), features);
        let hidden = decoder.prefill(x, state, &mut async || layers.after_layer().await).await?;
        let width = hidden.dims()[1];
        last = Some(tensors::slice(hidden, [part.len() - 1..part.len(), 0..width]));
        before = part.len();
    }
    // `sample` moves the position on by one more, to the first free row of the caches.
    kernels::advance(state, before - 1);
    Ok(decoder.logits(last.expect("a position at least")))
}

/// The parts in which `positions` run: of at most [`MAX_PREFILL`], and of like size, so that none is of a few rows only
/// because it is the last.
fn parts(positions: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = positions.len().div_ceil(positions.len().div_ceil(MAX_PREFILL));
    positions.clone().step_by(size).map(move |start| start..positions.end.min(start + size))
}

/// Embeddings of the prompt's positions `range`, and of any token behind them up to [`MANY_ROWS`], `[rows, hidden]`. What
/// those further rows leave in the caches is overwritten before anything looks at it.
fn embed(
    decoder: &LanguageModel,
    device: &Device,
    prompt: &PromptTokens,
    range: Range<usize>,
    features: Option<&Tensor<2>>,
) -> Tensor<2> {
    let within = |part: Range<usize>| part.start.max(range.start)..part.end.min(range.end);
    let span = prompt.image.clone().unwrap_or(0..0);
    let text = |part: Range<usize>, further: usize| {
        let mut ids: Vec<i32> = prompt.ids.get(part).unwrap_or_default().iter().map(|id| *id as i32).collect();
        ids.resize(ids.len() + further, 0);
        (!ids.is_empty()).then(|| decoder.embed(tensors::ids(ids, device)))
    };
    let picture = |part: Range<usize>| {
        let features = features.filter(|_| !part.is_empty())?.clone();
        let width = features.dims()[1];
        Some(tensors::slice(features, [part.start - span.start..part.end - span.start, 0..width]))
    };
    let further = MANY_ROWS.saturating_sub(range.len());
    let behind = within(span.end..prompt.ids.len());
    let parts = [text(within(0..span.start), 0), picture(within(span.clone())), text(behind, further)];
    tensors::cat(parts.into_iter().flatten().collect(), 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_lite::future::block_on;

    use super::*;
    use crate::bundle::FolderSource;
    use crate::bundle::source::ChunkSource;
    use crate::convert::{Options, hf};
    use crate::device;
    use crate::kernels::alone::alone;
    use crate::kernels::{AttentionUse, AttentionVariant, KvFormat, LinearUse, LinearVariant};
    use crate::model::Llava;
    use crate::model::config::LlavaConfig;
    use crate::quant::Format;

    #[test]
    fn parts_are_of_like_size() {
        let lengths = |positions| parts(positions).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(lengths(3..4), [1]);
        assert_eq!(lengths(5..MAX_PREFILL + 5), [MAX_PREFILL]);
        assert_eq!(lengths(0..MAX_PREFILL + 1), [513, 512]);
        assert_eq!(parts(7..2 * MAX_PREFILL + 8).collect::<Vec<_>>(), [7..690, 690..1373, 1373..2056]);
    }

    /// The bits of the logits after `ids`, run from each of `starts` on in turn.
    fn logits(decoder: &LanguageModel, ids: &[u32], starts: &[usize], device: &Device) -> Vec<u32> {
        let state = Buffer::zeros(4, device);
        let ends = starts.iter().skip(1).copied().chain([ids.len()]);
        let mut bits = Vec::new();
        for (start, end) in starts.iter().zip(ends) {
            state.write(&[*start as u32, 0, 0, 0]);
            let prompt = PromptTokens { ids: ids[..end].to_vec(), image: None };
            let mut go_on = || true;
            let run = prefill(decoder, &state, device, &prompt, *start, None, &mut go_on);
            let Ok(logits) = block_on(run) else { panic!("the device is lost") };
            bits = block_on(device::read_floats(logits)).unwrap().iter().map(|logit| logit.to_bits()).collect();
        }
        bits
    }

    /// Of the last of `ids` by the kernels for one row, behind what is in the caches.
    fn decoded(decoder: &LanguageModel, ids: &[u32], device: &Device) -> Vec<u32> {
        let state = Buffer::from_words(&[ids.len() as u32 - 1, 0, 0, 0], device);
        let last = Tensor::from_data([ids[ids.len() - 1] as i32], device);
        let logits = decoder.logits(decoder.forward(decoder.embed(last), &state));
        block_on(device::read_floats(logits)).unwrap().iter().map(|logit| logit.to_bits()).collect()
    }

    /// In every way an adapter may run a prompt.
    #[test]
    fn where_a_prefill_starts_does_not_change_a_bit() {
        let _alone = alone();
        const CAPACITY: usize = 96;
        let gpu = block_on(device::open()).unwrap();
        let device = &gpu.device;
        let mut seen_to_differ = false;
        let ways = |use_| {
            let runs = move |variant: &LinearVariant| variant.takes(use_) && variant.available(&gpu.adapter.features);
            LinearVariant::ALL.into_iter().filter(runs)
        };
        // Rows in kernels for few have the bits that they have in those for many, of the same kind of adapter.
        let pairs: Vec<_> = ways(LinearUse::Mat)
            .flat_map(|mat| ways(LinearUse::Few).map(move |few| (mat, few)))
            .filter(|(mat, few)| mat.for_cpu() == few.for_cpu() && few.goes_with(*mat))
            .collect();
        for (checkpoint, format) in [("gqa", Format::F32), ("gqa", Format::Q4), ("biased", Format::Q8)] {
            let folder = tempfile::tempdir().unwrap();
            let checkpoint = Path::new("tests/golden/checkpoints").join(checkpoint);
            hf::convert(&checkpoint, folder.path(), &Options::new(format)).unwrap();
            let source = FolderSource::open(folder.path()).unwrap();
            let config = LlavaConfig::from_json(&source.manifest().config, &source.manifest().generation).unwrap();
            // As far as the caches go, where the further rows are dropped.
            let ids: Vec<u32> = (0..CAPACITY as u32 - 1).map(|at| 3 + at * at % 60).collect();
            for kv_cache in KvFormat::ALL.into_iter().filter(|kv_cache| kv_cache.fits(config.text.head_dim)) {
                let model = block_on(Llava::load(&source, &config, CAPACITY, kv_cache, device)).unwrap();
                let decoder = &model.language_model;
                let flashes = |pair| AttentionVariant::ALL.map(|flash| (pair, flash));
                for ((mat, few), flash) in pairs.iter().copied().flat_map(flashes) {
                    kernels::set_linear_variant(LinearUse::Mat, Some(mat));
                    kernels::set_linear_variant(LinearUse::Few, Some(few));
                    kernels::set_attention_variant(AttentionUse::Flash, Some(flash));
                    let whole = logits(decoder, &ids, &[0], device);
                    for starts in
                        [&[0, 1][..], &[0, 33], &[0, 64, 65, 66, 70, 90], &[0, 91], &[0, 92], &[0, 93], &[0, 94]]
                    {
                        let what = format!("{} {kv_cache:?} {mat:?} {few:?} {flash:?}", checkpoint.display());
                        assert!(logits(decoder, &ids, starts, device) == whole, "{what}: from {starts:?} on");
                    }
                    seen_to_differ |= decoded(decoder, &ids, device) != whole;
                }
                for use_ in LinearUse::ALL {
                    kernels::set_linear_variant(use_, None);
                }
                kernels::set_attention_variant(AttentionUse::Flash, None);
            }
        }
        assert!(seen_to_differ, "of one row the sums are made in another order");
    }
}
