//! How the fields of config.json are read: typed, within bounds, and named where they are wrong.

use serde_json::Value;

use crate::activation::Activation;
use crate::kernels::Heads;
use crate::{Error, Result};

/// Upper bound of any width, count or length: far above every published model, far below what could overflow.
pub const LARGEST_SIZE: usize = 1 << 22;
/// A tower or decoder with more layers than this is a damaged configuration.
pub const MOST_LAYERS: usize = 1024;

/// Typed access to one JSON object; null and missing fields take the default.
pub struct Fields<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which messages call `path`: the file's own with an empty one.
    pub fn new(path: &str, value: &'a Value) -> Result<Self> {
        let fields = Self { path: path.to_owned(), value };
        match value {
            Value::Object(_) => Ok(fields),
            Value::Null if !path.is_empty() => Ok(fields),
            _ => Err(Error::unsupported(if path.is_empty() { "config" } else { path }, "must be a JSON object")),
        }
    }

    /// The fields of an object within this one, which may be absent.
    pub fn section(&self, name: &str) -> Result<Self> {
        Fields::new(&self.name_of(name), self.value.get(name).unwrap_or(&Value::Null))
    }

    /// Whether there is no such object at all.
    pub fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    fn name_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The error that names a field.
    pub fn error(&self, name: &str, problem: impl Into<String>) -> Error {
        Error::unsupported(self.name_of(name), problem)
    }

    /// The names of all fields that are there.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let object = self.value.as_object().into_iter().flatten();
        object.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Refuses all fields but those of these names.
    pub fn refuse_others(&self, known: &[&str]) -> Result<()> {
        match self.names().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) if known.is_empty() => Err(self.error(name, "cannot be changed")),
            Some(name) => Err(self.error(name, format!("cannot be changed, only {}", known.join(", ")))),
        }
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    pub fn count(&self, name: &str, default: usize, least: usize, most: usize) -> Result<usize> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.error(name, format!("{value} is not a whole number from {least} to {most}")))
    }

    pub fn size(&self, name: &str, default: usize) -> Result<usize> {
        self.count(name, default, 1, LARGEST_SIZE)
    }

    /// As many sizes as there are by default.
    pub fn sizes<const N: usize>(&self, name: &str, default: [usize; N], most: usize) -> Result<[usize; N]> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let size =
            |value: &Value| value.as_u64().filter(|size| (1..=most as u64).contains(size)).map(|size| size as usize);
        let sizes = value.as_array().and_then(|list| list.iter().map(size).collect::<Option<Vec<_>>>());
        let problem = || self.error(name, format!("{value} is not {N} whole numbers from 1 to {most}"));
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(problem)
    }

    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_f64().map(|number| number as f32);
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.error(name, format!("{value} is not a positive number")))
    }

    pub fn required_float(&self, name: &str) -> Result<f32> {
        self.get(name).ok_or_else(|| self.error(name, "is missing"))?;
        self.float(name, 1.0)
    }

    pub fn bool(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(name, format!("{value} is not true or false")))
    }

    pub fn str(&self, name: &str, default: &'static str) -> Result<&'a str> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.error(name, format!("{value} is not a string")))
    }

    pub fn activation(&self, name: &str, default: Activation) -> Result<Activation> {
        if self.get(name).is_none() {
            return Ok(default);
        }
        let found = self.str(name, "")?;
        Activation::named(found)
            .ok_or_else(|| self.error(name, format!("`{found}` is not one of {}", Activation::NAMES)))
    }

    /// The row of a table of families that `model_type` names; without one it is `default`'s.
    pub fn family<T: Copy>(&self, default: &'static str, families: &[(&'static str, T)]) -> Result<(&'static str, T)> {
        let found = self.str("model_type", default)?;
        if let Some(row) = families.iter().find(|(name, _)| *name == found) {
            return Ok(*row);
        }
        let names: Vec<&str> = families.iter().map(|(name, _)| *name).collect();
        Err(self.error(
            "model_type",
            match names[..] {
                [only] => format!("`{found}`; only `{only}` works here"),
                _ => format!("`{found}` is not one of {}", names.join(", ")),
            },
        ))
    }

    /// Refuses heads that the attention kernels cannot run; `name` is the field that decides their size.
    pub fn head_size(&self, name: &str, head_dim: usize) -> Result<()> {
        if Heads::fits(head_dim) {
            return Ok(());
        }
        let largest = Heads::MAX_HEAD_DIM;
        Err(self.error(name, format!("heads of {head_dim} cannot be run, only multiples of 4 up to {largest}")))
    }

    /// `eos_token_id`: one id or a list of ids; `None` where there is none.
    pub fn eos_token_ids(&self) -> Result<Option<Vec<u32>>> {
        let name = "eos_token_id";
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.error(name, format!("{value} is not a token id")))
        };
        Ok(match self.get(name) {
            None => None,
            Some(Value::Array(list)) => Some(list.iter().map(id).collect::<Result<_>>()?),
            Some(value) => Some(vec![id(value)?]),
        })
    }
}
