//! Text to token ids and back, exactly as the model's own tokenizer.json says.

use std::ops::Range;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::{
    error::{Error, Result},
    text::prompt::{IMAGE_MARK, Kind, Prompt},
};

/// What an undecodable or unfinished byte sequence decodes to.
const REPLACEMENT: char = '\u{FFFD}';

/// Stands for the picture where no spelling may become a special token: found in the text as `<image>` is in a raw prompt. No
/// one's text: it begins with a character that is never exchanged, which texts lose before.
const PLACE: &str = "\u{FDD0}image";
const PLACE_START: char = '\u{FDD0}';

/// A tokenizer.json in use.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The id of [`PLACE`], which is no token of the model.
    place: u32,
    /// Whether tokens like `<0x0A>` stand for bytes.
    byte_tokens: bool,
}

/// A tokenized prompt: `ids`, and the positions the picture's features take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTokens {
    pub ids: Vec<u32>,
    /// Where `ids` holds the image token; `None` in a prompt without a picture.
    pub image: Option<Range<usize>>,
}

impl Tokenizer {
    /// Reads a tokenizer.json.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the bytes are not a tokenizer this library can run.
    pub fn from_bytes(json: &[u8]) -> Result<Self> {
        let bad = |error: serde_json::Error| Error::Tokenizer(error.to_string());
        // By way of a value, as parts of the library take for granted that they are given one.
        let json: Value = serde_json::from_slice(json).map_err(bad)?;
        check(&json)?;
        let byte_tokens = has_byte_fallback(&json["decoder"]);
        // What the file says of spaces beside `<image>` holds for its stand-in too.
        let image = json["added_tokens"].as_array().into_iter().flatten().find(|token| token["content"] == IMAGE_MARK);
        let flag = |name: &str| image.is_some_and(|image| image[name] == true);
        let place = AddedToken::from(PLACE, false)
            .normalized(false)
            .single_word(flag("single_word"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"));
        let mut inner: tokenizers::Tokenizer = serde_json::from_value(json).map_err(bad)?;
        // Settings of the training run that some files still carry; a prompt is never cut nor filled up.
        inner.with_truncation(None).map_err(Error::tokenizer)?.with_padding(None);
        inner.add_tokens(&[place]);
        let place = inner.token_to_id(PLACE).ok_or_else(|| Error::Tokenizer("takes no further token".to_owned()))?;
        Ok(Self { inner, place, byte_tokens })
    }

    /// The ids of `text`, in which special tokens may be spelled out, with those that the post-processor adds (LLaMA: `<s>` in
    /// front).
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.inner.encode(text, true).map_err(Error::tokenizer)?.get_ids().to_vec())
    }

    /// The ids of `text`, in which nothing is a special token but [`PLACE`].
    fn encode_plain(&mut self, text: &str) -> Result<Vec<u32>> {
        self.inner.set_encode_special_tokens(true);
        let ids = self.encode_text(text);
        self.inner.set_encode_special_tokens(false);
        ids
    }

    /// The ids of a prompt, its image token (if any) repeated for the `image_tokens` positions the picture takes.
    ///
    /// `image_token_id` is the checkpoint's: the model splices the picture in where it finds this id.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] as [`check_image_token`](Self::check_image_token), for a prompt with a picture.
    pub fn encode(&mut self, prompt: &Prompt, image_token_id: u32, image_tokens: usize) -> Result<PromptTokens> {
        let (ids, mark) = match prompt.kind() {
            Kind::Raw => (self.encode_text(prompt.text())?, image_token_id),
            Kind::Template { image } => {
                let text = prompt.text();
                let (before, after) = text.split_at(image.unwrap_or(text.len()));
                let own = |text: &str| text.replace(PLACE_START, "\u{FFFD}");
                let text = match after.strip_prefix(IMAGE_MARK).filter(|_| image.is_some()) {
                    Some(after) => own(before) + PLACE + &own(after),
                    None => own(text),
                };
                (self.encode_plain(&text)?, self.place)
            }
        };
        if !prompt.has_image() {
            return Ok(PromptTokens { ids, image: None });
        }
        self.check_image_token(image_token_id)?;
        let lost = || Error::Tokenizer(format!("`{IMAGE_MARK}` is lost in \"{}\"", prompt.text()));
        let at = ids.iter().position(|id| *id == mark).ok_or_else(lost)?;
        let mut expanded = ids[..at].to_vec();
        expanded.resize(at + image_tokens, image_token_id);
        expanded.extend_from_slice(&ids[at + 1..]);
        Ok(PromptTokens { ids: expanded, image: Some(at..at + image_tokens) })
    }

