//! llama.cpp's tensors under the canonical names, rows back in the checkpoint's order.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::blocks::Kind;
use super::file::{Gguf, Tensor, broken};
use crate::convert::{Checkpoint, Needed, Role};
use crate::model::config::LlavaConfig;
use crate::model::parameters::Parameters;
use crate::model::{self, DECODER_PREFIX, EMBEDDING, HEAD};
use crate::quant::Format;
use crate::{Error, Result};

/// What is quantized once more takes at least as many bits, so that little is lost a second time.
const REQUANTIZED: Format = Format::Q8;

/// The tensors of a decoder's file and of a projector's.
pub struct GgufCheckpoint<'a> {
    tensors: BTreeMap<String, Stored<'a>>,
    /// The format each tensor comes closest to.
    formats: HashMap<String, Format>,
    /// Of them, the one of most of the decoder's weights.
    main_format: Format,
}

struct Stored<'a> {
    kind: Kind,
    shape: Vec<usize>,
    bytes: &'a [u8],
    /// The heads whose rows llama.cpp has interleaved (q and k of the decoder).
    heads: Option<usize>,
}

impl<'a> GgufCheckpoint<'a> {
    /// Names the tensors of both files. `notes` gets lines about what is left out, and about tensors whose format follows
    /// their neighbours'.
    ///
    /// # Errors
    /// A needed tensor has a type that is not converted.
    pub fn new(
        model: &Gguf<'a>,
        mmproj: Option<&Gguf<'a>>,
        config: &LlavaConfig,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let parameters = model::parameters(config);
        let needed: HashMap<&str, &Needed> =
            parameters.tensors().map(|needed| (needed.name.as_str(), needed)).collect();
        let mut checkpoint = Self { tensors: BTreeMap::new(), formats: HashMap::new(), main_format: Format::F16 };
        let swapped = |layer: &str| mmproj.is_some_and(|mmproj| is_ffn_swapped(mmproj, layer));
        let decoder = model.tensors.iter().map(|(key, tensor)| (*key, tensor, decoder_name(key)));
        let vision = mmproj.iter().flat_map(|mmproj| &mmproj.tensors);
        let vision = vision.map(|(key, tensor)| (*key, tensor, vision_name(key, &swapped)));
        for (key, tensor, name) in decoder.chain(vision) {
            match name.and_then(|name| needed.get(name.as_str())) {
                Some(needed) => {
                    let stored = Stored::new(key, tensor, needed.rotated_heads)?;
                    checkpoint.tensors.insert(needed.name.clone(), stored);
                }
                None if key.starts_with("v.post_ln.") || key == "rope_freqs.weight" => {}
                None => notes.push(format!("tensor left out: {key}")),
            }
        }
        checkpoint.choose_formats(&parameters, notes);
        Ok(checkpoint)
    }

    /// The format that holds most of the decoder's weights when none is asked for.
    pub fn main_format(&self) -> Format {
        self.main_format
    }

    /// Every matrix keeps its own format, but matrices that the model joins into one all take the widest among them, or
    /// [`REQUANTIZED`].
    fn choose_formats(&mut self, parameters: &Parameters, notes: &mut Vec<String>) {
        let mut widened = 0;
        let mut decoder = HashMap::<Format, usize>::new();
        for parameter in parameters.iter().filter(|parameter| parameter.role() != Role::Vector) {
            let own = |needed: &Needed| match self.tensors.get(&needed.name)?.kind.format() {
                // Its columns are no whole blocks, and no kernel reads it but as numbers.
                format if needed.role == Role::PatchEmbedding && format.is_quantized() => Some(Format::F16),
                format => Some(format),
            };
            let found: Vec<_> = parameter.tensors.iter().filter_map(|needed| Some((needed, own(needed)?))).collect();
            let Some(widest) = found.iter().map(|(_, own)| *own).max_by(|a, b| a.bits().total_cmp(&b.bits())) else {
                continue;
            };
            let mixed = found.iter().any(|(_, own)| *own != widest);
            let widest = if mixed && widest.bits() < REQUANTIZED.bits() { REQUANTIZED } else { widest };
            widened += found.iter().filter(|(_, own)| *own != widest).count();
            if parameter.role() == Role::Decoder {
                *decoder.entry(widest).or_default() += parameter.rows() * parameter.cols();
            }
            self.formats.extend(found.into_iter().map(|(needed, _)| (needed.name.clone(), widest)));
        }
        if let Some((format, _)) = decoder.into_iter().max_by_key(|(_, elements)| *elements) {
            self.main_format = format;
        }
        if widened > 0 {
            notes.push(format!("{widened} matrices are stored wider than in the file, as those they are joined with"));
        }
    }
}

