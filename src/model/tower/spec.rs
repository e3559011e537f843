//! The description of a vision tower.

use crate::activation::Activation;
use crate::kernels::Heads;
use crate::model::norm::NormSpec;

/// Pixels along one side of the vision tower's input: twice the largest published ones, 48 MiB as floats.
pub const LARGEST_IMAGE: usize = 1 << 11;
/// Red, green and blue.
pub const CHANNELS: usize = 3;

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
