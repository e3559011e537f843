//! How the model gets its weights: it pulls tensors by name from a [`ChunkSource`].

use std::collections::HashMap;

use super::manifest::TensorEntry;
use super::source::ChunkSource;
use crate::quant::Format;
use crate::{Error, Result};

/// A tensor as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorBytes {
    /// The tensor's name; the first one for fused tensors.
    pub name: String,
    pub format: Format,
    /// `[rows, cols]` or `[len]`.
    pub shape: Vec<usize>,
    /// Laid out as `quant` describes.
    pub bytes: Vec<u8>,
}

impl TensorBytes {
    /// The shape as a matrix; a vector is one row.
    pub fn rows_cols(&self) -> (usize, usize) {
        match self.shape[..] {
            [rows, cols] => (rows, cols),
            _ => (1, self.shape.iter().product()),
        }
    }

    /// The values in f32, row by row.
    ///
    /// # Errors
    /// The bytes do not fit the shape, which no [`TensorReader`] returns.
    pub fn decode(&self) -> Result<Vec<f32>> {
        let (rows, cols) = self.rows_cols();
        self.format.decode(&self.name, rows, cols, &self.bytes)
    }
}

/// Reads tensors by name, keeping no more than the one chunk it read last: in the bundle's own order every chunk is
/// read once.
pub struct TensorReader<'a, S> {
    source: &'a S,
    tensors: HashMap<&'a str, &'a TensorEntry>,
    last: Option<(usize, Vec<u8>)>,
}

impl<'a, S: ChunkSource> TensorReader<'a, S> {
    /// A reader of all tensors in `source`.
    pub fn new(source: &'a S) -> Self {
        let tensors = source.manifest().tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Self { source, tensors, last: None }
    }

    /// Whether the bundle holds a tensor called `name` (biases and the head are optional).
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Format and shape of a tensor, without reading it.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn entry(&self, name: &str) -> Result<&'a TensorEntry> {
        self.tensors.get(name).copied().ok_or_else(|| {
            let problem = "is missing: the bundle is not of this model, or not made by llava-convert (names are \
                           vision_tower.*, multi_modal_projector.*, language_model.*)";
            Error::bundle(format!("tensor `{name}`"), problem)
        })
    }

    /// One tensor.
    ///
    /// # Errors
    /// There is no such tensor, or a chunk cannot be read.
    pub async fn tensor(&mut self, name: &str) -> Result<TensorBytes> {
        let entry = self.entry(name)?;
        let size = entry.spans.iter().map(|span| span.bytes).sum();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| {
            Error::bundle(format!("tensor `{name}`"), format!("needs {size} bytes of memory, more than there is"))
        })?;
        for span in &entry.spans {
            let chunk = self.chunk(span.chunk).await?;
            let part = span.offset.checked_add(span.bytes).and_then(|end| chunk.get(span.offset..end));
            bytes.extend_from_slice(part.ok_or_else(|| {
                Error::bundle(format!("tensor `{name}`"), format!("reaches beyond chunk {}", span.chunk))
            })?);
        }
        Ok(TensorBytes { name: name.into(), format: entry.dtype, shape: entry.shape.clone(), bytes })
    }

    /// Compares a tensor's shape with the one config.json asks for, without reading it.
    ///
    /// # Errors
    /// There is no such tensor, or its shape differs.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let found = &self.entry(name)?.shape;
        if found != shape {
            let problem = format!("has shape {found:?}, config.json asks for {shape:?}");
            return Err(Error::bundle(format!("tensor `{name}`"), problem));
        }
        Ok(())
    }

    /// One tensor that must have this shape.
    ///
    /// # Errors
    /// As [`TensorReader::check`] and [`TensorReader::tensor`].
    pub async fn shaped(&mut self, name: &str, shape: &[usize]) -> Result<TensorBytes> {
        self.check(name, shape)?;
        self.tensor(name).await
    }

    /// Several tensors as one, their rows below each other (q, k and v; gate and up): `[sum of rows, cols]` in the
    /// same layout as a single tensor, so that one product serves them all. Vectors are joined end to end.
    ///
    /// # Errors
    /// As [`TensorReader::tensor`], or the tensors differ in format or columns.
    pub async fn fused(&mut self, names: &[&str]) -> Result<TensorBytes> {
        if let [name] = names {
            return self.tensor(name).await;
        }
        let first = self.entry(names.first().copied().unwrap_or_default())?;
        let mut fused = TensorBytes {
            name: first.name.clone(),
            format: first.dtype,
            shape: first.shape.clone(),
            bytes: Vec::new(),
        };
        fused.shape[0] = 0;
        let mut scales = Vec::new();
        for name in names {
            let TensorBytes { format, shape, bytes, .. } = self.tensor(name).await?;
            if format != fused.format || shape[1..] != fused.shape[1..] {
                let problem = format!(
                    "{} {shape:?} cannot be joined with `{}`, {} {:?}; convert both alike",
                    format.name(),
                    first.name,
                    first.dtype.name(),
                    first.shape
                );
                return Err(Error::bundle(format!("tensor `{name}`"), problem));
            }
            let (rows, cols) = (shape[0], shape[1..].iter().product());
            let lengths = format.quants_len(rows, cols).zip(format.scales_len(rows, cols));
            let parts = lengths.and_then(|(quants, scales)| {
                let (quants, rest) = bytes.split_at_checked(quants)?;
                Some((quants, rest.get(..scales)?))
            });
            let (quants, scale) = parts.ok_or_else(|| Error::bundle(format!("tensor `{name}`"), "is too short"))?;
            fused.shape[0] += rows;
            fused.bytes.extend_from_slice(quants);
            scales.extend_from_slice(scale);
        }
        fused.bytes.append(&mut scales);
        fused.bytes.resize(fused.bytes.len().next_multiple_of(4), 0);
        Ok(fused)
    }

    async fn chunk(&mut self, index: usize) -> Result<&[u8]> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            // Free the old chunk before the next one arrives.
            self.last = None;
            self.last = Some((index, self.source.read_chunk(index).await?));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}
