//! From a checkpoint to a bundle (native only).
//!
//! [`plan()`] lists what the model needs, in the order it needs it; a checkpoint ([`hf`], [`gguf`], [`bundle`], [`synthetic`]) supplies
//! values, or blocks that are ready to be stored, by canonical name; [`write`] has all cores quantize pieces of them and
//! stores these in order, so that memory does not grow with the model.

pub mod bundle;
mod checkpoint;
mod fold;
pub mod gguf;
pub mod hf;
mod mapped;
mod python;
pub mod synthetic;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::fold::Folded;
use crate::bundle::{BundleHead, BundleWriter, DEFAULT_CHUNK, Manifest, check_space};
use crate::model::{self, config::LlavaConfig};
use crate::parallel;
use crate::parts::Parts;
use crate::progress::{Meter, Report};
use crate::quant::{self, Format};
use crate::{Error, Result};

pub use self::checkpoint::Checkpoint;
pub use crate::model::parameters::{Needed, Role};
pub use crate::model::plan;

/// Elements converted at a time: 4 MiB in f32. A multiple of every format's block: as rows are whole blocks, none is cut.
const PIECE: usize = 1 << 20;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// `None`: as the checkpoint has it, where it has formats of its own (GGUF).
    pub format: Option<Format>,
    /// Of the token embedding and the head, where not the same: they choose the word, and in a small model are much of it.
    pub head: Option<Format>,
    pub chunk_bytes: usize,
    /// Replace an existing bundle.
    pub force: bool,
    /// The model's name; the folder's without it.
    pub name: Option<String>,
    pub license: Option<String>,
    /// Told a few times a second how far the conversion is.
    pub report: Report,
}

impl Options {
    /// Everything at its default, stored as `format`; reports nothing.
    pub fn new(format: impl Into<Option<Format>>) -> Self {
        let (format, report): (_, Report) = (format.into(), |_| ());
        Self { format, head: None, chunk_bytes: DEFAULT_CHUNK, force: false, name: None, license: None, report }
    }

    /// The format, where the source has none of its own to keep.
    fn asked(&self) -> Result<Format> {
        self.format.ok_or_else(|| {
            Error::input("quant", format!("say which format: --quant with one of {}", Format::names(", ")))
        })
    }
}

/// How a conversion went.
#[derive(Debug)]
pub struct Summary {
    pub manifest: Manifest,
    pub roles: BTreeMap<(Role, &'static str), RoleSummary>,
    /// From the first tensor to the manifest.
    pub took: Duration,
    /// What the caller should know, one line each.
    pub notes: Vec<String>,
}

/// Totals over the tensors of one role in one format.
#[derive(Debug, Default)]
pub struct RoleSummary {
    pub tensors: usize,
    pub elements: usize,
    pub bytes: usize,
    /// Sum of squared differences between stored and original values.
    pub squared_error: f64,
    /// Sum of squared original values.
    pub squared_values: f64,
}

/// A needed tensor and how it is stored.
struct Stored {
    name: String,
    role: Role,
    format: Format,
    /// `[rows, cols]` or `[len]`.
    shape: Vec<usize>,
    elements: usize,
    bytes: usize,
}

/// Part of a tensor in its stored form, and what storing it cost.
struct Piece {
    quants: Vec<u8>,
    scales: Vec<u8>,
    squared_error: f64,
    squared_values: f64,
}

/// Writes every needed tensor of `checkpoint`, reads all of it back, and finishes the bundle in `out`.
///
/// # Errors
/// A tensor is missing, has another shape than the configuration asks for, or cannot be stored; configuration, image settings
/// and tokenizer cannot be loaded or do not fit each other; `out` has too little room or cannot be written; or what was written does not read back. No bundle is left behind then.
pub fn write<C: Checkpoint>(
    checkpoint: &C,
    config: &LlavaConfig,
    mut head: BundleHead,
    tokenizer: &[u8],
    out: &Path,
    options: &Options,
    mut notes: Vec<String>,
) -> Result<Summary> {
    let start = Instant::now();
    Parts::read(&head.config, &head.generation, &head.preprocessor, tokenizer)?;
    let mut plan = plan(config);
    if C::FOLDED {
        plan.iter_mut().for_each(|needed| needed.fold = None);
    }
    let checkpoint = &Folded::new(checkpoint, &plan);
    let tensors = layout(checkpoint, &plan, options, &mut notes)?;
    let sizes: HashMap<&str, usize> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.bytes)).collect();
    head.memory = Some(model::memory(config, |name| sizes.get(name).copied().unwrap_or(0)));
    let total: usize = tensors.iter().map(|tensor| tensor.bytes).sum();
    let mut writer = BundleWriter::create(out, options.chunk_bytes, options.force)?;
    check_space(out, (total + tokenizer.len()) as u64)?;
    let mut meter = Meter::new("writing", total, options.report);
    let mut roles = BTreeMap::<_, RoleSummary>::new();
    in_pieces(checkpoint, &tensors, |tensor, pieces| {
        let role = roles.entry((tensor.role, tensor.format.name())).or_default();
        role.tensors += 1;
        role.elements += tensor.elements;
        role.bytes += tensor.bytes;
        writer.begin(&tensor.name, tensor.format, &tensor.shape);
        // Scales come after all quants, so they wait in memory.
        let mut scales = Vec::new();
        for piece in pieces {
            let piece = piece?;
            writer.write(&piece.quants)?;
            scales.extend(piece.scales);
            role.squared_error += piece.squared_error;
            role.squared_values += piece.squared_values;
            meter.add(piece.quants.len());
        }
        writer.write(&scales)?;
        let padding = tensor.bytes - writer.tensor_bytes();
        meter.add(scales.len() + padding);
        writer.write(&[0; 3][..padding])
    })?;
    let manifest = writer.finish(head, tokenizer, Meter::new("checking", total, options.report))?;
    Ok(Summary { manifest, roles, took: start.elapsed(), notes })
}

