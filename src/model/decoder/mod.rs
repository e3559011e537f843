//! What a decoder is, as values read from its configuration; [`LanguageModel`](super::LanguageModel) runs them.
//!
//! A decoder is an embedding, layers of attention with rotated heads and a gated feed-forward part, each behind a norm and
//! beside a residual, a last norm and a head. What families differ in is data: another one is a file that reads its fields, and
//! a row of [`FAMILIES`].

mod llama;
mod qwen2;
mod rope;
mod spec;

use super::fields::Fields;
use crate::Result;

pub use rope::{Rope, RopeScaling};
pub use spec::{Biases, DecoderSpec, Fused};

/// Reads one family's configuration.
type Read = fn(&Fields) -> Result<DecoderSpec>;

/// By `model_type`.
const FAMILIES: &[(&str, Read)] = &[("llama", llama::read), ("qwen2", qwen2::read)];

/// Reads a decoder of any known family, and its family; one that does not say is of the family `default`.
pub fn read(fields: &Fields, default: &'static str) -> Result<(&'static str, DecoderSpec)> {
    let (family, read) = fields.family(default, FAMILIES)?;
    if fields.bool("use_sliding_window", true)? && fields.get("sliding_window").is_some() {
        return Err(fields.error("sliding_window", "attention to a part of the context is not supported"));
    }
    Ok((family, read(fields)?))
}

/// Whether a configuration of this `model_type` is a decoder's alone.
pub fn is_family(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}

/// The families, for messages.
pub fn families() -> String {
    FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
