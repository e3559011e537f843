//! The answer's text, piece by piece, while its tokens are drawn.

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// What an undecodable or unfinished byte sequence decodes to.
const REPLACEMENT: char = '\u{FFFD}';

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
