//! The GGUF container, versions 2 and 3: metadata, and where each tensor's bytes lie.
//!
//! Nothing in the file is trusted: every length is checked against the bytes that are there before anything is taken or
//! allocated, and what is kept borrows from the file.

use std::collections::BTreeMap;

use super::blocks::Kind;
use crate::{Error, Result};

const MAGIC: &[u8] = b"GGUF";
/// Tensors begin at a multiple of this where `general.alignment` does not say otherwise.
const ALIGNMENT: u64 = 32;
/// ggml's own limit.
const MOST_DIMENSIONS: u32 = 4;
/// The type id of strings and of arrays; all others have a fixed width.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A parsed file.
#[derive(Debug)]
pub struct Gguf<'a> {
    metadata: BTreeMap<&'a str, Value<'a>>,
    /// By the file's own names.
    pub tensors: BTreeMap<&'a str, Tensor<'a>>,
}

/// A metadata value; integers and floats of all widths come as the widest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

/// An array of scalars or strings, read when asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    kind: u32,
    len: usize,
    bytes: &'a [u8],
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// The block type; for a type that is not converted its ggml id, and then `bytes` is empty.
    pub kind: std::result::Result<Kind, u32>,
    /// Rows first, as in a checkpoint: ggml lists dimensions the other way round.
    pub shape: Vec<usize>,
    pub bytes: &'a [u8],
}

/// Reads a whole GGUF file.
///
/// # Errors
/// [`Error::Io`] naming the part: no GGUF, another version, cut short, or inconsistent.
pub fn parse(bytes: &[u8]) -> Result<Gguf<'_>> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4, "the header")? != MAGIC {
        return Err(broken("the header", "does not begin with `GGUF`: this is no GGUF file"));
    }
    match reader.u32("the header")? {
        2 | 3 => {}
        1 => return Err(broken("the header", "version 1 of the format; convert the model again with llama.cpp")),
        version if version.swap_bytes() <= 3 => {
            return Err(broken("the header", "the file is big-endian; only little-endian ones can be read"));
        }
        version => return Err(broken("the header", format!("version {version}; only 2 and 3 can be read"))),
    }
    let tensor_count = reader.u64("the header")?;
    let metadata_count = reader.u64("the header")?;
    let mut metadata = BTreeMap::new();
    for index in 0..metadata_count {
        let key = reader.str(&format!("metadata key {index}"))?;
        let value = reader.value(&format!("metadata `{key}`"))?;
        if metadata.insert(key, value).is_some() {
            return Err(broken(&format!("metadata `{key}`"), "appears twice"));
        }
    }
    let mut gguf = Gguf { metadata, tensors: BTreeMap::new() };
    let alignment = gguf.u64("general.alignment")?.unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(broken("metadata `general.alignment`", format!("{alignment} is no power of two in reason")));
    }

    let mut entries = Vec::new();
    for index in 0..tensor_count {
        entries.push(reader.entry(&format!("tensor {index}"))?);
    }
    let data = (reader.at as u64).next_multiple_of(alignment);
    let mut ranges = Vec::new();
    for Entry { name, shape, kind, offset } in entries {
        let what = format!("tensor `{name}`");
        if !offset.is_multiple_of(alignment) {
            return Err(broken(&what, format!("lies at {offset}, no multiple of the alignment {alignment}")));
        }
        let kind = Kind::from_id(kind).ok_or(kind);
        let mut found: &[u8] = &[];
        if let Ok(kind) = kind {
            let len = kind.byte_len(&shape);
            let len =
                len.ok_or_else(|| broken(&what, format!("shape {shape:?} cannot be stored as {}", kind.name())))?;
            let start = data.checked_add(offset).and_then(|start| usize::try_from(start).ok());
            let range = start.and_then(|start| Some(start..start.checked_add(len)?));
            let part = range.clone().and_then(|range| bytes.get(range));
            found = part.ok_or_else(|| {
                let problem = format!("{len} bytes at {offset} reach beyond the end; download the file again");
                broken(&what, problem)
            })?;
            ranges.extend(range.map(|range| (range.start, range.end, name)));
        }
        if gguf.tensors.insert(name, Tensor { kind, shape, bytes: found }).is_some() {
            return Err(broken(&what, "appears twice"));
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(broken(&format!("tensor `{}`", pair[1].2), format!("overlaps `{}`", pair[0].2)));
        }
    }
    Ok(gguf)
}

