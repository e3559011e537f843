//! How the families of models write a conversation down. Another family's chat format is another [`Template`] and its row
//! in the table.

use crate::error::{Error, Result};

/// A chat format: what is put around the turns of a conversation. The marks of pictures come first in their turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Special tokens that are spelled in it; what a caller says never is one.
    pub special: &'static [&'static str],
    /// Before a conversation whose first turn is not the system's.
    pub start: &'static str,
    /// Before a turn of the system's.
    pub system: &'static str,
    /// Before a turn of the user's.
    pub user: &'static str,
    /// Before a turn of the assistant's.
    pub assistant: &'static str,
    /// Behind the mark of a picture.
    pub after_image: &'static str,
    /// Before each text of a turn.
    pub before_text: &'static str,
    /// Behind each text of a turn.
    pub after_text: &'static str,
    /// Behind a turn.
    pub after_turn: &'static str,
    /// Behind the last turn: what the answer follows.
    pub answer: &'static str,
}

/// llava-1.5-hf's chat template: `USER: <image>\nWhat is it? ASSISTANT: A star. USER: Its colour? ASSISTANT:`.
pub const LLAVA_1_5: Template = Template {
    special: &[],
    start: "",
    system: "",
    user: "USER: ",
    assistant: "ASSISTANT: ",
    after_image: "\n",
    before_text: "",
    after_text: " ",
    after_turn: "",
    answer: "ASSISTANT:",
};

/// FastVLM's chat template, on Qwen2's tokens.
pub const FAST_VLM: Template = Template {
    special: &["<|im_start|>", "<|im_end|>"],
    start: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
    system: "<|im_start|>system\n",
    user: "<|im_start|>user\n",
    assistant: "<|im_start|>assistant\n",
    after_image: "",
    before_text: "\n",
    after_text: "",
    after_turn: "<|im_end|>\n",
    answer: "<|im_start|>assistant\n",
};

/// By the `model_type` of config.json, and by that of its decoder: that is what has learnt a format's words.
const TEMPLATES: &[(&str, &str, &Template)] = &[
    ("llava", "llama", &LLAVA_1_5),
    ("llama", "llama", &LLAVA_1_5),
    ("fast_vlm", "llama", &LLAVA_1_5),
    ("fast_vlm", "qwen2", &FAST_VLM),
];

impl Template {
    /// The chat format of models of this `model_type` whose decoder is of the family `decoder`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if none is known.
    pub fn of(model_type: &str, decoder: &str) -> Result<&'static Self> {
        let row = TEMPLATES.iter().find(|(model, family, _)| (*model, *family) == (model_type, decoder));
        row.map(|(.., template)| *template).ok_or_else(|| {
            let problem = format!("no chat format is known for `{model_type}` with a decoder `{decoder}`");
            Error::unsupported("model_type", problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_type_has_one_template_or_is_named() {
        assert_eq!(Template::of("llava", "llama").unwrap(), &LLAVA_1_5);
        assert_eq!(Template::of("llama", "llama").unwrap(), &LLAVA_1_5);
        assert_eq!(Template::of("fast_vlm", "qwen2").unwrap(), &FAST_VLM);
        let error = Template::of("qwen2", "qwen2").unwrap_err();
        assert_eq!(error.code(), "unsupported_model");
        assert!(error.to_string().contains("`qwen2`"), "{error}");
        let mut all: Vec<_> = TEMPLATES.iter().map(|(model, decoder, _)| (model, decoder)).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "a model type stands in two rows");
    }
}
