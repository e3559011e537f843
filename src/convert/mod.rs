//! From a checkpoint to a bundle (native only).
//!
//! [`plan()`] lists what the model needs, in the order it needs it; a checkpoint reader ([`hf`], [`gguf`]) supplies values,
//! or blocks that are ready to be stored, by canonical name; [`write`] stores them one piece at a time, so that memory does not grow with the model.

pub mod gguf;
pub mod hf;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::{BundleHead, BundleWriter, DEFAULT_CHUNK, Manifest};
use crate::config::LlavaConfig;
use crate::quant::{BLOCK, Format};
use crate::{Error, Result};

pub use crate::plan::{Needed, Role, plan};

/// Elements converted at a time, about: 4 MiB in f32.
const PIECE: usize = 1 << 20;

/// Where values come from, by canonical name.
pub trait Checkpoint {
    /// Shape of a tensor; `None` if there is none of that name.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Values `start..end` (counted in elements, row by row) of a tensor, in f32.
    ///
    /// # Errors
    /// The tensor's number type cannot be read.
    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>>;

    /// The format a tensor is stored in when the caller asks for `asked`, or leaves the choice to the checkpoint.
    fn format(&self, needed: &Needed, asked: Option<Format>) -> Format {
        needed.role.format(asked.unwrap_or(Format::F16))
    }

    /// Appends values `start..end` to `quants` and `scales` as [`Format::encode_part`] would, but from blocks that the
    /// checkpoint holds ready, so that nothing is quantized twice. `false` if it holds none in `format`.
    ///
    /// # Errors
    /// A block is damaged.
    fn blocks(
        &self,
        _name: &str,
        _format: Format,
        _start: usize,
        _end: usize,
        _quants: &mut Vec<u8>,
        _scales: &mut Vec<u8>,
    ) -> Result<bool> {
        Ok(false)
    }
}

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// `None`: as the checkpoint has it, where it has formats of its own (GGUF).
    pub format: Option<Format>,
    pub chunk_bytes: usize,
    /// Replace an existing bundle.
    pub force: bool,
    /// The model's name; the folder's without it.
    pub name: Option<String>,
    pub license: Option<String>,
}

impl Options {
    /// Everything at its default, stored as `format`.
    pub fn new(format: impl Into<Option<Format>>) -> Self {
        Self { format: format.into(), chunk_bytes: DEFAULT_CHUNK, force: false, name: None, license: None }
    }
}

/// How a conversion went.
#[derive(Debug)]
pub struct Summary {
    pub manifest: Manifest,
    pub roles: BTreeMap<(Role, &'static str), RoleSummary>,
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

/// Writes every needed tensor of `checkpoint` and finishes the bundle in `out`.
///
/// # Errors
/// A tensor is missing, has another shape than the configuration asks for, or cannot be stored; or `out` cannot be
/// written. No bundle is left behind then.
pub fn write(
    checkpoint: &impl Checkpoint,
    config: &LlavaConfig,
    head: BundleHead,
    tokenizer: &[u8],
    out: &Path,
    options: &Options,
    mut notes: Vec<String>,
) -> Result<Summary> {
    let needed = plan(config);
    for Needed { name, shape, .. } in &needed {
        let found = checkpoint.shape(name);
        let found = found.ok_or_else(|| Error::bundle(tensor(name), "is missing from the checkpoint"))?;
        if found != shape {
            let problem = format!("has shape {found:?} in the checkpoint, config.json asks for {shape:?}");
            return Err(Error::bundle(tensor(name), problem));
        }
    }
    let mut writer = BundleWriter::create(out, options.chunk_bytes, options.force)?;
    let mut roles = BTreeMap::<_, RoleSummary>::new();
    for needed in &needed {
        let Needed { name, shape, role } = needed;
        let cols: usize = shape[1..].iter().product();
        let mut format = checkpoint.format(needed, options.format);
        if !format.fits(cols) {
            notes.push(format!("{name}: {cols} columns are no multiple of {BLOCK}, stored as f16"));
            format = Format::F16;
        }
        let total = roles.entry((*role, format.name())).or_default();
        store(checkpoint, name, shape, format, &mut writer, total)?;
    }
    let manifest = writer.finish(head, tokenizer)?;
    Ok(Summary { manifest, roles, notes })
}

/// Stores one tensor piece by piece. Scales come after all quants, so they wait in memory.
fn store(
    checkpoint: &impl Checkpoint,
    name: &str,
    shape: &[usize],
    format: Format,
    writer: &mut BundleWriter,
    total: &mut RoleSummary,
) -> Result<()> {
    let elements: usize = shape.iter().product();
    let mut stored_shape = shape.to_vec();
    if let [rows, cols @ ..] = shape
        && cols.len() > 1
    {
        stored_shape = vec![*rows, cols.iter().product()];
    }
    writer.begin(name, format, &stored_shape);
    let (mut quants, mut scales) = (Vec::new(), Vec::new());
    // A multiple of the block size: blocks never cross rows, as rows are whole blocks.
    for start in (0..elements).step_by(PIECE) {
        let values = checkpoint.values(name, start, elements.min(start + PIECE))?;
        let scaled = scales.len();
        quants.clear();
        if !checkpoint.blocks(name, format, start, elements.min(start + PIECE), &mut quants, &mut scales)? {
            format.encode_part(name, &values, &mut quants, &mut scales)?;
        }
        for (stored, value) in format.decode_part(&quants, &scales[scaled..]).iter().zip(&values) {
            total.squared_error += f64::from(stored - value).powi(2);
            total.squared_values += f64::from(*value).powi(2);
        }
        writer.write(&quants)?;
    }
    writer.write(&scales)?;
    let bytes = writer.tensor_bytes();
    writer.write(&[0; 3][..bytes.next_multiple_of(4) - bytes])?;
    total.tensors += 1;
    total.elements += elements;
    total.bytes += bytes.next_multiple_of(4);
    Ok(())
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
        write!(f, "{}: {} chunks, {total_bytes} bytes in all", model.name, chunks.len())
    }
}
