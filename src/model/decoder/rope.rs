//! Rotary position embedding: how fast each pair of a head's numbers turns.

use crate::Result;
use crate::model::fields::Fields;

/// How a decoder rotates queries and keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    pub theta: f32,
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched beyond the trained length.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    Default,
    Linear { factor: f32 },
    Llama3 { factor: f32, low_freq_factor: f32, high_freq_factor: f32, original_max_position_embeddings: usize },
}

impl Rope {
    /// Reads `rope_scaling` (the older spelling, which wins as in transformers) or `rope_parameters`.
    pub fn read(fields: &Fields, max_position_embeddings: usize) -> Result<Self> {
        let old = fields.get("rope_scaling").is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
        let rope = fields.section(if old { "rope_scaling" } else { "rope_parameters" })?;
        for part in [fields, &rope] {
            if part.float("partial_rotary_factor", 1.0)? != 1.0 {
                return Err(part.error("partial_rotary_factor", "only whole heads can be rotated"));
            }
        }
        let theta = rope.float("rope_theta", fields.float("rope_theta", 10000.0)?)?;
        let type_key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
        let scaling = match rope.str(type_key, "default")? {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: rope.required_float("factor")? },
            "llama3" => {
                let name = "original_max_position_embeddings";
                let low_freq_factor = rope.required_float("low_freq_factor")?;
                let high_freq_factor = rope.required_float("high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    return Err(rope.error("high_freq_factor", "must be larger than low_freq_factor"));
                }
                RopeScaling::Llama3 {
                    factor: rope.required_float("factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: fields.size(name, rope.size(name, max_position_embeddings)?)?,
                }
            }
            other => return Err(rope.error(type_key, format!("`{other}` is not one of default, linear, llama3"))),
        };
        Ok(Self { theta, scaling })
    }

    /// Inverse frequencies of heads of `head_dim`, `[head_dim / 2]`, in radians per position.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        let plain = (0..head_dim / 2).map(|i| self.theta.powf(2.0 * i as f32 / head_dim as f32).recip());
        match self.scaling {
            RopeScaling::Default => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|freq| freq / factor).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let trained = original_max_position_embeddings as f32;
                let scale = |freq: f32| {
                    let wavelength = 2.0 * std::f32::consts::PI / freq;
                    if wavelength > trained / low_freq_factor {
                        freq / factor
                    } else if wavelength < trained / high_freq_factor {
                        freq
                    } else {
                        let smooth = (trained / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - smooth) * freq / factor + smooth * freq
                    }
                };
                plain.map(scale).collect()
            }
        }
    }
}