    /// Whether `<image>` is the one token that config.json names.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it is another, or none.
    pub fn check_image_token(&self, image_token_id: u32) -> Result<()> {
        let found = self.inner.get_added_vocabulary().get_vocab().get(IMAGE_MARK);
        if found == Some(&image_token_id) {
            return Ok(());
        }
        let found = match found.copied().or(self.inner.token_to_id(IMAGE_MARK)) {
            Some(id) if id == image_token_id => "lists it among ordinary tokens, not in `added_tokens`".to_owned(),
            Some(id) => format!("has it with the id {id}"),
            None => "has no such token".to_owned(),
        };
        Err(Error::Tokenizer(format!(
            "`{IMAGE_MARK}` must be an added token with the id {image_token_id}, as config.json says (image_token_index), but \
             tokenizer.json {found}; take both files from one checkpoint"
        )))
    }

    /// The text of `ids`, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        // A model may have more ids than its tokenizer; the first of them is taken here.
        let ids: Vec<u32> = ids.iter().copied().filter(|id| *id != self.place).collect();
        self.inner.decode(&ids, true).map_err(Error::tokenizer)
    }

    /// The id of a token by its exact spelling in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether `id` is left out of the text: a special token, or none of the model's.
    fn is_silent(&self, id: u32) -> bool {
        let special = |token: String| self.inner.get_added_vocabulary().is_special_token(&token);
        id == self.place || self.inner.id_to_token(id).is_none_or(special)
    }

    /// The byte that `id` stands for (`<0x0A>`), if it is such a token.
    fn byte(&self, id: u32) -> Option<u8> {
        let token = self.inner.id_to_token(id).filter(|_| self.byte_tokens)?;
        let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
        u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
    }
}

/// Whether `decoder` or a part of it makes bytes of byte tokens.
fn has_byte_fallback(decoder: &Value) -> bool {
    match decoder {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|kind| kind == "ByteFallback") || fields.values().any(has_byte_fallback)
        }
        Value::Array(list) => list.iter().any(has_byte_fallback),
        _ => false,
    }
}

/// Refuses what the library would take and then panic on. It does not need to be told the type of a part, so neither is it
/// looked at here.
fn check(json: &Value) -> Result<()> {
    let refuse = |problem: String| Err(Error::Tokenizer(problem));
    each_object(&json["decoder"], &|strip| match strip.get("stop") {
        Some(stop) if stop != 0 => refuse(format!("a decoder with `stop` {stop}: only 0, as in LLaMA's, can be run")),
        _ => Ok(()),
    })?;
    each_object(&json["post_processor"], &|template| {
        let pieces = template.get("single").and_then(Value::as_array).into_iter().flatten();
        for piece in pieces {
            let (token, text) = (&piece["SpecialToken"]["id"], &piece["Sequence"]["id"]);
            if token.as_str().is_some_and(|id| template.get("special_tokens").and_then(|known| known.get(id)).is_none())
            {
                return refuse(format!("the post-processor does not say which token {token} is"));
            }
            if text == "B" {
                return refuse("the post-processor's `single` asks for a second text".to_owned());
            }
        }
        Ok(())
    })
}

fn each_object(part: &Value, visit: &impl Fn(&Map<String, Value>) -> Result<()>) -> Result<()> {
    match part {
        Value::Object(fields) => {
            visit(fields)?;
            fields.values().try_for_each(|part| each_object(part, visit))
        }
        Value::Array(list) => list.iter().try_for_each(|part| each_object(part, visit)),
        _ => Ok(()),
    }
}

