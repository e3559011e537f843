//! What a converter reads a model from.

use crate::Result;
use crate::model::parameters::Needed;
use crate::quant::Format;

/// Where values come from, by canonical name. Several threads ask at once.
pub trait Checkpoint: Sync {
    /// Whether what training needs (batch norms, scales of layers) is part of the tensors already.
    const FOLDED: bool = false;

    /// Shape of a tensor; `None` if there is none of that name.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Values `start..end` (counted in elements, row by row) of a tensor, in f32.
    ///
    /// # Errors
    /// The tensor's number type cannot be read.
    fn values(&self, name: &str, start: usize, end: usize) -> Result<Vec<f32>>;

    /// The format a tensor is stored in when the caller asks for `asked`, or leaves the choice to the checkpoint.
    fn format(&self, needed: &Needed, asked: Option<Format>) -> Format {
        needed.role.format(asked.unwrap_or(Format::F16))
    }

    /// Appends values `start..end` to `quants` and `scales` as [`Format::encode_part`] would, but from blocks that the
    /// checkpoint holds ready, so that nothing is quantized twice. `false` if it holds none in `format`.
    ///
    /// # Errors
    /// A block is damaged.
    fn blocks(
        &self,
        _name: &str,
        _format: Format,
        _start: usize,
        _end: usize,
        _quants: &mut Vec<u8>,
        _scales: &mut Vec<u8>,
    ) -> Result<bool> {
        Ok(false)
    }
}
