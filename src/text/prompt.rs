//! From the caller's words to the one text the tokenizer sees, in the words of the model's [`Template`]; with LLaVA-1.5's:
//!
//! | input | text |
//! |---|---|
//! | `prompt` | `USER: <image>\n{prompt} ASSISTANT:` |
//! | `prompt`, `raw` | the prompt as it stands, `<image>` included |
//! | `messages` | turns one after the other, images first in each: `USER: <image>\nWhat? ASSISTANT: A dog. USER: ... ASSISTANT:` |
//!
//! What a caller says in the first and the last form is text and nothing else: the mark of the picture, and the other special
//! tokens, come from the template. In a `raw` prompt they may be spelled out.

use serde::Deserialize;

use super::template::Template;
use crate::error::{Error, Result};

/// Marks the place of the picture in the text; the tokenizer knows it as one special token.
pub const IMAGE_MARK: &str = "<image>";

/// What is asked when the caller asks nothing.
pub const DEFAULT_PROMPT: &str = "What is in this picture?";

/// A built prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    kind: Kind,
}

/// Which spellings in the text of a [`Prompt`] are special tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of them.
    Raw,
    /// Those at these bytes, in order: the [`IMAGE_MARK`] if there is one, and what the template has.
    Template { marks: Vec<(usize, &'static str)> },
}

/// One turn of a conversation.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: Content,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// A turn's content: plain text, or parts as in OpenAI's and transformers' chat formats.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A piece of a turn. An image part marks the turn the picture belongs to; its bytes travel beside the prompt.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text {
        text: String,
    },
    #[serde(alias = "image_url", alias = "input_image")]
    Image,
}

impl Prompt {
    /// Builds the prompt of a model with this `template`. `prompt` and `messages` exclude each other; without both, [`DEFAULT_PROMPT`] is asked.
    /// `raw` takes `prompt` as it stands: no template around it, `<image>` where the caller put it.
    ///
    /// # Errors
    /// [`Error::Input`] if the fields exclude each other, or if image marks or parts do not match `picture`.
    pub fn new(
        template: &Template,
        prompt: Option<&str>,
        messages: Option<&[Message]>,
        raw: bool,
        picture: bool,
    ) -> Result<Self> {
        match (messages, prompt) {
            (Some(_), Some(_)) => Err(Error::input("messages", "give either `prompt` or `messages`, not both")),
            (Some(_), None) if raw => Err(Error::input("raw", "goes with `prompt`, not with `messages`")),
            (None, None) if raw => Err(Error::input("prompt", "missing: `raw` takes the prompt as it stands")),
            (Some(messages), None) => chat_prompt(template, messages, picture),
            (None, Some(prompt)) if raw => raw_prompt(prompt, picture),
            (None, prompt) => {
                let content = Content::Text(prompt.unwrap_or(DEFAULT_PROMPT).to_owned());
                chat_prompt(template, &[Message { role: Role::User, content }], picture)
            }
        }
    }

    /// The text to be tokenized.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a picture has its place in it.
    pub fn has_image(&self) -> bool {
        match &self.kind {
            Kind::Raw => self.text.contains(IMAGE_MARK),
            Kind::Template { marks } => marks.iter().any(|(_, mark)| *mark == IMAGE_MARK),
        }
    }

    /// How that text is to be read.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }
}

fn raw_prompt(prompt: &str, picture: bool) -> Result<Prompt> {
    match (prompt.matches(IMAGE_MARK).count(), picture) {
        (0, false) | (1, true) => Ok(Prompt { text: prompt.to_owned(), kind: Kind::Raw }),
        (marks, true) => {
            let problem = format!("a raw prompt must hold `{IMAGE_MARK}` once, where the picture goes; it has {marks}");
            Err(Error::input("prompt", problem))
        }
        (marks, false) => {
            Err(Error::input("prompt", format!("holds `{IMAGE_MARK}` {marks} time(s), but no picture was given")))
        }
    }
}

/// The conversation, up to where the answer follows.
fn chat_prompt(template: &Template, messages: &[Message], picture: bool) -> Result<Prompt> {
    if messages.is_empty() {
        return Err(Error::input("messages", "must hold at least one message"));
    }
    let marked = messages.iter().map(Message::images).sum::<usize>();
    if marked > usize::from(picture) {
        let given = if picture { "one picture was" } else { "no picture was" };
        return Err(Error::input("messages", format!("{marked} image part(s), but {given} given")));
    }
    // A picture no part lays claim to belongs to the first thing the user says.
    let unclaimed = if picture && marked == 0 {
        let first = messages.iter().position(|message| message.role == Role::User);
        Some(first.ok_or_else(|| Error::input("messages", "a picture needs a message with role `user`"))?)
    } else {
        None
    };

    let mut written = Written { template, text: String::new(), marks: Vec::new() };
    if messages[0].role != Role::System {
        written.own(template.start);
    }
    for (index, message) in messages.iter().enumerate() {
        written.own(match message.role {
            Role::System => template.system,
            Role::User => template.user,
            Role::Assistant => template.assistant,
        });
        for _ in 0..message.images() + usize::from(unclaimed == Some(index)) {
            written.mark(IMAGE_MARK);
            written.own(template.after_image);
        }
        for part in message.texts() {
            written.own(template.before_text);
            written.text.push_str(part);
            written.own(template.after_text);
        }
        written.own(template.after_turn);
    }
    written.own(template.answer);
    Ok(Prompt { text: written.text, kind: Kind::Template { marks: written.marks } })
}

/// A conversation as far as it is written down.
struct Written<'a> {
    template: &'a Template,
    text: String,
    marks: Vec<(usize, &'static str)>,
}

impl Written<'_> {
    /// Words of the template's, in which its special tokens are spelled.
    fn own(&mut self, mut words: &str) {
        let first = |words: &str| {
            let found = self.template.special.iter().filter_map(|token| Some((words.find(token)?, *token)));
            found.min()
        };
        while let Some((at, token)) = first(words) {
            self.text.push_str(&words[..at]);
            words = &words[at + token.len()..];
            self.mark(token);
        }
        self.text.push_str(words);
    }

    fn mark(&mut self, mark: &'static str) {
        self.marks.push((self.text.len(), mark));
        self.text.push_str(mark);
    }
}

impl Message {
    fn images(&self) -> usize {
        match &self.content {
            Content::Text(_) => 0,
            Content::Parts(parts) => parts.iter().filter(|part| matches!(part, Part::Image)).count(),
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let (whole, parts) = match &self.content {
            Content::Text(text) => (Some(text.as_str()), &[][..]),
            Content::Parts(parts) => (None, parts.as_slice()),
        };
        whole.into_iter().chain(parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::Image => None,
        }))
    }
}
