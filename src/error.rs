//! The one error type of the crate. Every message says what is wrong, where, and what to do about it.

/// What can go wrong between a picture and its description.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the caller's input is missing or out of range.
    #[error("`{field}`: {problem}")]
    Input { field: &'static str, problem: String },
    /// The picture cannot be decoded.
    #[error("image: {0}")]
    Image(String),
    /// The picture has more bytes or pixels than the limit.
    #[error("`image` is too large: {size}, and the limit is {limit}. Scale it down first.")]
    TooLarge { size: String, limit: String },
    /// The bundle's manifest, a chunk or a tensor is damaged or inconsistent.
    #[error("bundle: {what}: {problem}")]
    Bundle { what: String, problem: String },
    /// The checkpoint's configuration asks for something this library does not do.
    #[error("unsupported model: `{field}`: {problem}")]
    Unsupported { field: String, problem: String },
    /// The tokenizer cannot be read or cannot encode the prompt.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The GPU is missing, lost, or too small.
    #[error("GPU: {0}")]
    Gpu(String),
    /// A chunk or file could not be read.
    #[error("{what}: {problem}")]
    Io { what: String, problem: String },
}

impl Error {
    /// Stable code of the error, for callers to branch on; the JS package passes it on as `LlavaError.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Input { .. } => "invalid_input",
            Error::Image(_) => "bad_image",
            Error::TooLarge { .. } => "too_large",
            Error::Bundle { .. } => "bad_bundle",
            Error::Unsupported { .. } => "unsupported_model",
            Error::Tokenizer(_) => "bad_tokenizer",
            Error::Gpu(_) => "gpu",
            Error::Io { .. } => "io",
        }
    }

    /// Damage found in a bundle: `what` names the part, `problem` says what is wrong with it.
    pub fn bundle(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Bundle { what: what.into(), problem: problem.into() }
    }

    /// A configuration field this library cannot honour.
    pub fn unsupported(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Unsupported { field: field.into(), problem: problem.into() }
    }

    /// An invalid field of the caller's input.
    pub fn input(field: &'static str, problem: impl Into<String>) -> Self {
        Error::Input { field, problem: problem.into() }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
