//! Weights on a device, in one buffer or, where it allows no buffer of that size, in several.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::device::{self, Buffer, tensors};
use crate::error::{Error, Result};
use crate::quant::Format;

/// A linear layer's or an embedding's weight on a device, still in its storage format.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Never empty; one but for weights that are larger than a buffer may be.
    parts: Vec<Part>,
    pub format: Format,
    /// Output features, or entries of a vocabulary.
    pub rows: usize,
    /// Input features, or the width of an embedding.
    pub cols: usize,
}

/// Some rows of a [`Weight`]: of each of the matrices it stacks the same ones.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The bytes as 32-bit words, padded with zeros to whole 16 bytes.
    pub data: Buffer,
    /// Counted within one matrix.
    pub rows: Range<usize>,
    pub layout: WeightLayout,
}

impl Weight {
    /// Uploads a tensor's stored bytes.
    ///
    /// # Panics
    /// If the number of bytes is not what `format` needs for `[rows, cols]` (the bundle's manifest was checked before), or
    /// they are more than a buffer of this GPU may have.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>, format: Format, rows: usize, cols: usize, device: &Device) -> Self {
        let limit = device::max_binding(device);
        Self::split("weight", bytes, format, rows, cols, 1, limit, device).expect("a weight that fits")
    }

    /// Uploads a tensor's stored bytes in as few buffers of at most `limit` bytes as it takes. `stack` matrices of equal
    /// height below each other (gate and up) are cut at the same rows, so that rows that belong together stay together.
    /// With `stack` 0 the tensor cannot be cut.
    ///
    /// # Errors
    /// [`Error::Gpu`] naming the tensor if it cannot be cut so far.
    ///
    /// # Panics
    /// If the number of bytes is not what `format` needs for `[rows, cols]`.
    #[allow(clippy::too_many_arguments, reason = "a tensor is its name, bytes, format and shape")]
    pub fn split(
        name: &str,
        bytes: impl Into<Vec<u8>>,
        format: Format,
        rows: usize,
        cols: usize,
        stack: usize,
        limit: u64,
        device: &Device,
    ) -> Result<Self> {
        let bytes = bytes.into();
        assert_eq!(Some(bytes.len()), format.byte_len(rows, cols), "bytes of a [{rows}, {cols}] weight as {format:?}");
        if bytes.len().next_multiple_of(16) as u64 <= limit {
            let layout = WeightLayout { format, rows, cols };
            let part = Part { data: Buffer::from_bytes(bytes, device), rows: 0..rows / stack.max(1), layout };
            return Ok(Self { parts: vec![part], format, rows, cols });
        }
        let too_large = || {
            let size = bytes.len();
            let cure = "convert the model at fewer bits a weight, or use another GPU";
            Error::Gpu(format!("tensor `{name}` takes {size} bytes, a buffer of this GPU may have {limit}; {cure}"))
        };
        let height = rows.checked_div(stack).ok_or_else(too_large)?;
        let size = |height: usize| format.byte_len(height * stack, cols).map(|size| size.next_multiple_of(16) as u64);
        let fits = |count: &usize| size(height.div_ceil(*count)).is_some_and(|size| size <= limit);
        let count = (2..=height).find(fits).ok_or_else(too_large)?;
        let starts = (0..height).step_by(height.div_ceil(count));
        let part = |start: usize| {
            let rows = start..height.min(start + height.div_ceil(count));
            let bytes = format.rows(&bytes, (height * stack, cols), stack, rows.clone());
            let layout = WeightLayout { format, rows: rows.len() * stack, cols };
            Part { data: Buffer::from_bytes(bytes, device), rows, layout }
        };
        Ok(Self { parts: starts.map(part).collect(), format, rows, cols })
    }

    /// Buffers the weight is in.
    pub fn buffers(&self) -> usize {
        self.parts.len()
    }

    /// The one part of a weight that is never cut.
    pub(super) fn whole(&self) -> &Part {
        assert_eq!(self.parts.len(), 1, "this weight must be in one buffer");
        &self.parts[0]
    }

    /// What `each` makes of the parts, whose columns come one after the other.
    pub(super) fn side_by_side(&self, each: impl Fn(&Part) -> Tensor<2>) -> Tensor<2> {
        tensors::cat(self.parts.iter().map(each).collect(), 1)
    }

    /// The sum of what `each` makes of the parts.
    pub(super) fn sum(&self, each: impl Fn(&Part) -> Tensor<2>) -> Tensor<2> {
        self.parts.iter().map(each).reduce(tensors::add).expect("one part at least")
    }

    /// The numbers of `bias`, one a row, that belong to `part`.
    pub(super) fn bias_of(&self, part: &Part, bias: Option<&Tensor<1>>) -> Option<Tensor<1>> {
        let bias = bias?.clone();
        if self.parts.len() == 1 {
            return Some(bias);
        }
        let stack = part.layout.rows / part.rows.len();
        let height = self.rows / stack;
        let rows = |index| index * height + part.rows.start..index * height + part.rows.end;
        let of_matrix = |index| tensors::slice(bias.clone(), [rows(index)]);
        Some(tensors::cat((0..stack).map(of_matrix).collect(), 0))
    }

    /// The columns of `residual` that belong to `part`.
    pub(super) fn residual_of(&self, part: &Part, residual: Option<&Tensor<2>>) -> Option<Tensor<2>> {
        let residual = residual?.clone();
        let n = residual.dims()[0];
        Some(if self.parts.len() == 1 { residual } else { tensors::slice(residual, [0..n, part.rows.clone()]) })
    }
}

/// What a launch must know of a [`Weight`] beside its words.
#[derive(Clone, Copy, Debug)]
pub struct WeightLayout {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) cols: usize,
}