/// How each needed tensor is stored, in order.
fn layout(
    checkpoint: &impl Checkpoint,
    plan: &[Needed],
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<Stored>> {
    let stored = |needed: &Needed| {
        for Needed { name, shape, .. } in needed.sources() {
            let found = checkpoint.shape(&name);
            let found = found.ok_or_else(|| Error::bundle(tensor(&name), "is missing from the checkpoint"))?;
            if found != shape {
                let problem = format!("has shape {found:?} in the checkpoint, config.json asks for {shape:?}");
                return Err(Error::bundle(tensor(&name), problem));
            }
        }
        let head = matches!(needed.role, Role::Embedding | Role::Head).then_some(options.head).flatten();
        let mut format = checkpoint.format(needed, head.or(options.format));
        let stored_shape = needed.stored_shape();
        let Needed { name, shape, role, .. } = needed.clone();
        let elements = shape.iter().product();
        let cols = shape[1..].iter().product();
        let fitting = format.fitting(cols);
        if fitting != format {
            let (block, other) = (format.block(), fitting.name());
            notes.push(format!("{name}: {cols} columns are no multiple of {block}, stored as {other}"));
            format = fitting;
        }
        let too_large = || Error::bundle(tensor(&name), format!("shape {shape:?} is too large"));
        let bytes = format.byte_len(elements / cols, cols).ok_or_else(too_large)?;
        Ok(Stored { name, role, format, shape: stored_shape, elements, bytes })
    };
    plan.iter().map(stored).collect()
}

/// Has all cores encode the tensors' pieces, and calls `take` for each tensor in order with its pieces in order.
fn in_pieces(
    checkpoint: &impl Checkpoint,
    tensors: &[Stored],
    mut take: impl FnMut(&Stored, &mut dyn Iterator<Item = Result<Piece>>) -> Result<()>,
) -> Result<()> {
    let starts = |tensor: &Stored| (0..tensor.elements).step_by(PIECE);
    let jobs: Vec<_> = tensors.iter().flat_map(|tensor| starts(tensor).map(move |start| (tensor, start))).collect();
    let encode =
        |(tensor, start): &(&Stored, usize)| encode(checkpoint, tensor, *start, tensor.elements.min(start + PIECE));
    parallel::in_order(&jobs, encode, |pieces| {
        tensors.iter().try_for_each(|tensor| take(tensor, &mut (&mut *pieces).take(starts(tensor).len())))
    })
}

/// Elements `start..end` of a tensor as they are stored.
fn encode(checkpoint: &impl Checkpoint, tensor: &Stored, start: usize, end: usize) -> Result<Piece> {
    let values = checkpoint.values(&tensor.name, start, end)?;
    let (mut quants, mut scales) = (Vec::new(), Vec::new());
    if !checkpoint.blocks(&tensor.name, tensor.format, start, end, &mut quants, &mut scales)? {
        tensor.format.encode_part(&tensor.name, &values, &mut quants, &mut scales)?;
    }
    let squared_values = quant::sum_of_squares(&values);
    let mut error = tensor.format.decode_part(&quants, &scales);
    error.iter_mut().zip(&values).for_each(|(stored, value)| *stored -= value);
    let squared_error = quant::sum_of_squares(&error);
    Ok(Piece { quants, scales, squared_error, squared_values })
}

/// Image settings where a checkpoint has none: CLIP's own, for pictures of `size` by `size`.
fn clip_preprocessor(size: usize) -> Value {
    json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true, "size": {"shortest_edge": size}, "resample": 3,
        "do_center_crop": true, "crop_size": {"height": size, "width": size},
        "do_rescale": true, "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
}

/// Refuses what git-lfs leaves in a clone in a large file's place.
fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        let problem = "is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder".into();
        return Err(Error::Io { what: path.display().to_string(), problem });
    }
    Ok(())
}

/// What to know of a chat template that was found in `place`.
fn template_note(place: &str) -> String {
    format!(
        "the chat template ({place}) is not kept: prompts are put in the words of this `model_type` (of LLaVA-1.5: USER: ... ASSISTANT:); for others use `raw`"
    )
}

/// A value for a message.
fn said(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"))
}

fn tensor(name: &str) -> String {
    format!("tensor `{name}`")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (role, format, tensors, size) = ("role", "format", "tensors", "bytes");
        writeln!(f, "{role:<26}{format:<8}{tensors:>8}{size:>15}   bits/weight   RMS error (of RMS value)")?;
        for ((role, format), total) in &self.roles {
            let RoleSummary { tensors, elements, bytes, squared_error, squared_values } = total;
            let bits = *bytes as f64 * 8.0 / *elements as f64;
            let rms = (squared_error / *elements as f64).sqrt();
            let relative = if *squared_values > 0.0 { (squared_error / squared_values).sqrt() * 100.0 } else { 0.0 };
            let role = role.name();
            writeln!(f, "{role:<26}{format:<8}{tensors:>8}{bytes:>15}   {bits:>11.2}   {rms:.3e} ({relative:.3}%)")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Manifest { model, chunks, total_bytes, .. } = &self.manifest;
        let seconds = self.took.as_secs_f64();
        write!(f, "{}: {} chunks, {total_bytes} bytes in all, in {seconds:.1} s", model.name, chunks.len())
    }
}
