//! What a vision tower is, as values read from its configuration; [`VisionTower`](super::VisionTower) runs them.
//!
//! A tower cuts a square picture into patches, embeds them with a table of positions, and runs layers of attention without a
//! mask and a plain feed-forward part, each behind a norm and beside a residual. What families differ in is data: another
//! one is a file that reads its fields, and a row of [`FAMILIES`].

mod clip;
mod spec;

use super::fields::Fields;
use crate::Result;

pub use spec::{CHANNELS, LARGEST_IMAGE, TowerSpec};

/// Reads one family's configuration.
type Read = fn(&Fields) -> Result<TowerSpec>;

/// By `model_type`.
const FAMILIES: &[(&str, Read)] = &[("clip_vision_model", clip::read)];
/// The family of a configuration that does not say, as in LLaVA's own.
const DEFAULT: &str = "clip_vision_model";

/// Reads a tower of any known family.
pub fn read(fields: &Fields) -> Result<TowerSpec> {
    fields.family(DEFAULT, FAMILIES)?(fields)
}