impl<'a> Stored<'a> {
    fn new(key: &str, tensor: &Tensor<'a>, heads: Option<usize>) -> Result<Self> {
        let kind = tensor.kind.map_err(|id| {
            let problem = format!(
                "has ggml type {id}; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are converted: \
                 quantize the original as Q4_K_M or Q8_0"
            );
            Error::unsupported(key, problem)
        })?;
        let rows = tensor.shape[0];
        if let Some(heads) = heads
            && !rows.is_multiple_of(heads * 2)
        {
            return Err(broken(&format!("tensor `{key}`"), format!("{rows} rows are not {heads} heads of even size")));
        }
        Ok(Self { kind, shape: tensor.shape.clone(), bytes: tensor.bytes, heads })
    }

    /// Calls `part` with the file's bytes of the blocks that hold elements `start..end`, row by row in the checkpoint's
    /// order, and with which of their values these are.
    fn blocks(
        &self,
        start: usize,
        end: usize,
        mut part: impl FnMut(&'a [u8], Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let rows = self.shape[0];
        // Vectors are permuted too (biases of q and k): each element is a row then.
        let cols = self.shape[1..].iter().product::<usize>();
        let (weights, bytes) = self.kind.block();
        let mut at = start;
        while at < end {
            // Rows in their places follow each other in the file.
            let (row, col) = (at / cols, at % cols);
            let len = if self.heads.is_some() { (cols - col).min(end - at) } else { end - at };
            let first = self.stored_row(row, rows) * cols + col;
            let blocks = first / weights..(first + len).div_ceil(weights);
            let inside = first - blocks.start * weights;
            let found = self.bytes.get(blocks.start * bytes..blocks.end * bytes);
            let found = found.ok_or_else(|| broken("tensor", "has fewer bytes than its shape takes"))?;
            part(found, inside..inside + len)?;
            at += len;
        }
        Ok(())
    }

    /// The row of the file that is the checkpoint's `row`. In the file the two halves of a head, which rotate together,
    /// take turns.
    fn stored_row(&self, row: usize, rows: usize) -> usize {
        let Some(heads) = self.heads else { return row };
        let size = rows / heads;
        let (head, within) = (row / size, row % size);
        let (half, pair) = (within / (size / 2), within % (size / 2));
        head * size + pair * 2 + half
    }
}

impl Checkpoint for GgufCheckpoint<'_> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>> {
        let stored = self.get(name)?;
        let mut values = Vec::with_capacity(end - start);
        stored.blocks(start, end, |blocks, wanted| {
            let at = values.len();
            stored.kind.decode(blocks, &mut values);
            values.truncate(at + wanted.end);
            values.drain(at..at + wanted.start);
            Ok(())
        })?;
        Ok(values)
    }

    fn format(&self, needed: &Needed, asked: Option<Format>) -> Format {
        match asked {
            Some(asked) => needed.role.format(asked),
            None => self.formats.get(&needed.name).copied().unwrap_or(Format::F32),
        }
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
        let stored = self.get(name)?;
        let (weights, _) = stored.kind.block();
        let whole = weights > 1 && start.is_multiple_of(weights) && end.is_multiple_of(weights);
        let mut carried = whole && format == stored.kind.format();
        if carried {
            stored.blocks(start, end, |blocks, _| {
                carried &= stored.kind.carry(name, format, blocks, quants, scales)?;
                Ok(())
            })?;
        }
        Ok(carried)
    }
}

