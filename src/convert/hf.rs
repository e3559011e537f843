//! Hugging Face LLaVA folders: config.json, tokenizer.json and safetensors, in one file or many shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytemuck::pod_collect_to_vec;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde_json::{Value, json};

use super::mapped::Mapped;
use super::{Checkpoint, Needed, Options, Summary, python};
use crate::bundle::{BundleHead, ModelInfo};
use crate::model::config::LlavaConfig;
use crate::model::{self, DECODER_PREFIX, EMBEDDING, HEAD};
use crate::{Error, Result};

/// Converts the checkpoint in `folder`, a LLaVA or a plain LLaMA, into a bundle in `out`.
///
/// # Errors
/// A file is missing or damaged, the configuration is not supported, or as [`super::write`].
pub fn convert(folder: &Path, out: &Path, options: &Options) -> Result<Summary> {
    let format = options.asked()?;
    let mut notes = Vec::new();
    let mut config_json = read_json(&folder.join("config.json"))?.ok_or_else(|| {
        let cure = match folder.join("adapter_config.json").exists() {
            true => "is missing: this is an adapter (LoRA); merge it into its base model (PEFT's merge_and_unload) and convert that",
            false => {
                "is missing: give a Hugging Face folder with config.json, tokenizer.json and *.safetensors, or a GGUF file"
            }
        };
        io(&folder.join("config.json"), cure)
    })?;
    if config_json.get("quantization_config").is_some_and(|value| !value.is_null()) {
        let cure = "the checkpoint is already quantized; convert the original f16, bf16 or f32 one";
        return Err(Error::unsupported("quantization_config", cure));
    }
    let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or_else(|| json!({}));
    let image_settings = read_preprocessor(folder)?;
    if let Some(settings) = &image_settings {
        keep_image_size(&mut config_json, settings);
    }
    let mut config = LlavaConfig::from_json(&config_json, &generation)?;
    let tokenizer = read_tokenizer(folder)?;
    let preprocessor = match (&config.vision, image_settings) {
        (None, _) => Value::Null,
        (Some(_), Some(settings)) => settings,
        (Some(vision), None) => {
            let size = vision.tower.image_size();
            notes.push(format!("no preprocessor_config.json: pictures are prepared as CLIP does, at {size} pixels"));
            super::clip_preprocessor(size)
        }
    };

    notes.extend(template(folder)?);

    let mut checkpoint = HfCheckpoint::open(folder, config.vision.is_none())?;
    if config.text.tie_word_embeddings && !checkpoint.tie()? {
        notes.push("config.json ties the head to embed_tokens, but the two differ: both are kept".into());
        config.text.tie_word_embeddings = false;
        for section in ["", "/text_config"] {
            if let Some(Value::Object(fields)) = config_json.pointer_mut(section) {
                fields.insert("tie_word_embeddings".into(), false.into());
            }
        }
    }
    notes.extend(checkpoint.unused(&config));

    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder_name = absolute.file_name().map_or_else(|| "llava".into(), |name| name.to_string_lossy().into_owned());
    let model = ModelInfo {
        name: options.name.clone().unwrap_or(folder_name),
        license: options.license.clone().unwrap_or_default(),
        source: config_json.get("_name_or_path").and_then(Value::as_str).unwrap_or_default().into(),
    };
    let quantization = format.name().into();
    let head = BundleHead { model, config: config_json, generation, preprocessor, quantization, memory: None };
    super::write(&checkpoint, &config, head, &tokenizer, out, options, notes)
}

/// The canonical name of a checkpoint's key. Keys come as `language_model.model.*` with `language_model.lm_head`, or as
/// `model.language_model.*` with `lm_head`; a tower of transformers' own with or without `vision_model`; and mixed.
pub fn sanitize(key: &str) -> String {
    let parts = ["language_model.", "vision_tower.", "multi_modal_projector."];
    let inner = key.strip_prefix("model.").filter(|inner| parts.iter().any(|part| inner.starts_with(part)));
    let key = inner.unwrap_or(key);
    if let Some(rest) = key.strip_prefix("vision_tower.") {
        if rest.starts_with("timm_model.") {
            return key.to_owned();
        }
        let rest = rest.strip_prefix("vision_model.").unwrap_or(rest);
        return format!("vision_tower.vision_model.{rest}");
    }
    if key.starts_with("lm_head.") {
        return format!("language_model.{key}");
    }
    match key.strip_prefix("language_model.") {
        Some(rest) if !rest.starts_with("model.") && !rest.starts_with("lm_head.") => {
            format!("language_model.model.{rest}")
        }
        _ => key.to_owned(),
    }
}

