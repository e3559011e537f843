//! The description of a vision tower.

use super::convolutional::ConvolutionalSpec;
use crate::activation::Activation;
use crate::kernels::{Heads, NormShape, Window};
use crate::model::norm::NormSpec;

/// Pixels along one side of the vision tower's input: twice the largest published ones, 48 MiB as floats.
pub const LARGEST_IMAGE: usize = 1 << 11;
/// Red, green and blue.
pub const CHANNELS: usize = 3;

/// A vision tower, of one of the kinds that there are.
#[derive(Debug, Clone, PartialEq)]
pub enum TowerSpec {
    Transformer(TransformerSpec),
    Convolutional(ConvolutionalSpec),
}

impl TowerSpec {
    /// How the first layer goes over the square picture.
    pub fn window(&self) -> Window {
        match self {
            Self::Transformer(tower) => tower.window(),
            Self::Convolutional(tower) => tower.window,
        }
    }

    /// Pixels along each side of the square input.
    pub fn image_size(&self) -> usize {
        self.window().side
    }

    /// What the first layer reads of a picture, `[patches, numbers of a patch]`.
    pub fn patches(&self) -> [usize; 2] {
        let window = self.window();
        [window.outputs(), CHANNELS * window.kernel * window.kernel]
    }

    /// Length of the sequence that comes out.
    pub fn positions(&self) -> usize {
        match self {
            Self::Transformer(tower) => tower.positions(),
            Self::Convolutional(tower) => tower.positions(),
        }
    }

    /// Width of what comes out.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Transformer(tower) => tower.hidden_size,
            Self::Convolutional(tower) => tower.hidden_size(),
        }
    }

    /// Hidden states that can be read: of a transformer the input of the first layer too, of a convolutional tower the last
    /// map alone.
    pub fn states(&self) -> usize {
        match self {
            Self::Transformer(tower) => tower.num_hidden_layers + 1,
            Self::Convolutional(_) => 1,
        }
    }

    /// The largest intermediate result of a layer, `[rows, columns]`.
    pub fn largest_result(&self) -> [usize; 2] {
        match self {
            Self::Transformer(tower) => [tower.positions(), tower.widest_activation()],
            Self::Convolutional(tower) => tower.largest_result(),
        }
    }

    /// Numbers of the largest intermediate result, patches included.
    pub fn largest_activation(&self) -> usize {
        let numbers = |[rows, cols]: [usize; 2]| rows * cols;
        numbers(self.patches()).max(numbers(self.largest_result()))
    }

    /// The heads of its attention, if it has any.
    pub fn heads(&self) -> Option<Heads> {
        match self {
            Self::Transformer(tower) => Some(tower.heads()),
            Self::Convolutional(tower) => tower.heads(),
        }
    }

    /// The norms that it runs.
    pub fn norms(&self) -> Vec<NormShape> {
        match self {
            Self::Transformer(tower) => vec![tower.norm.shape(tower.hidden_size)],
            Self::Convolutional(tower) => tower.norms(),
        }
    }

    /// How its depthwise convolutions go over their maps.
    pub fn depthwise(&self) -> Vec<Window> {
        match self {
            Self::Transformer(_) => Vec::new(),
            Self::Convolutional(tower) => tower.depthwise(),
        }
    }
}

/// Patches, a table of their positions, and layers of attention. Names are the checkpoint's.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerSpec {
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

impl TransformerSpec {
    /// The heads, as kernels take them.
    pub fn heads(&self) -> Heads {
        let heads = self.num_attention_heads;
        Heads { heads, kv_heads: heads, head_dim: self.hidden_size / heads }
    }

    /// How the picture is cut into patches; pixels beyond the last whole one are not seen.
    pub fn window(&self) -> Window {
        Window::patches(self.image_size, self.patch_size)
    }

    /// Length of the tower's sequence: the patches, and the class token if there is one.
    pub fn positions(&self) -> usize {
        self.window().outputs() + usize::from(self.class_token)
    }

    /// Columns of the widest intermediate result: queries, keys and values together, or the feed-forward part's.
    pub fn widest_activation(&self) -> usize {
        (3 * self.hidden_size).max(self.intermediate_size)
    }
}
