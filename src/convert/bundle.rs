//! Bundles in another format than they were made in.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use futures_lite::future::block_on;

use super::{Checkpoint, Options, Summary};
use crate::bundle::source::ChunkSource;
use crate::bundle::{BundleHead, FolderSource, Manifest, TensorEntry};
use crate::model::config::LlavaConfig;
use crate::quant::Format;
use crate::{Error, Result};

/// Converts the bundle in `folder` into another one in `out`. Tensors that are in the format asked for already are carried over; of
/// others the stored values are quantized, so that what the first conversion lost stays lost.
///
/// # Errors
/// There is no whole bundle in `folder`, it holds two models, or as [`super::write`].
pub fn convert(folder: &Path, out: &Path, options: &Options) -> Result<Summary> {
    let format = options.asked()?;
    let source = FolderSource::open(folder)?;
    let Manifest { config, generation, preprocessor, second, .. } = source.manifest().clone();
    if second.is_some() {
        let problem = "holds two models; convert the bundles that it was made of, and `pair` them again";
        return Err(Error::bundle(folder.display().to_string(), problem));
    }
    let model_config = LlavaConfig::from_json(&config, &generation)?;
    let mut model = source.manifest().model.clone();
    model.name = options.name.clone().unwrap_or(model.name);
    model.license = options.license.clone().unwrap_or(model.license);
    let quantization = format.name().into();
    let notes = vec![format!("made from a bundle in {}, whose losses stay", source.manifest().quantization)];
    let head = BundleHead { model, config, generation, preprocessor, quantization, memory: None };
    let tokenizer = source.tokenizer()?;
    let checkpoint = BundleCheckpoint::new(&source, &model_config);
    super::write(&checkpoint, &model_config, head, &tokenizer, out, options, notes)
}

/// The tensors of a bundle.
struct BundleCheckpoint<'a> {
    source: &'a FolderSource,
    /// By name, with the shape that config.json asks for where the stored one is its own.
    tensors: HashMap<&'a str, (&'a TensorEntry, Vec<usize>)>,
}

impl<'a> BundleCheckpoint<'a> {
    fn new(source: &'a FolderSource, config: &LlavaConfig) -> Self {
        let stored = source.manifest().tensors.iter();
        let mut tensors: HashMap<_, _> =
            stored.map(|entry| (entry.name.as_str(), (entry, entry.shape.clone()))).collect();
        for needed in super::plan(config) {
            let found = tensors.get_mut(needed.name.as_str());
            if let Some((_, shape)) = found.filter(|(_, shape)| *shape == needed.stored_shape()) {
                *shape = needed.shape;
            }
        }
        Self { source, tensors }
    }

    /// Bytes `wanted` of a tensor.
    fn bytes(&self, entry: &TensorEntry, wanted: Range<usize>) -> Result<Vec<u8>> {
        let (mut bytes, mut start) = (Vec::with_capacity(wanted.len()), 0);
        for span in &entry.spans {
            let end = start + span.bytes;
            let part = wanted.start.max(start)..wanted.end.min(end);
            if part.start < part.end {
                let chunk = block_on(self.source.read_chunk(span.chunk))?;
                bytes.extend_from_slice(&chunk[span.offset + part.start - start..][..part.len()]);
            }
            start = end;
        }
        Ok(bytes)
    }

    /// Quants and scales of the elements `start..end`, which are whole blocks.
    fn stored(&self, name: &str, start: usize, end: usize) -> Result<(Format, Vec<u8>, Vec<u8>)> {
        let (entry, shape) = &self.tensors[name];
        let (format, elements) = (entry.dtype, shape.iter().product());
        // Blocks are numbered through, so that a tensor is as good as one row.
        let parts = |len: fn(Format, usize, usize) -> Option<usize>| {
            let len = |elements| len(format, 1, elements).expect("a manifest's shapes fit their formats");
            (len(start)..len(end), len(elements))
        };
        let (quants, all_quants) = parts(Format::quants_len);
        let (scales, _) = parts(Format::scales_len);
        let scales = all_quants + scales.start..all_quants + scales.end;
        Ok((format, self.bytes(entry, quants)?, self.bytes(entry, scales)?))
    }
}

impl Checkpoint for BundleCheckpoint<'_> {
    /// Bundles hold what training needed folded in.
    const FOLDED: bool = true;

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, shape)| shape.as_slice())
    }

    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>> {
        let (format, quants, scales) = self.stored(name, start, end)?;
        Ok(format.decode_part(&quants, &scales))
    }

    fn blocks(
        &self,
        name: &str,
        format: Format,
        start: usize,
        end: usize,
        quants: &mut Vec<u8>,
        scales: &mut Vec<u8>,
    ) -> Result<bool> {
        if self.tensors[name].0.dtype != format {
            return Ok(false);
        }
        let (_, stored_quants, stored_scales) = self.stored(name, start, end)?;
        quants.extend(stored_quants);
        scales.extend(stored_scales);
        Ok(true)
    }
}
