//! From messages to token ids and back, and how the next token is drawn.

pub mod prompt;
pub mod sampling;
pub mod stream;
pub mod template;
pub mod tokenizer;
