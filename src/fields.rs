//! How the fields of a caller's input are read.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// A whole number as JSON has it; what is too large for the type is its largest.
///
/// # Errors
/// It is negative, or no whole number.
pub fn count<'de, T: TryFrom<u64> + Bounded, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<u64>::deserialize(from)?.map(|number| T::try_from(number).unwrap_or(T::LARGEST)))
}

/// The largest value of a type.
pub trait Bounded {
    const LARGEST: Self;
}

impl Bounded for usize {
    const LARGEST: Self = usize::MAX;
}

impl Bounded for u32 {
    const LARGEST: Self = u32::MAX;
}

/// Flattened as the last field, it takes what no other field took, and refuses it: serde's own `deny_unknown_fields` does not
/// go with flattened fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOther;

impl<'de> Deserialize<'de> for NoOther {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Empty;

        impl<'de> Visitor<'de> for Empty {
            type Value = NoOther;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("no further field")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoOther, A::Error> {
                match map.next_entry::<String, IgnoredAny>()? {
                    None => Ok(NoOther),
                    Some((name, _)) => Err(A::Error::custom(format!("`{name}` is no field of an input"))),
                }
            }
        }

        from.deserialize_map(Empty)
    }
}
