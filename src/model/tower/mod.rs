//! What a vision tower is, as values read from its configuration; [`VisionTower`](super::VisionTower) runs them.
//!
//! There are two kinds. A transformer cuts a square picture into patches, embeds them with a table of positions, and runs layers
//! of attention without a mask and a plain feed-forward part, each behind a norm and beside a residual. A convolutional tower
//! runs blocks of convolutions over a map that becomes smaller. What families differ in is data: another one is a file that reads
//! its fields, and a row of [`FAMILIES`].

mod clip;
mod convolutional;
mod efficientnet;
mod fastvit;
mod spec;
mod timm;

use super::fields::Fields;
use crate::Result;

pub use convolutional::{Block, ConvolutionalSpec, Layer, Step};
pub use spec::{CHANNELS, LARGEST_IMAGE, TowerSpec, TransformerSpec};

/// Reads one family's configuration.
type Read = fn(&Fields) -> Result<TowerSpec>;

/// By `model_type`.
const FAMILIES: &[(&str, Read)] = &[("clip_vision_model", clip::read), ("timm_wrapper", timm::read)];

/// Reads a tower of any known family; one that does not say is of the family `default`.
pub fn read(fields: &Fields, default: &'static str) -> Result<TowerSpec> {
    let (_, read) = fields.family(default, FAMILIES)?;
    read(fields)
}
