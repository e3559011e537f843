//! Pulls tensors by name from a [`WeightSource`] onto the GPU, checking every shape against the configuration.

use burn::tensor::{Device, Tensor, TensorData};

use crate::bundle::reader::{TensorBytes, TensorReader};
use crate::bundle::source::WeightSource;
use crate::device;
use crate::error::Result;
use crate::kernels::Weight;
use crate::model::parameters::Needed;

/// Reads tensors in the order the model asks for them; at most one tensor is in host memory at a time.
pub struct Loader<'a, S> {
    reader: TensorReader<'a, S>,
    device: &'a Device,
}

impl<'a, S: WeightSource> Loader<'a, S> {
    /// A loader over `source` that uploads to `device`.
    pub fn new(source: &'a S, device: &'a Device) -> Self {
        Self { reader: TensorReader::new(source), device }
    }

    /// The device tensors are uploaded to.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Whether the bundle holds `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.reader.contains(name)
    }

    /// Compares a tensor with what is needed, without reading it.
    ///
    /// # Errors
    /// It is missing, or has another shape.
    pub fn check(&self, needed: &Needed) -> Result<()> {
        self.reader.check(&needed.name, &needed.stored_shape())
    }

    /// The matrices `parts` (`(name, rows)`, all of `cols` columns) below each other, in the format they are stored in. Where
    /// that is more than a buffer may have, it is cut as [`Weight::split`] does with `stack`.
    pub async fn weight(&mut self, parts: &[(String, usize)], cols: usize, stack: usize) -> Result<Weight> {
        let names = self.checked(parts, |rows| vec![rows, cols])?;
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        let TensorBytes { name, bytes, format, .. } = self.reader.fused(&names).await?;
        Weight::split(&name, bytes, format, rows, cols, stack, device::gpu::max_binding(), self.device)
    }

    /// The vectors `parts` (`(name, length)`) end to end, in f32.
    pub async fn vector(&mut self, parts: &[(String, usize)]) -> Result<Tensor<1>> {
        let names = self.checked(parts, |len| vec![len])?;
        let values = self.reader.fused(&names).await?.decode()?;
        let len = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [len]), self.device))
    }

    /// The tensor `name` of the given shape, decoded to f32 on the host.
    pub async fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.reader.shaped(name, shape).await?.decode()
    }

    fn checked<'p>(&self, parts: &'p [(String, usize)], shape: impl Fn(usize) -> Vec<usize>) -> Result<Vec<&'p str>> {
        parts
            .iter()
            .map(|(name, size)| {
                self.reader.check(name, &shape(*size))?;
                Ok(name.as_str())
            })
            .collect()
    }
}