/// Whether a canonical name is something that checkpoints store but that follows from config.json, or serves training only.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
        || name.ends_with(".rotary_emb.inv_freq")
        || name.ends_with(".embeddings.position_ids")
}

/// The tensors of one folder, mapped into memory.
#[derive(Debug)]
pub struct HfCheckpoint {
    shards: Vec<Shard>,
    /// Canonical name -> shard and its own key.
    tensors: BTreeMap<String, (usize, String)>,
}

#[derive(Debug)]
struct Shard {
    /// The file's name.
    name: String,
    map: Mapped,
    /// Where the tensors' bytes begin.
    data: usize,
    metadata: Metadata,
}

impl HfCheckpoint {
    /// Opens all shards in `folder` and reads their headers. In a plain LLaMA (`alone`) the decoder's keys begin with
    /// `model.`.
    ///
    /// # Errors
    /// A shard is missing or damaged, or two keys mean the same tensor.
    pub fn open(folder: &Path, alone: bool) -> Result<Self> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        for path in shard_paths(folder)? {
            let shard = Shard::open(&path)?;
            let index = checkpoint.shards.len();
            for key in shard.metadata.tensors().into_keys() {
                let name = match key.strip_prefix("model.").filter(|_| alone) {
                    Some(rest) => format!("{DECODER_PREFIX}.{rest}"),
                    None => sanitize(&key),
                };
                if let Some((other_index, other)) = checkpoint.tensors.insert(name.clone(), (index, key.clone())) {
                    let other_shard = checkpoint.shards.get(other_index).unwrap_or(&shard);
                    let problem = format!(
                        "`{other}` of {} and `{key}` of {} both mean this one: remove the one that does not belong to the \
                         checkpoint",
                        other_shard.name, shard.name
                    );
                    return Err(Error::bundle(super::tensor(&name), problem));
                }
            }
            checkpoint.shards.push(shard);
        }
        Ok(checkpoint)
    }

    /// Applies transformers' rule for a tied head: `true` if one tensor serves both (whichever of the two is there),
    /// `false` if the checkpoint holds two different ones.
    fn tie(&mut self) -> Result<bool> {
        match (self.tensors.get(EMBEDDING).cloned(), self.tensors.get(HEAD).cloned()) {
            (None, Some(head)) => {
                self.tensors.insert(EMBEDDING.into(), head);
            }
            (Some(_), Some(_)) if !self.same(EMBEDDING, HEAD)? => return Ok(false),
            _ => {}
        }
        self.tensors.remove(HEAD);
        Ok(true)
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (a, b) = (self.get(a)?, self.get(b)?);
        Ok((a.0.dtype, &a.0.shape, a.1) == (b.0.dtype, &b.0.shape, b.1))
    }

    /// Lines about tensors that the bundle does not take over.
    fn unused(&self, config: &LlavaConfig) -> Vec<String> {
        let needed: BTreeSet<String> =
            super::plan(config).iter().flat_map(Needed::sources).map(|needed| needed.name).collect();
        let left = self.tensors.keys().filter(|name| !needed.contains(*name) && !is_buffer(name));
        let is_above = |name: &str| config.vision.as_ref().is_some_and(|vision| model::is_above(vision, name));
        let (above, unknown): (Vec<_>, Vec<_>) = left.partition(|name| is_above(name));
        let mut lines = Vec::new();
        if !above.is_empty() {
            lines.push(format!("{} tensors above vision_feature_layer are never used and left out", above.len()));
        }
        lines.extend(unknown.iter().map(|name| format!("unknown tensor left out: {name}")));
        lines
    }

    /// Header entry and bytes of a tensor.
    fn get(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        self.find(name).map(|(_, info, bytes)| (info, bytes))
    }

    /// [`Self::get`], and the file it lies in.
    fn find(&self, name: &str) -> Result<(&Mapped, &TensorInfo, &[u8])> {
        let missing = || Error::bundle(super::tensor(name), "is missing from the checkpoint");
        let (shard, key) = self.tensors.get(name).ok_or_else(missing)?;
        let shard = &self.shards[*shard];
        let info = shard.metadata.info(key).ok_or_else(missing)?;
        let (start, end) = info.data_offsets;
        let bytes = shard.map.get(shard.data + start..shard.data + end).ok_or_else(missing)?;
        Ok((&shard.map, info, bytes))
    }
}