impl<'a> GgufCheckpoint<'a> {
    fn get(&self, name: &str) -> Result<&Stored<'a>> {
        let stored = self.tensors.get(name);
        stored.ok_or_else(|| Error::bundle(crate::convert::tensor(name), "is missing from the checkpoint"))
    }
}

/// The canonical name of a tensor of the decoder's file.
fn decoder_name(key: &str) -> Option<String> {
    Some(match key {
        "token_embd.weight" => EMBEDDING.into(),
        "output_norm.weight" => format!("{DECODER_PREFIX}.norm.weight"),
        "output.weight" => HEAD.into(),
        key => {
            let (layer, part, kind) = layer_parts(key.strip_prefix("blk.")?)?;
            let part = match part {
                "attn_norm" => "input_layernorm",
                "ffn_norm" => "post_attention_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                _ => return None,
            };
            format!("{DECODER_PREFIX}.layers.{layer}.{part}.{kind}")
        }
    })
}

/// The canonical name of a tensor of the projector's file. `swapped(layer)`: see [`is_ffn_swapped`].
fn vision_name(key: &str, swapped: &impl Fn(&str) -> bool) -> Option<String> {
    let tower = "vision_tower.vision_model";
    if let Some(kind) = key.strip_prefix("mm.0.") {
        return Some(format!("multi_modal_projector.linear_1.{kind}"));
    }
    if let Some(kind) = key.strip_prefix("mm.2.") {
        return Some(format!("multi_modal_projector.linear_2.{kind}"));
    }
    Some(match key.strip_prefix("v.")? {
        "class_embd" => format!("{tower}.embeddings.class_embedding"),
        "patch_embd.weight" => format!("{tower}.embeddings.patch_embedding.weight"),
        "position_embd.weight" => format!("{tower}.embeddings.position_embedding.weight"),
        "pre_ln.weight" => format!("{tower}.pre_layrnorm.weight"),
        "pre_ln.bias" => format!("{tower}.pre_layrnorm.bias"),
        key => {
            let (layer, part, kind) = layer_parts(key.strip_prefix("blk.")?)?;
            let part = match part {
                "ln1" => "layer_norm1",
                "ln2" => "layer_norm2",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_out" => "self_attn.out_proj",
                "ffn_up" | "ffn_down" if swapped(layer) == (part == "ffn_up") => "mlp.fc2",
                "ffn_up" | "ffn_down" => "mlp.fc1",
                _ => return None,
            };
            format!("{tower}.encoder.layers.{layer}.{part}.{kind}")
        }
    })
}

/// Whether a layer's `ffn_down` is the first of the two feed-forward matrices: files of llama.cpp's older converter say
/// `ffn_down` for `fc1`. Told by its columns, as llama.cpp does.
fn is_ffn_swapped(mmproj: &Gguf, layer: &str) -> bool {
    let side = |key: String, side: usize| mmproj.tensors.get(key.as_str()).and_then(|tensor| tensor.shape.get(side));
    let hidden = side(format!("v.blk.{layer}.attn_q.weight"), 1);
    hidden.is_some() && side(format!("v.blk.{layer}.ffn_down.weight"), 1) == hidden
}

/// `3.attn_q.weight` -> `3`, `attn_q`, `weight`.
fn layer_parts(key: &str) -> Option<(&str, &str, &str)> {
    let (layer, rest) = key.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    (layer.parse::<u32>().is_ok() && matches!(kind, "weight" | "bias")).then_some((layer, part, kind))
}