/// An error about a part of the file.
pub fn broken(what: &str, problem: impl Into<String>) -> Error {
    Error::Io { what: what.into(), problem: problem.into() }
}

/// Typed access to the metadata: `None` where the key is missing, an error where its value has another type.
impl<'a> Gguf<'a> {
    /// Any value.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.metadata.get(key).copied()
    }

    /// A whole number that is not negative.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number", |value| match value {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        })
    }

    /// A number.
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::number)
    }

    /// True or false.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// A text.
    pub fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a text", Value::text)
    }

    /// A list.
    pub fn array(&self, key: &str) -> Result<Option<Array<'a>>> {
        self.typed(key, "a list", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    /// A list of numbers.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.list(key, "a list of numbers", Value::number)
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.list(key, "a list of texts", Value::text)
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl Fn(Value<'a>) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| broken(&format!("metadata `{key}`"), format!("is not {wanted}")))
    }

    fn list<T>(&self, key: &str, wanted: &str, read: impl Fn(Value<'a>) -> Option<T>) -> Result<Option<Vec<T>>> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let list = array.iter().map(read).collect::<Option<_>>();
        list.map(Some).ok_or_else(|| broken(&format!("metadata `{key}`"), format!("is not {wanted}")))
    }
}

impl<'a> Value<'a> {
    fn number(self) -> Option<f64> {
        match self {
            Value::Unsigned(number) => Some(number as f64),
            Value::Signed(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut reader) = (self.kind, Reader { bytes: self.bytes, at: 0 });
        // All of them were read once by `parse`.
        (0..self.len).map_while(move |_| reader.element(kind, "array").ok())
    }
}

/// A tensor's entry in the header.
struct Entry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

/// Reads forward; `what` names the part in errors.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or_else(|| broken(what, "the file ends before it does; download it again"))?;
        self.at += len;
        Ok(part)
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, what)?);
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    fn len(&mut self, what: &str) -> Result<usize> {
        let len = self.u64(what)?;
        usize::try_from(len).map_err(|_| broken(what, format!("a length of {len} is beyond this machine")))
    }

    fn str(&mut self, what: &str) -> Result<&'a str> {
        let len = self.len(what)?;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| broken(what, "is no UTF-8"))
    }

    fn value(&mut self, what: &str) -> Result<Value<'a>> {
        let kind = self.u32(what)?;
        if kind != ARRAY {
            return self.element(kind, what);
        }
        let kind = self.u32(what)?;
        let len = self.len(what)?;
        let start = self.at;
        match width(kind) {
            Some(width) => {
                let bytes = len.checked_mul(width).ok_or_else(|| broken(what, "its length overflows"))?;
                self.take(bytes, what)?;
            }
            // Each takes at least its length's 8 bytes, so that the file's end bounds this loop.
            None if kind == STRING => {
                for _ in 0..len {
                    self.str(what)?;
                }
            }
            None => return Err(broken(what, format!("is a list of type {kind}, which cannot be read"))),
        }
        Ok(Value::Array(Array { kind, len, bytes: &self.bytes[start..self.at] }))
    }

    fn element(&mut self, kind: u32, what: &str) -> Result<Value<'a>> {
        Ok(match kind {
            0 => Value::Unsigned(self.fixed::<1>(what)?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.fixed(what)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.fixed(what)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.fixed(what)?).into()),
            4 => Value::Unsigned(self.u32(what)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.fixed(what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.fixed(what)?).into()),
            7 => Value::Bool(self.fixed::<1>(what)? != [0]),
            STRING => Value::Str(self.str(what)?),
            10 => Value::Unsigned(self.u64(what)?),
            11 => Value::Signed(i64::from_le_bytes(self.fixed(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.fixed(what)?)),
            kind => return Err(broken(what, format!("has type {kind}, which cannot be read"))),
        })
    }

    fn entry(&mut self, what: &str) -> Result<Entry<'a>> {
        let name = self.str(what)?;
        let what = format!("tensor `{name}`");
        let dimensions = self.u32(&what)?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(broken(&what, format!("has {dimensions} dimensions; 1 to {MOST_DIMENSIONS} can be read")));
        }
        let mut shape = (0..dimensions).map(|_| self.len(&what)).collect::<Result<Vec<_>>>()?;
        shape.reverse();
        Ok(Entry { name, shape, kind: self.u32(&what)?, offset: self.u64(&what)? })
    }
}

/// Bytes of one element of an array; `None` for strings and unknown types.
fn width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