impl Checkpoint for HfCheckpoint {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).ok().map(|(info, _)| info.shape.as_slice())
    }

    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>> {
        let (file, info, bytes) = self.find(name)?;
        let size = match info.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                let problem = format!("is stored as {other:?}; only F32, F16 and BF16 are converted");
                return Err(Error::unsupported(name, problem));
            }
        };
        let part = bytes.get(start * size..end * size);
        let part = part.ok_or_else(|| Error::bundle(super::tensor(name), "has fewer bytes than its shape takes"))?;
        let values = match info.dtype {
            Dtype::F32 => pod_collect_to_vec(part),
            Dtype::F16 => pod_collect_to_vec::<_, f16>(part).to_f32_vec(),
            _ => pod_collect_to_vec::<_, bf16>(part).to_f32_vec(),
        };
        file.done_with(part);
        Ok(values)
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let map = Mapped::open(path).map_err(|error| io(path, error))?;
        super::refuse_pointer(path, &map)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| io(path, format!("is no complete safetensors file ({error}); download it again")))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, map, data: header + 8, metadata })
    }
}

/// The safetensors files of a folder: those the index names, else the single one.
fn shard_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = folder.join("model.safetensors.index.json");
    let Some(index) = read_json(&path)? else {
        let single = folder.join("model.safetensors");
        if !single.exists() {
            let cure = "is missing, and there is no model.safetensors.index.json; load the checkpoint in transformers \
                        and write it with save_pretrained";
            return Err(io(&single, cure));
        }
        return Ok(vec![single]);
    };
    let names = index.get("weight_map").and_then(Value::as_object).map(|map| map.values().map(Value::as_str).collect());
    let names: Option<BTreeSet<&str>> = names.ok_or_else(|| io(&path, "has no `weight_map`"))?;
    let names = names.filter(|names| !names.is_empty() && names.iter().all(|name| !name.contains(['/', '\\'])));
    let names = names.ok_or_else(|| io(&path, "`weight_map` does not name files of this folder"))?;
    let shards: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
    if let Some(missing) = shards.iter().find(|shard| !shard.exists()) {
        let stale = if folder.join("model.safetensors").exists() {
            ", or delete the index: model.safetensors is there"
        } else {
            ""
        };
        return Err(io(missing, format!("is missing, but {} names it; download it{stale}", path.display())));
    }
    Ok(shards)
}

/// A line about chat templates, which bundles do not keep.
fn template(folder: &Path) -> Result<Option<String>> {
    let mut found = vec!["chat_template.jinja", "chat_template.json"];
    found.retain(|name| folder.join(name).exists());
    for name in ["tokenizer_config.json", "processor_config.json"] {
        if read_json(&folder.join(name))?.is_some_and(|json| !json["chat_template"].is_null()) {
            found.push(name);
        }
    }
    Ok((!found.is_empty()).then(|| super::template_note(&found.join(", "))))
}

/// tokenizer.json as it stands.
fn read_tokenizer(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join("tokenizer.json");
    let json = read_json(&path)?.ok_or_else(|| {
        let folder = folder.display();
        let cure = format!(
            "is missing; write one with: python -c \"from transformers import AutoTokenizer as T; \
             T.from_pretrained('{folder}', use_fast=True).save_pretrained('{folder}')\""
        );
        io(&path, cure)
    })?;
    if json.get("model").is_none() {
        return Err(io(&path, "has no `model`: it is not a tokenizer of the tokenizers library"));
    }
    fs::read(&path).map_err(|error| io(&path, error))
}

