//! Text to token ids and back, exactly as the model's own tokenizer.json says.

use std::ops::Range;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::{
    error::{Error, Result},
    text::prompt::{IMAGE_MARK, Kind, Prompt},
};

/// Before a special token's spelling makes a stand-in of it, which is found in the text where no spelling may become a special
/// token. No one's text: this is a character that is never exchanged, and texts lose it before.
const STAND_IN: char = '\u{FDD0}';

/// A tokenizer.json in use.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The ids of stand-ins, which are no tokens of the model, and those of the tokens that they stand for.
    stand_ins: Vec<(u32, u32)>,
    /// The id of the picture's stand-in.
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
    /// Reads a tokenizer.json, for prompts without special tokens but the picture's mark.
    ///
    /// # Errors
    /// As [`with_special`](Self::with_special).
    pub fn from_bytes(json: &[u8]) -> Result<Self> {
        Self::with_special(json, &[])
    }

    /// Reads a tokenizer.json, for prompts in which a template may spell out the tokens `special`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the bytes are not a tokenizer this library can run, or one of these is no token of it.
    pub fn with_special(json: &[u8], special: &[&str]) -> Result<Self> {
        let bad = |error: serde_json::Error| Error::Tokenizer(error.to_string());
        // By way of a value, as parts of the library take for granted that they are given one.
        let json: Value = serde_json::from_slice(json).map_err(bad)?;
        check(&json)?;
        let byte_tokens = has_byte_fallback(&json["decoder"]);
        // What the file says of spaces beside a token holds for its stand-in too.
        let stand_in = |token: &&str| {
            let added = json["added_tokens"].as_array().into_iter().flatten().find(|added| added["content"] == **token);
            let flag = |name: &str| added.is_some_and(|added| added[name] == true);
            AddedToken::from(format!("{STAND_IN}{token}"), false)
                .normalized(false)
                .single_word(flag("single_word"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
        };
        let stand_ins: Vec<AddedToken> = [IMAGE_MARK].iter().chain(special).map(stand_in).collect();
        let mut inner: tokenizers::Tokenizer = serde_json::from_value(json).map_err(bad)?;
        // Settings of the training run that some files still carry; a prompt is never cut nor filled up.
        inner.with_truncation(None).map_err(Error::tokenizer)?.with_padding(None);
        inner.add_tokens(&stand_ins);
        let id_of = |token: &str| inner.token_to_id(&format!("{STAND_IN}{token}"));
        let place = id_of(IMAGE_MARK).ok_or_else(|| Error::Tokenizer("takes no further token".to_owned()))?;
        let pair = |token: &&str| {
            let problem = format!("has no token `{token}`, with which prompts of this model are written");
            id_of(token).zip(inner.token_to_id(token)).ok_or(Error::Tokenizer(problem))
        };
        let stand_ins = special.iter().map(pair).collect::<Result<_>>()?;
        Ok(Self { inner, stand_ins, place, byte_tokens })
    }

    /// The ids of `text`, in which special tokens may be spelled out, with those that the post-processor adds (LLaMA: `<s>` in
    /// front).
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.inner.encode(text, true).map_err(Error::tokenizer)?.get_ids().to_vec())
    }

    /// The ids of `text`, in which nothing is a special token but by its stand-in, and these stand for themselves.
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
            Kind::Template { marks } => {
                let (mut text, mut end) = (String::new(), 0);
                let own = |range: Range<usize>| prompt.text()[range].replace(STAND_IN, "\u{FFFD}");
                for (at, mark) in marks {
                    text += &own(end..*at);
                    text.push(STAND_IN);
                    text += mark;
                    end = at + mark.len();
                }
                text += &own(end..prompt.text().len());
                let mut ids = self.encode_plain(&text)?;
                for (stand_in, token) in &self.stand_ins {
                    ids.iter_mut().filter(|id| *id == stand_in).for_each(|id| *id = *token);
                }
                (ids, self.place)
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
        let ids: Vec<u32> = ids.iter().copied().filter(|id| !self.is_stand_in(*id)).collect();
        self.inner.decode(&ids, true).map_err(Error::tokenizer)
    }

    /// The id of a token by its exact spelling in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether `id` is left out of the text: a special token, or none of the model's.
    pub(super) fn is_silent(&self, id: u32) -> bool {
        let special = |token: String| self.inner.get_added_vocabulary().is_special_token(&token);
        self.is_stand_in(id) || self.inner.id_to_token(id).is_none_or(special)
    }

    fn is_stand_in(&self, id: u32) -> bool {
        id == self.place || self.stand_ins.iter().any(|(stand_in, _)| *stand_in == id)
    }

    /// The byte that `id` stands for (`<0x0A>`), if it is such a token.
    pub(super) fn byte(&self, id: u32) -> Option<u8> {
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
    each_object(&json["model"], &|model| {
        let Some(Value::String(prefix)) = model.get("continuing_subword_prefix") else { return Ok(()) };
        for merge in model.get("merges").and_then(Value::as_array).into_iter().flatten() {
            let second = match merge {
                Value::Array(pair) => pair.get(1).and_then(Value::as_str),
                pair => pair.as_str().and_then(|pair| pair.rsplit(' ').next()),
            };
            if second.is_some_and(|second| !second.is_char_boundary(prefix.len())) {
                return refuse(format!(
                    "the merge {merge}: its second part is shorter than `continuing_subword_prefix` {prefix:?}"
                ));
            }
        }
        Ok(())
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

impl Error {
    fn tokenizer(error: tokenizers::Error) -> Self {
        Error::Tokenizer(error.to_string())
    }
}
