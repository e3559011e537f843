//! What a whole model is made of.

use super::config::LlavaConfig;
use super::language_model::DecoderParameters;
use super::parameters::{Needed, Parameters};
use super::projector::ProjectorParameters;
use super::vision_tower::TowerParameters;

/// The parameters of a model, in the order in which it loads them.
pub fn parameters(config: &LlavaConfig) -> Parameters {
    let mut parameters = Parameters::default();
    if let Some(vision) = &config.vision {
        TowerParameters::declare(&mut parameters, vision);
        ProjectorParameters::declare(&mut parameters, vision, config.text.hidden_size);
    }
    DecoderParameters::declare(&mut parameters, &config.text);
    parameters
}

/// Every tensor the model needs, in the order in which it loads them.
pub fn plan(config: &LlavaConfig) -> Vec<Needed> {
    parameters(config).tensors().cloned().collect()
}