/// Image settings as transformers finds them: processor_config.json's `image_processor`, then
/// preprocessor_config.json.
fn read_preprocessor(folder: &Path) -> Result<Option<Value>> {
    let nested = read_json(&folder.join("processor_config.json"))?;
    if let Some(settings @ Value::Object(_)) = nested.and_then(|mut json| Some(json.get_mut("image_processor")?.take()))
    {
        return Ok(Some(settings));
    }
    read_json(&folder.join("preprocessor_config.json"))
}

/// Towers of timm take pictures of any size, so that only the image settings say which: takes it down in config.json, where a
/// loaded model looks for it.
fn keep_image_size(config: &mut Value, settings: &Value) {
    let crops = settings["do_center_crop"].as_bool().unwrap_or(true) && !settings["crop_size"].is_null();
    let size = &settings[if crops { "crop_size" } else { "size" }];
    let side = [&size["height"], &size["shortest_edge"], size].into_iter().find_map(Value::as_u64);
    let tower = config.get_mut("vision_config").and_then(Value::as_object_mut);
    if let (Some(side), Some(tower)) = (side, tower)
        && tower.get("model_type").is_some_and(|kind| kind == "timm_wrapper")
        && tower.get("image_size").is_none_or(Value::is_null)
    {
        tower.insert("image_size".into(), side.into());
    }
}

/// A JSON file; `None` if there is none.
fn read_json(path: &Path) -> Result<Option<Value>> {
    match fs::read(path) {
        Ok(bytes) => {
            super::refuse_pointer(path, &bytes)?;
            python::from_slice(&bytes).map(Some).map_err(|error| io(path, format!("is no JSON: {error}")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, error)),
    }
}

fn io(path: &Path, problem: impl ToString) -> Error {
    Error::Io { what: path.display().to_string(), problem: problem.to_string() }
}

/// [`io`] for `map_err`.
pub(super) fn io_error<E: ToString>(path: &Path) -> impl Fn(E) -> Error {
    move |error| io(path, error)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{keep_image_size, sanitize};

    #[test]
    fn all_layouts_come_to_the_same_names() {
        let cases = [
            ("language_model.model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight"),
            ("language_model.model.embed_tokens.weight", "model.language_model.embed_tokens.weight"),
            ("language_model.model.norm.weight", "language_model.norm.weight"),
            ("language_model.lm_head.weight", "lm_head.weight"),
            ("vision_tower.vision_model.pre_layrnorm.bias", "model.vision_tower.pre_layrnorm.bias"),
            ("vision_tower.vision_model.pre_layrnorm.bias", "model.vision_tower.vision_model.pre_layrnorm.bias"),
            ("vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"),
            ("vision_tower.timm_model.bn1.bias", "model.vision_tower.timm_model.bn1.bias"),
            ("multi_modal_projector.linear_1.weight", "model.multi_modal_projector.linear_1.weight"),
        ];
        for (canonical, key) in cases {
            assert_eq!(sanitize(key), canonical);
            assert_eq!(sanitize(canonical), canonical);
        }
        assert_eq!(sanitize("model.layers.0.weight"), "model.layers.0.weight");
    }

    #[test]
    fn towers_of_any_size_have_that_of_the_image_settings() {
        let kept = |tower: Value, settings: Value| {
            let mut config = json!({"vision_config": tower});
            keep_image_size(&mut config, &settings);
            config["vision_config"]["image_size"].clone()
        };
        let timm = || json!({"model_type": "timm_wrapper"});
        let sizes = json!({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}});
        assert_eq!(kept(timm(), sizes.clone()), 224);
        assert_eq!(kept(timm(), json!({"size": {"height": 160, "width": 160}})), 160);
        assert_eq!(kept(timm(), json!({"size": {"shortest_edge": 96}, "do_center_crop": false, "crop_size": 64})), 96);
        assert_eq!(kept(timm(), json!({"crop_size": 64})), 64);
        assert_eq!(kept(timm(), json!({})), Value::Null);
        // Where config.json says it, or the tower has one size, nothing is changed.
        assert_eq!(kept(json!({"model_type": "timm_wrapper", "image_size": 97}), sizes.clone()), 97);
        assert_eq!(kept(json!({"model_type": "clip_vision_model"}), sizes), Value::Null);
    }
}
