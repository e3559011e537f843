//! tokenizer.json from a GGUF's own tables, giving the ids that llama.cpp gives.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::file::{Gguf, broken};
use crate::convert::said;
use crate::text::prompt::IMAGE_MARK;
use crate::text::tokenizer::Tokenizer;
use crate::{Error, Result};

/// No SentencePiece model has longer tokens; finding all ways to a token takes the square of its bytes.
const LONGEST_PIECE: usize = 512;
/// Token types of llama.cpp that matter here.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// What LLaMA-3 splits text into before merging.
const LLAMA3_SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A rebuilt tokenizer.
pub struct Rebuilt {
    /// tokenizer.json.
    pub json: Vec<u8>,
    /// The id of `<image>`, if it was asked for.
    pub image_token_id: Option<u32>,
}

/// Rebuilds the tokenizer. With `image` it knows `<image>` as one token: the file's own, or where the file has none (those
/// made from LLaVA's original checkpoints) a new one above the `rows` of the embedding. That is sound because the
/// embedding of `<image>` is never looked up: the picture's features take its place.
///
/// # Errors
/// A table is missing or inconsistent, or the kind of tokenizer is not supported.
pub fn rebuild(model: &Gguf, rows: usize, image: bool) -> Result<Rebuilt> {
    let mut tables = Tables::read(model, rows)?;
    let image_token_id = image.then(|| tables.image_token(rows));
    let kind = model.str("tokenizer.ggml.model")?;
    let mut json = match kind {
        Some("llama") => tables.sentencepiece(model)?,
        Some("gpt2") => tables.byte_level(model)?,
        other => {
            let problem = format!("{} is not one of llama, gpt2", said(other));
            return Err(Error::unsupported("tokenizer.ggml.model", problem));
        }
    };
    json["version"] = "1.0".into();
    json["added_tokens"] = tables.added.into();
    let json = json.to_string().into_bytes();
    // What the engine will read, read once here: damaged tables fail now, and not in a browser.
    Tokenizer::from_bytes(&json)?;
    Ok(Rebuilt { json, image_token_id })
}

struct Tables<'a> {
    tokens: Vec<&'a str>,
    types: Vec<u64>,
    vocab: Map<String, Value>,
    /// The tokens that are found in the text before anything else, as in tokenizer.json.
    added: Vec<Value>,
}

impl<'a> Tables<'a> {
    fn read(model: &Gguf<'a>, rows: usize) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let tokens = model.texts(key)?.filter(|tokens| !tokens.is_empty());
        let tokens = tokens.ok_or_else(|| {
            broken(&format!("metadata `{key}`"), "is missing or empty: the file has no tokenizer; use one that has")
        })?;
        if tokens.len() > rows {
            let problem = format!("{} tokens, but the embedding has {rows} rows", tokens.len());
            return Err(broken(&format!("metadata `{key}`"), problem));
        }
        let types = same_length(model.numbers("tokenizer.ggml.token_type")?, tokens.len(), "token_type")?;
        let types =
            types.map_or(vec![NORMAL; tokens.len()], |types| types.into_iter().map(|kind| kind as u64).collect());
        let vocab = tokens.iter().zip(0u32..).map(|(token, id)| (token.to_string(), id.into())).collect();
        let mut tables = Self { tokens, types, vocab, added: Vec::new() };
        for id in 0..tables.tokens.len() {
            if matches!(tables.types[id], CONTROL | USER_DEFINED) && !tables.tokens[id].is_empty() {
                tables.add(id as u32, tables.tokens[id], tables.types[id] == CONTROL);
            }
        }
        Ok(tables)
    }

