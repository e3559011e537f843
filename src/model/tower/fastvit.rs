//! FastViT as timm has it in its last, larger form (`fastvit_mci3`, FastVLM's FastViTHD), with the branches of training already
//! made one: stages of depthwise and one-place convolutions, then two of attention, each at half the side of the one before.

use super::convolutional::{Block, ConvolutionalSpec, Layer, Step};
use crate::Result;
use crate::activation::Activation;
use crate::kernels::{Heads, Window};
use crate::model::fields::Fields;
use crate::model::norm::{NormKind, NormSpec};
use crate::model::parameters::{BatchNorm, Fold};

/// Stages before the first with attention.
const CONVOLUTIONAL_STAGES: usize = 3;
const EPS: f32 = 1e-5;
const HEAD_DIM: usize = 32;
/// Inner channels of a block's last part for each of its channels.
const MLP_RATIO: usize = 4;
/// Channels of the last map for each of the last stage's.
const LAST_RATIO: usize = 2;
/// Channels of the last map for each that squeeze and excitation reduces it to.
const REDUCTION: usize = 16;
/// Most blocks of a stage, and most channels.
const MOST: [usize; 2] = [64, 4096];

/// `fastvit_mci3` for pictures of `side` pixels; `args` are those of timm's function.
pub fn mci3(side: usize, args: &Fields) -> Result<ConvolutionalSpec> {
    args.refuse_others(&["inference_mode", "layers", "embed_dims"])?;
    if !args.bool("inference_mode", false)? {
        let cure = "must be true: make one of the branches of training (timm's reparameterize_model), and save it so";
        return Err(args.error("inference_mode", cure));
    }
    let layers = args.sizes("layers", [2, 12, 24, 4, 2], MOST[0])?;
    let widths = args.sizes("embed_dims", [96, 192, 384, 768, 1536], MOST[1])?;
    let attends = widths.iter().skip(CONVOLUTIONAL_STAGES);
    if widths.windows(2).any(|pair| pair[1] % pair[0] != 0) || attends.clone().any(|width| width % HEAD_DIM != 0) {
        let problem = format!("must each be a multiple of the one before, and the last ones of {HEAD_DIM}");
        return Err(args.error("embed_dims", problem));
    }
    let window = Window::symmetric(side, 3, 2);
    let second = Window::symmetric(window.out, 3, 2);
    let mut side = second.out;
    let stem = vec![
        Step::Depthwise(plain("stem.1.reparam_conv", widths[0], Activation::Gelu), second),
        Step::Pointwise(plain("stem.2.reparam_conv", widths[0], Activation::Gelu)),
    ];
    let mut blocks = vec![Block { steps: stem, residual: false }];
    for (stage, (&width, &depth)) in widths.iter().zip(&layers).enumerate() {
        let name = |part: &str| format!("stages.{stage}.{part}");
        if stage > 0 {
            let window = Window::symmetric(side, 7, 2);
            side = window.out;
            let conv =
                |part: usize| plain(&name(&format!("downsample.proj.{part}.reparam_conv")), width, Activation::Gelu);
            let steps = vec![Step::Depthwise(conv(0), window), Step::Pointwise(conv(1))];
            blocks.push(Block { steps, residual: false });
        }
        if stage >= CONVOLUTIONAL_STAGES {
            let positions = plain(&name("pos_emb.reparam_conv"), width, Activation::None);
            let window = Window::symmetric(side, 7, 1);
            blocks.push(Block { steps: vec![Step::Depthwise(positions, window)], residual: false });
        }
        for index in 0..depth {
            let name = |part: &str| name(&format!("blocks.{index}.{part}"));
            let scale = if stage < CONVOLUTIONAL_STAGES {
                let mixer = plain(&name("token_mixer.reparam_conv"), width, Activation::None);
                let steps = vec![Step::Depthwise(mixer, Window::symmetric(side, 3, 1))];
                blocks.push(Block { steps, residual: false });
                "layer_scale.gamma"
            } else {
                blocks.push(attention(&name, width));
                "layer_scale_2.gamma"
            };
            blocks.push(mlp(&name, width, side, scale));
        }
    }
    let channels = LAST_RATIO * widths[widths.len() - 1];
    let conv = plain("final_conv.reparam_conv", channels, Activation::None);
    let last = vec![
        Step::Depthwise(conv, Window::symmetric(side, 3, 1)),
        Step::SqueezeExcite {
            name: "final_conv.se".into(),
            reduced: channels / REDUCTION,
            side,
            act: Activation::Gelu,
        },
    ];
    blocks.push(Block { steps: last, residual: false });
    Ok(ConvolutionalSpec { window, stem: plain("stem.0.reparam_conv", widths[0], Activation::Gelu), blocks })
}

/// A convolution of which there is nothing to fold.
fn plain(name: &str, channels: usize, act: Activation) -> Layer {
    Layer { name: name.into(), channels, act, fold: Fold { bias: true, norm: None, scale: None } }
}

/// A layer whose channels are scaled before a residual.
fn scaled(name: String, channels: usize, scale: String) -> Layer {
    Layer { fold: Fold { bias: true, norm: None, scale: Some(scale) }, ..plain(&name, channels, Activation::None) }
}

fn attention(name: &impl Fn(&str) -> String, width: usize) -> Block {
    let heads = width / HEAD_DIM;
    let qkv = plain(&name("token_mixer.qkv"), 3 * width, Activation::None);
    let steps = vec![
        Step::Norm(name("norm"), NormSpec { kind: NormKind::LayerNorm { bias: true }, eps: EPS }),
        Step::Linear(Layer { fold: Fold { bias: false, norm: None, scale: None }, ..qkv }),
        Step::Attention(Heads { heads, kv_heads: heads, head_dim: HEAD_DIM }),
        Step::Linear(scaled(name("token_mixer.proj"), width, name("layer_scale_1.gamma"))),
    ];
    Block { steps, residual: true }
}

/// A depthwise convolution with a batch norm, and a feed-forward part.
fn mlp(name: &impl Fn(&str) -> String, width: usize, side: usize, scale: &str) -> Block {
    let norm = Some(BatchNorm { name: name("mlp.conv.bn"), eps: EPS });
    let conv = Layer {
        fold: Fold { bias: false, norm, scale: None },
        ..plain(&name("mlp.conv.conv"), width, Activation::None)
    };
    let steps = vec![
        Step::Depthwise(conv, Window::symmetric(side, 7, 1)),
        Step::Pointwise(plain(&name("mlp.fc1"), MLP_RATIO * width, Activation::Gelu)),
        Step::Pointwise(scaled(name("mlp.fc2"), width, name(scale))),
    ];
    Block { steps, residual: true }
}
