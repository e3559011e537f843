//! EfficientNet-Lite as timm has it (`tf_efficientnet_lite0` to `4`): inverted residual blocks with ReLU6, without squeeze and
//! excitation, padded as in TensorFlow.

use super::convolutional::{Block, ConvolutionalSpec, Layer, Step};
use crate::Result;
use crate::activation::Activation;
use crate::kernels::Window;
use crate::model::fields::Fields;
use crate::model::parameters::{BatchNorm, Fold};

/// Of batch norms, as in TensorFlow.
const EPS: f32 = 1e-3;

/// Blocks of a stage.
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    /// How many times the block's input channels its inner ones are; 1: there is no such layer.
    expand: usize,
    channels: usize,
}

/// The smallest one's; the others have more blocks in all but the first and the last stage, and more channels.
const STAGES: [Stage; 7] = [
    Stage { repeats: 1, kernel: 3, stride: 1, expand: 1, channels: 16 },
    Stage { repeats: 2, kernel: 3, stride: 2, expand: 6, channels: 24 },
    Stage { repeats: 2, kernel: 5, stride: 2, expand: 6, channels: 40 },
    Stage { repeats: 3, kernel: 3, stride: 2, expand: 6, channels: 80 },
    Stage { repeats: 3, kernel: 5, stride: 1, expand: 6, channels: 112 },
    Stage { repeats: 4, kernel: 5, stride: 2, expand: 6, channels: 192 },
    Stage { repeats: 1, kernel: 3, stride: 1, expand: 6, channels: 320 },
];
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;

/// The one that is `width` times as wide and `depth` times as deep as the smallest, in percent, for pictures of `side` pixels;
/// `args` are those of timm's function.
pub fn lite(width: usize, depth: usize, side: usize, args: &Fields) -> Result<ConvolutionalSpec> {
    args.refuse_others(&[])?;
    let window = Window::same(side, 3, 2);
    let (mut side, mut input) = (window.out, STEM_CHANNELS);
    let mut blocks = Vec::new();
    for (index, stage) in STAGES.iter().enumerate() {
        let inner_stage = index > 0 && index + 1 < STAGES.len();
        let repeats = if inner_stage { (stage.repeats * depth).div_ceil(100) } else { stage.repeats };
        let output = rounded(stage.channels * width);
        for block in 0..repeats {
            let window = Window::same(side, stage.kernel, if block == 0 { stage.stride } else { 1 });
            let name = |part: &str| format!("blocks.{index}.{block}.{part}");
            let inner = input * stage.expand;
            let layer = |conv: &str, norm: &str, channels, act| normed(name(conv), name(norm), channels, act);
            let steps = match stage.expand {
                1 => vec![
                    Step::Depthwise(layer("conv_dw", "bn1", input, Activation::Relu6), window),
                    Step::Pointwise(layer("conv_pw", "bn2", output, Activation::None)),
                ],
                _ => vec![
                    Step::Pointwise(layer("conv_pw", "bn1", inner, Activation::Relu6)),
                    Step::Depthwise(layer("conv_dw", "bn2", inner, Activation::Relu6), window),
                    Step::Pointwise(layer("conv_pwl", "bn3", output, Activation::None)),
                ],
            };
            blocks.push(Block { steps, residual: window.stride == 1 && input == output });
            (side, input) = (window.out, output);
        }
    }
    let head = normed("conv_head".into(), "bn2".into(), HEAD_CHANNELS, Activation::Relu6);
    blocks.push(Block { steps: vec![Step::Pointwise(head)], residual: false });
    let stem = normed("conv_stem".into(), "bn1".into(), STEM_CHANNELS, Activation::Relu6);
    Ok(ConvolutionalSpec { window, stem, blocks })
}

/// A convolution without a bias before a batch norm.
fn normed(name: String, norm: String, channels: usize, act: Activation) -> Layer {
    let norm = BatchNorm { name: norm, eps: EPS };
    Layer { name, channels, act, fold: Fold { bias: false, norm: Some(norm), scale: None } }
}

/// Percents of channels as a multiple of 8 that is at least nine tenths of them.
fn rounded(percents: usize) -> usize {
    let nearest = ((percents + 400) / 800 * 8).max(8);
    if nearest * 1000 < percents * 9 { nearest + 8 } else { nearest }
}
