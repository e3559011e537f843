//! How the families of models write a conversation down. Another family's chat format is another [`Template`] and its row
//! in the table.

use crate::error::{Error, Result};

/// A chat format: what is put around the turns of a conversation. The marks of pictures come first in their turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Before a turn of the system's.
    pub system: &'static str,
    /// Before a turn of the user's.
    pub user: &'static str,
    /// Before a turn of the assistant's.
    pub assistant: &'static str,
    /// Behind the mark of a picture.
    pub after_image: &'static str,
    /// Behind each text of a turn.
    pub after_text: &'static str,
    /// Behind the last turn: what the answer follows.
    pub answer: &'static str,
}

/// llava-1.5-hf's chat template: `USER: <image>\nWhat is it? ASSISTANT: A star. USER: Its colour? ASSISTANT:`.
pub const LLAVA_1_5: Template = Template {
    system: "",
    user: "USER: ",
    assistant: "ASSISTANT: ",
    after_image: "\n",
    after_text: " ",
    answer: "ASSISTANT:",
};

/// By the `model_type` of config.json.
const TEMPLATES: [(&[&str], &Template); 1] = [(&["llava", "llama", "fast_vlm"], &LLAVA_1_5)];

impl Template {
    /// The chat format of models of this `model_type`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if none is known.
    pub fn of(model_type: &str) -> Result<&'static Self> {
        let row = TEMPLATES.into_iter().find(|(model_types, _)| model_types.contains(&model_type));
        let unknown = || Error::unsupported("model_type", format!("no chat format is known for `{model_type}`"));
        row.map(|(_, template)| template).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_type_has_one_template_or_is_named() {
        assert_eq!(Template::of("llava").unwrap(), &LLAVA_1_5);
        assert_eq!(Template::of("llama").unwrap(), &LLAVA_1_5);
        let error = Template::of("qwen2").unwrap_err();
        assert_eq!(error.code(), "unsupported_model");
        assert!(error.to_string().contains("`qwen2`"), "{error}");
        let mut all: Vec<&str> = TEMPLATES.into_iter().flat_map(|(model_types, _)| model_types).copied().collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "a model type stands in two rows");
    }
}