/// Text appearing token by token. The pieces, put together, are the decoded whole up to the first stop string; no piece
/// ends inside a UTF-8 character or inside what may become a stop string. Bytes that are no UTF-8 become one U+FFFD each,
/// where the library would give up the whole run of byte tokens around them: it cannot be known before the run ends.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stop: Vec<String>,
    /// The ids of the last decoded piece: decoders treat the start of a text in a special way (LLaMA's drops a space),
    /// so a later piece is decoded behind these and their own text cut off again.
    context: Vec<u32>,
    /// Ids whose text is not settled yet.
    fresh: Vec<u32>,
    /// The bytes that `fresh` stands for, where it is byte tokens: the beginning of a character.
    bytes: Vec<u8>,
    /// Settled text that may be the beginning of a stop string.
    held: String,
    /// All text returned so far.
    shown: String,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    /// Starts decoding ids as they are generated, up to the first of the `stop` strings.
    pub fn new(tokenizer: &'a Tokenizer, stop: &[String]) -> Self {
        Self {
            tokenizer,
            stop: stop.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            context: Vec::new(),
            fresh: Vec::new(),
            bytes: Vec::new(),
            held: String::new(),
            shown: String::new(),
            stopped: false,
        }
    }

    /// Takes the next generated id and returns the text that is now certain (often empty).
    pub fn push(&mut self, id: u32) -> Result<String> {
        if self.stopped {
            return Ok(String::new());
        }
        if self.tokenizer.is_silent(id) {
            return Ok(String::new());
        }
        match self.tokenizer.byte(id) {
            Some(byte) => self.push_byte(id, byte)?,
            None => {
                self.settle_broken();
                self.fresh.push(id);
                let text = self.fresh_text()?;
                if !text.ends_with(REPLACEMENT) {
                    self.settle(&text);
                }
            }
        }
        Ok(self.release(false))
    }

    /// Ends the stream: what was held back is returned as it is. A no-op once a stop string was found.
    pub fn finish(&mut self) -> Result<String> {
        if self.stopped {
            return Ok(String::new());
        }
        self.settle_broken();
        let text = self.fresh_text()?;
        self.settle(&text);
        Ok(self.release(true))
    }

    /// Whether a stop string was reached: nothing more will come, and generation can end.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// All text returned so far.
    pub fn into_text(self) -> String {
        self.shown
    }

    /// Takes a byte token: settled with those before it as soon as they are a character, or cannot become one.
    fn push_byte(&mut self, id: u32, byte: u8) -> Result<()> {
        // Tokens that are no bytes and still lack something will not get it from a byte.
        if self.bytes.is_empty() && !self.fresh.is_empty() {
            let text = self.fresh_text()?;
            self.settle(&text);
        }
        self.fresh.push(id);
        self.bytes.push(byte);
        match std::str::from_utf8(&self.bytes).map(str::to_owned) {
            // The first text of all is the decoder's affair.
            Ok(text) if !self.context.is_empty() => self.settle(&text),
            Ok(_) => {
                let text = self.fresh_text()?;
                self.settle(&text);
            }
            Err(error) if error.error_len().is_none() => {}
            // What came before this byte is broken; the byte itself may begin a character.
            Err(_) if self.bytes.len() > 1 => {
                self.fresh.pop();
                self.bytes.pop();
                self.settle_broken();
                return self.push_byte(id, byte);
            }
            Err(_) => self.settle_broken(),
        }
        Ok(())
    }

    /// Settles bytes that will not become a character.
    fn settle_broken(&mut self) {
        if !self.bytes.is_empty() {
            self.settle(&String::from(REPLACEMENT).repeat(self.bytes.len()));
        }
    }

    fn fresh_text(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.context)?;
        let both = self.tokenizer.decode(&[self.context.as_slice(), &self.fresh].concat())?;
        both.strip_prefix(before.as_str())
            .map(str::to_owned)
            .ok_or_else(|| Error::Tokenizer("the decoder of tokenizer.json rewrites text already shown".to_owned()))
    }

    fn settle(&mut self, text: &str) {
        self.held.push_str(text);
        self.bytes.clear();
        if !self.fresh.is_empty() {
            self.context = std::mem::take(&mut self.fresh);
        }
    }

    /// Cuts off the held text that can be shown: all before a stop string, or all that cannot be the start of one.
    fn release(&mut self, at_end: bool) -> String {
        let stop_at = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        self.stopped = stop_at.is_some();
        let may_start_stop = |at: &usize| self.stop.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let kept_at = || self.held.char_indices().map(|(at, _)| at).find(may_start_stop).filter(|_| !at_end);
        let rest = self.held.split_off(stop_at.or_else(kept_at).unwrap_or(self.held.len()));
        let piece = std::mem::replace(&mut self.held, rest);
        self.shown.push_str(&piece);
        piece
    }
}

impl Error {
    fn tokenizer(error: tokenizers::Error) -> Self {
        Error::Tokenizer(error.to_string())
    }
}