    fn add(&mut self, id: u32, content: &str, special: bool) {
        self.added.push(json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                               "normalized": false, "special": special}));
    }

    fn image_token(&mut self, rows: usize) -> u32 {
        let known = self.tokens.iter().position(|token| *token == IMAGE_MARK);
        let id = known.unwrap_or(rows) as u32;
        if !known.is_some_and(|id| matches!(self.types[id], CONTROL | USER_DEFINED)) {
            self.vocab.insert(IMAGE_MARK.into(), id.into());
            self.add(id, IMAGE_MARK, true);
        }
        id
    }

    /// SentencePiece's BPE: of all neighbours the pair whose whole has the highest score is joined first.
    fn sentencepiece(&mut self, model: &Gguf) -> Result<Value> {
        let scores = same_length(model.numbers("tokenizer.ggml.scores")?, self.tokens.len(), "scores")?;
        let scores = scores.ok_or_else(|| broken("metadata `tokenizer.ggml.scores`", "is missing"))?;
        let ids: HashMap<&str, usize> = self.tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
        let mut merges = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if !matches!(self.types[id], NORMAL | USER_DEFINED) {
                continue;
            }
            if token.len() > LONGEST_PIECE {
                let problem =
                    format!("token {id} has {} bytes, more than the {LONGEST_PIECE} of any tokenizer", token.len());
                return Err(broken("metadata `tokenizer.ggml.tokens`", problem));
            }
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                    merges.push((scores[id], l, r, [left, right]));
                }
            }
        }
        // Ways to the same token have the same score: which comes first seldom matters, but it must not be chance.
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let merges: Vec<_> = merges.into_iter().map(|(_, _, _, pair)| pair).collect();
        let space = model.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let escape = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let normalizer = match space {
            true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, escape]}),
            false => escape,
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if space {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.named(model, "unknown", Some(0))?.map(|(_, token)| token);
        Ok(json!({
            "normalizer": normalizer,
            "pre_tokenizer": null,
            "post_processor": self.post_processor(model, true)?,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {"type": "BPE", "unk_token": unknown, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                      "vocab": self.vocab, "merges": merges},
        }))
    }

    /// Byte-level BPE with a table of merges; `tokenizer.ggml.pre` names how text is split before.
    fn byte_level(&mut self, model: &Gguf) -> Result<Value> {
        let key = "tokenizer.ggml.merges";
        let lines = model.texts(key)?.ok_or_else(|| broken(&format!("metadata `{key}`"), "is missing"))?;
        let merges = lines.iter().map(|line| {
            // A token may begin with the space itself only in its escaped form.
            line.split_once(' ').ok_or_else(|| broken(&format!("metadata `{key}`"), format!("`{line}` is no pair")))
        });
        let merges: Vec<_> = merges.map(|pair| pair.map(|(left, right)| [left, right])).collect::<Result<_>>()?;
        let pre = model.str("tokenizer.ggml.pre")?;
        let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let (steps, llama3) = match pre {
            Some("gpt-2" | "gpt2") => (vec![byte_level(true)], false),
            Some("smollm" | "starcoder" | "refact" | "command-r" | "codeshell") => {
                (vec![digits, byte_level(true)], false)
            }
            Some("llama3" | "llama-v3" | "llama-bpe") => {
                let pattern = json!({"Regex": LLAMA3_SPLIT});
                let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
                (vec![split, byte_level(false)], true)
            }
            other => {
                let known = "gpt-2, smollm, starcoder, refact, command-r, codeshell, llama-bpe";
                return Err(Error::unsupported("tokenizer.ggml.pre", format!("{} is not one of {known}", said(other))));
            }
        };
        Ok(json!({
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "post_processor": self.post_processor(model, llama3)?,
            "decoder": byte_level(true),
            "model": {"type": "BPE", "unk_token": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": llama3,
                      "vocab": self.vocab, "merges": merges},
        }))
    }

    /// The tokens put before and behind every text.
    fn post_processor(&self, model: &Gguf, add_bos: bool) -> Result<Value> {
        let wanted = |name: &str, default| {
            model.bool(&format!("tokenizer.ggml.add_{name}_token")).map(|add| add.unwrap_or(default))
        };
        let before = if wanted("bos", add_bos)? { self.named(model, "bos", Some(1))? } else { None };
        let behind = if wanted("eos", false)? { self.named(model, "eos", Some(2))? } else { None };
        let piece = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let around = |texts: Vec<Value>| -> Vec<Value> {
            let before = before.iter().map(|(_, token)| piece(token));
            before.chain(texts).chain(behind.iter().map(|(_, token)| piece(token))).collect()
        };
        let known = before.iter().chain(&behind);
        let known: Map<String, Value> = known
            .map(|(id, token)| (token.to_string(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        Ok(match known.is_empty() {
            true => Value::Null,
            false => json!({"type": "TemplateProcessing", "single": around(vec![text("A")]),
                            "pair": around(vec![text("A"), text("B")]), "special_tokens": known}),
        })
    }

    /// The token that `tokenizer.ggml.<name>_token_id` names.
    fn named(&self, model: &Gguf, name: &str, default: Option<u64>) -> Result<Option<(u64, &'a str)>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(id) = model.u64(&key)?.or(default) else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let token = token.ok_or_else(|| {
            broken(&format!("metadata `{key}`"), format!("{id} is no token of {}", self.tokens.len()))
        })?;
        Ok(Some((id, token)))
    }
}

fn same_length(list: Option<Vec<f64>>, len: usize, name: &str) -> Result<Option<Vec<f64>>> {
    if let Some(list) = &list
        && list.len() != len
    {
        let problem = format!("{} entries for {len} tokens", list.len());
        return Err(broken(&format!("metadata `tokenizer.ggml.{name}`"), problem));
    }
    Ok(list)
}
