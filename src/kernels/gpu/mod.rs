//! The operations on a GPU: launches of hand-written WGSL shaders, and which variant of each runs. The shader of an operation lies
//! in `shaders/` under its name.

mod advance;
mod attention;
mod attention_decode;
mod attention_flash;
mod attention_variant;
mod check;
mod choice;
mod depthwise;
mod embedding;
mod layer_norm;
mod linear;
mod linear_dot;
mod linear_variant;
mod norm_variant;
mod ops;
mod rms_norm;
mod sample;
mod tune;
mod weight;

use super::*;
use crate::device::gpu::Shader;
use choice::Choice;
use weight::{Columns, Reading};

pub use attention_variant::{AttentionUse, AttentionVariant, attention_variant, set_attention_variant};
pub use linear_variant::{LinearUse, LinearVariant, linear_variant, set_linear_variant};
pub use norm_variant::{NormVariant, norm_variant, set_norm_variant};

/// Every variant of every shader, for tests that parse them all.
pub fn shaders() -> Vec<Shader> {
    let mut all = vec![advance::shader(), layer_norm::shader()];
    all.extend(attention_decode::shaders());
    all.extend(attention_flash::shaders());
    all.extend(depthwise::shaders());
    all.extend(embedding::shaders());
    all.extend(linear::shaders());
    all.extend(linear_dot::shaders());
    all.extend(rms_norm::shaders());
    all.extend(sample::shaders());
    all
}
