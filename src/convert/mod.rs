//! From a checkpoint to a bundle (native only).
//!
//! [`plan`] lists what the model needs, in the order it needs it; a checkpoint reader ([`hf`]) supplies values by
//! canonical name; [`write`] stores them one piece at a time, so that memory does not grow with the model.

pub mod hf;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::bundle::{BundleHead, BundleWriter, DEFAULT_CHUNK, Manifest};
use crate::config::{ClipConfig, LlamaConfig, LlavaConfig};
use crate::quant::{BLOCK, Format};
use crate::{Error, Result};

/// Elements converted at a time, about: 4 MiB in f32.
const PIECE: usize = 1 << 20;

/// What a tensor is for: decides its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Norms, biases, class and position embedding: small, and always f32.
    Vector,
    /// The convolution that cuts the picture into patches: its columns rarely fit blocks.
    PatchEmbedding,
    /// Linear layers of the vision tower.
    Vision,
    /// Linear layers of the projector.
    Projector,
    Embedding,
    /// Linear layers of the decoder.
    Decoder,
    Head,
}

impl Role {
    /// The format for this role when `asked` is asked for: the vision side is never stored below 8 bits, where it
    /// costs most and saves least.
    pub fn format(self, asked: Format) -> Format {
        match self {
            Role::Vector => Format::F32,
            Role::PatchEmbedding if asked.is_quantized() => Format::F16,
            Role::Vision | Role::Projector if asked == Format::Q4 => Format::Q8,
            _ => asked,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Role::Vector => "norms, biases, positions",
            Role::PatchEmbedding => "patch embedding",
            Role::Vision => "vision tower",
            Role::Projector => "projector",
            Role::Embedding => "token embedding",
            Role::Decoder => "decoder",
            Role::Head => "head",
        }
    }
}

/// One tensor the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Canonical name.
    pub name: String,
    /// Shape in the checkpoint. The bundle folds everything after the rows into columns.
    pub shape: Vec<usize>,
    pub role: Role,
}

/// Every tensor the model needs, in the order in which it loads them.
pub fn plan(config: &LlavaConfig) -> Vec<Needed> {
    let mut plan = Plan(Vec::new());
    plan.vision(&config.vision, config.vision_layers_needed());
    let (text, bias) = (config.text.hidden_size, config.multimodal_projector_bias);
    plan.linear("multi_modal_projector.linear_1", text, config.projector_input_size(), bias, Role::Projector);
    plan.linear("multi_modal_projector.linear_2", text, text, bias, Role::Projector);
    plan.decoder(&config.text);
    plan.0
}

struct Plan(Vec<Needed>);

impl Plan {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.0.push(Needed { name: name.into(), shape: shape.into(), role });
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize, bias: bool, role: Role) {
        self.add(format!("{name}.weight"), &[rows, cols], role);
        if bias {
            self.add(format!("{name}.bias"), &[rows], Role::Vector);
        }
    }

    /// Linear layers that the model joins into one: all weights first, so that they lie side by side.
    fn fused(&mut self, names: &[(String, usize)], cols: usize, bias: bool, role: Role) {
        for (name, rows) in names {
            self.add(format!("{name}.weight"), &[*rows, cols], role);
        }
        for (name, rows) in names.iter().filter(|_| bias) {
            self.add(format!("{name}.bias"), &[*rows], Role::Vector);
        }
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), &[width], Role::Vector);
        self.add(format!("{name}.bias"), &[width], Role::Vector);
    }

    fn vision(&mut self, config: &ClipConfig, layers: usize) {
        let (hidden, patch) = (config.hidden_size, config.patch_size);
        let tower = "vision_tower.vision_model";
        self.add(format!("{tower}.embeddings.class_embedding"), &[hidden], Role::Vector);
        let kernel = [hidden, config.num_channels, patch, patch];
        self.add(format!("{tower}.embeddings.patch_embedding.weight"), &kernel, Role::PatchEmbedding);
        let positions = [config.positions(), hidden];
        self.add(format!("{tower}.embeddings.position_embedding.weight"), &positions, Role::Vector);
        self.layer_norm(&format!("{tower}.pre_layrnorm"), hidden);
        for index in 0..layers {
            let layer = format!("{tower}.encoder.layers.{index}");
            self.layer_norm(&format!("{layer}.layer_norm1"), hidden);
            let qkv = ["q", "k", "v"].map(|part| (format!("{layer}.self_attn.{part}_proj"), hidden));
            self.fused(&qkv, hidden, true, Role::Vision);
            self.linear(&format!("{layer}.self_attn.out_proj"), hidden, hidden, true, Role::Vision);
            self.layer_norm(&format!("{layer}.layer_norm2"), hidden);
            self.linear(&format!("{layer}.mlp.fc1"), config.intermediate_size, hidden, true, Role::Vision);
            self.linear(&format!("{layer}.mlp.fc2"), hidden, config.intermediate_size, true, Role::Vision);
        }
    }

    fn decoder(&mut self, config: &LlamaConfig) {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (query, key_value) = (config.query_size(), config.key_value_size());
        self.add("language_model.model.embed_tokens.weight", &[vocab, hidden], Role::Embedding);
        for index in 0..config.num_hidden_layers {
            let layer = format!("language_model.model.layers.{index}");
            self.add(format!("{layer}.input_layernorm.weight"), &[hidden], Role::Vector);
            let attention = |part: &str| format!("{layer}.self_attn.{part}_proj");
            let qkv = [(attention("q"), query), (attention("k"), key_value), (attention("v"), key_value)];
            self.fused(&qkv, hidden, config.attention_bias, Role::Decoder);
            self.linear(&attention("o"), hidden, query, config.attention_bias, Role::Decoder);
            self.add(format!("{layer}.post_attention_layernorm.weight"), &[hidden], Role::Vector);
            let gate_up = ["gate", "up"].map(|part| (format!("{layer}.mlp.{part}_proj"), config.intermediate_size));
            self.fused(&gate_up, hidden, config.mlp_bias, Role::Decoder);
            let down = format!("{layer}.mlp.down_proj");
            self.linear(&down, hidden, config.intermediate_size, config.mlp_bias, Role::Decoder);
        }
        self.add("language_model.model.norm.weight", &[hidden], Role::Vector);
        if !config.tie_word_embeddings {
            self.add("language_model.lm_head.weight", &[vocab, hidden], Role::Head);
        }
    }
}

/// Where values come from, by canonical name.
pub trait Checkpoint {
    /// Shape of a tensor; `None` if there is none of that name.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Values `start..end` (counted in elements, row by row) of a tensor, in f32.
    ///
    /// # Errors
    /// The tensor's number type cannot be read.
    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>>;
}

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Options {
    pub format: Format,
    pub chunk_bytes: usize,
    /// Replace an existing bundle.
    pub force: bool,
    /// The model's name; the folder's without it.
    pub name: Option<String>,
    pub license: Option<String>,
}

impl Options {
    /// Everything at its default, stored as `format`.
    pub fn new(format: Format) -> Self {
        Self { format, chunk_bytes: DEFAULT_CHUNK, force: false, name: None, license: None }
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
    for Needed { name, shape, role } in &needed {
        let cols: usize = shape[1..].iter().product();
        let mut format = role.format(options.format);
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
        format.encode_part(name, &values, &mut quants, &mut scales)?;
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
