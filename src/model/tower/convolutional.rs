//! The description of a convolutional tower: steps that turn one map into the next. A map's places are rows, its channels
//! columns, so that a convolution of one place is a linear layer.

use crate::activation::Activation;
use crate::kernels::{Heads, NormShape, Window};
use crate::model::norm::NormSpec;
use crate::model::parameters::Fold;

/// A tower that ends in a map, whose places are its tokens. Names of layers are the checkpoint's.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvolutionalSpec {
    /// How the first convolution goes over the picture.
    pub window: Window,
    /// The first convolution; its columns are what the window covers of all channels.
    pub stem: Layer,
    pub blocks: Vec<Block>,
}

/// Steps one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub steps: Vec<Step>,
    /// The block's input is added to its output; the last step is linear then.
    pub residual: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A convolution of one place.
    Pointwise(Layer),
    /// A linear layer by name, which is the same.
    Linear(Layer),
    /// A convolution of each channel by itself; each may become several.
    Depthwise(Layer, Window),
    /// A norm of each place's channels, by its name.
    Norm(String, NormSpec),
    /// Attention of all places over all, where the channels are those of queries, keys and values.
    Attention(Heads),
    /// Each channel is weighed by what two layers, of which the first has `reduced` channels, make of all channels' means.
    SqueezeExcite { name: String, reduced: usize, side: usize, act: Activation },
}

impl Step {
    /// Channels of what comes out, where `input` come in.
    pub fn channels(&self, input: usize) -> usize {
        match self {
            Self::Pointwise(layer) | Self::Linear(layer) | Self::Depthwise(layer, _) => layer.channels,
            Self::Attention(_) => input / 3,
            Self::Norm(..) | Self::SqueezeExcite { .. } => input,
        }
    }

    /// Places of what comes out, where `input` come in.
    fn places(&self, input: usize) -> usize {
        match self {
            Self::Depthwise(_, window) => window.outputs(),
            _ => input,
        }
    }
}

/// A convolution, in which is folded what stands beside it in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub name: String,
    /// Channels that come out.
    pub channels: usize,
    pub act: Activation,
    pub fold: Fold,
}

impl ConvolutionalSpec {
    /// The maps between the steps, `(places, channels)`: what comes out of the stem, then of each step.
    fn maps(&self) -> impl Iterator<Item = [usize; 2]> {
        let stem = [self.window.outputs(), self.stem.channels];
        std::iter::once(stem).chain(self.steps().scan(stem, |map, step| {
            *map = [step.places(map[0]), step.channels(map[1])];
            Some(*map)
        }))
    }

    fn last_map(&self) -> [usize; 2] {
        self.maps().last().expect("the stem's at least")
    }

    /// Places of the last map.
    pub fn positions(&self) -> usize {
        self.last_map()[0]
    }

    /// Channels of the last map.
    pub fn hidden_size(&self) -> usize {
        self.last_map()[1]
    }

    /// The largest map, `[places, channels]`.
    pub fn largest_result(&self) -> [usize; 2] {
        self.maps().max_by_key(|[places, channels]| places * channels).expect("the stem's at least")
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.blocks.iter().flat_map(|block| &block.steps)
    }

    /// The heads of its attention, if it has any: all of one size.
    pub fn heads(&self) -> Option<Heads> {
        self.steps().find_map(|step| if let Step::Attention(heads) = step { Some(*heads) } else { None })
    }

    /// The norms that it runs.
    pub fn norms(&self) -> Vec<NormShape> {
        let mut norms = Vec::new();
        for (step, [_, channels]) in self.steps().zip(self.maps().skip(1)) {
            if let Step::Norm(_, norm) = step
                && !norms.contains(&norm.shape(channels))
            {
                norms.push(norm.shape(channels));
            }
        }
        norms
    }

    /// How its depthwise convolutions go over their maps.
    pub fn depthwise(&self) -> Vec<Window> {
        let windows = |step: &Step| match step {
            Step::Depthwise(_, window) => vec![*window],
            Step::SqueezeExcite { side, .. } => vec![Window::whole(*side), Window::patches(*side, 1)],
            _ => Vec::new(),
        };
        self.steps().flat_map(windows).collect()
    }
}
