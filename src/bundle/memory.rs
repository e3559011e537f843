//! What of a model's need of memory its manifest tells, so that a page can plan before it downloads anything, without knowing
//! what config.json and the tensors' names mean.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The most that a page can count.
const LARGEST: u64 = (1 << 53) - 1;

/// Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Of the weights that must lie in one buffer; others are cut where need be.
    pub largest_weight: LargestWeight,
    /// Layers of the decoder, each with a cache of keys and one of values.
    pub layers: u64,
    /// Numbers of a position's keys, or values, in one layer.
    pub keys: u64,
    /// Numbers of a position in the table of rotations.
    pub head_dim: u64,
    /// Positions that the model was trained for.
    pub trained_positions: u64,
    /// Positions that a picture takes.
    pub image_tokens: u64,
    /// The largest intermediate result of a picture; 0 in a model that sees none.
    pub picture_bytes: u64,
    /// The largest intermediate result of the decoder, for each position that runs at once.
    pub position_bytes: u64,
}

/// A weight and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargestWeight {
    /// What the engine calls it.
    pub name: String,
    pub bytes: u64,
}

impl Memory {
    /// The numbers that follow from config.json alone, with their names: whatever reads them must find them so.
    pub fn facts(&self) -> [(&'static str, u64); 5] {
        [
            ("layers", self.layers),
            ("keys", self.keys),
            ("head_dim", self.head_dim),
            ("trained_positions", self.trained_positions),
            ("image_tokens", self.image_tokens),
        ]
    }

    /// Reads the object, or says what is wrong with which field.
    fn read(json: &Value) -> Result<Self, String> {
        let weight = &json["largest_weight"];
        let count = |object: &Value, path: &str, name: &str, least: u64| {
            let number = object[name].as_u64().filter(|number| (least..=LARGEST).contains(number));
            number.ok_or_else(|| format!("`{path}{name}` is not a whole number from {least} to {LARGEST}"))
        };
        let number = |name, least| count(json, "memory.", name, least);
        let name = weight["name"].as_str().filter(|name| !name.is_empty());
        Ok(Self {
            largest_weight: LargestWeight {
                name: name.ok_or("`memory.largest_weight.name` is missing or empty")?.to_owned(),
                bytes: count(weight, "memory.largest_weight.", "bytes", 1)?,
            },
            layers: number("layers", 1)?,
            keys: number("keys", 1)?,
            head_dim: number("head_dim", 1)?,
            trained_positions: number("trained_positions", 1)?,
            image_tokens: number("image_tokens", 0)?,
            picture_bytes: number("picture_bytes", 0)?,
            position_bytes: number("position_bytes", 1)?,
        })
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(from)?).map_err(D::Error::custom)
    }
}
