//! What a vision tower is, as values read from its configuration; [`VisionTower`](super::VisionTower) runs them.
//!
//! A tower cuts a square picture into patches, embeds them with a table of positions, and runs layers of attention without a
//! mask and a plain feed-forward part, each behind a norm and beside a residual. What families differ in is data: another
//! one is a file that reads its fields, and a row of [`FAMILIES`].

mod clip;

use super::fields::Fields;
use super::norm::NormSpec;
use crate::Result;
use crate::activation::Activation;
use crate::kernels::Heads;

/// Pixels along one side of the vision tower's input: twice the largest published ones, 48 MiB as floats.
pub const LARGEST_IMAGE: usize = 1 << 11;
/// Red, green and blue.
pub const CHANNELS: usize = 3;

/// Reads one family's configuration.
type Read = fn(&Fields) -> Result<TowerSpec>;

/// By `model_type`.
const FAMILIES: &[(&str, Read)] = &[("clip_vision_model", clip::read)];
/// The family of a configuration that does not say, as in LLaVA's own.
const DEFAULT: &str = "clip_vision_model";

/// A vision tower. Names are the checkpoint's.
#[derive(Debug, Clone, PartialEq)]
pub struct TowerSpec {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Pixels along each side of the square input.
    pub image_size: usize,
    /// Pixels along each side of a patch.
    pub patch_size: usize,
    pub hidden_act: Activation,
    /// Of the layers, and before the first where there is one.
    pub norm: NormSpec,
    /// The patch embedding has a bias.
    pub patch_bias: bool,
    /// A learned token stands before the patches.
    pub class_token: bool,
    /// A norm stands before the first layer.
    pub pre_norm: bool,
}

impl TowerSpec {
    /// Reads a tower of any known family.
    pub fn read(fields: &Fields) -> Result<Self> {
        fields.family(DEFAULT, FAMILIES)?(fields)
    }

    /// The heads, as kernels take them.
    pub fn heads(&self) -> Heads {
        let heads = self.num_attention_heads;
        Heads { heads, kv_heads: heads, head_dim: self.hidden_size / heads }
    }

    /// Number of patches; pixels beyond the last whole patch are not seen.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Length of the tower's sequence: the patches, and the class token if there is one.
    pub fn positions(&self) -> usize {
        self.patches() + usize::from(self.class_token)
    }

    /// Columns of the patch embedding: all channels of one patch.
    pub fn patch_values(&self) -> usize {
        CHANNELS * self.patch_size * self.patch_size
    }

    /// Columns of the widest intermediate result: queries, keys and values together, or the feed-forward part's.
    pub fn widest_activation(&self) -> usize {
        (3 * self.hidden_size).max(self.intermediate_size)
    }

    /// Numbers of the largest intermediate result.
    pub fn largest_activation(&self) -> usize {
        (self.patches() * self.patch_values()).max(self.positions() * self.widest_activation())
    }
}
