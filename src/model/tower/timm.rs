//! Towers of the timm library, as transformers' `TimmWrapperConfig` names them.

use super::convolutional::ConvolutionalSpec;
use super::efficientnet::lite;
use super::fastvit::mci3;
use super::spec::{LARGEST_IMAGE, TowerSpec};
use crate::Result;
use crate::model::fields::Fields;

/// An architecture of timm's.
struct Architecture {
    name: &'static str,
    /// Pixels along each side of the pictures that it was made for.
    image_size: usize,
    /// For pictures of any size, with the fields of `model_args`.
    spec: fn(usize, &Fields) -> Result<ConvolutionalSpec>,
}

const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "tf_efficientnet_lite0", image_size: 224, spec: |side, args| lite(100, 100, side, args) },
    Architecture { name: "tf_efficientnet_lite1", image_size: 240, spec: |side, args| lite(100, 110, side, args) },
    Architecture { name: "tf_efficientnet_lite2", image_size: 260, spec: |side, args| lite(110, 120, side, args) },
    Architecture { name: "tf_efficientnet_lite3", image_size: 300, spec: |side, args| lite(120, 140, side, args) },
    Architecture { name: "tf_efficientnet_lite4", image_size: 380, spec: |side, args| lite(140, 180, side, args) },
    // As FastVLM uses it; timm's own default are 256 pixels.
    Architecture { name: "fastvit_mci3", image_size: 1024, spec: mci3 },
];

/// Reads the fields of a `vision_config`. Its `image_size`, which transformers does not know, is what the converter has found in
/// the image settings.
pub fn read(fields: &Fields) -> Result<TowerSpec> {
    let found = fields.str("architecture", "resnet50")?;
    let architecture = ARCHITECTURES.iter().find(|architecture| architecture.name == found).ok_or_else(|| {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|architecture| architecture.name).collect();
        fields.error("architecture", format!("`{found}` is not one of {}", names.join(", ")))
    })?;
    let side = fields.count("image_size", architecture.image_size, 32, LARGEST_IMAGE)?;
    let tower = TowerSpec::Convolutional((architecture.spec)(side, &fields.section("model_args")?)?);
    let width = tower.hidden_size();
    if fields.size("hidden_size", width)? != width {
        return Err(fields.error("hidden_size", format!("must be {width}, the channels of {found}")));
    }
    Ok(tower)
}
