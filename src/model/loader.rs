//! Pulls parameters from a [`ChunkSource`] onto the GPU, checking every shape against the configuration.

use std::pin::Pin;

use burn::tensor::{Device, Tensor};

use crate::bundle::reader::{TensorBytes, TensorReader};
use crate::bundle::source::ChunkSource;
use crate::device::{self, tensors};
use crate::error::Result;
use crate::kernels::Weight;
use crate::model::parameters::{Cut, Needed, Parameter};

/// A part of a model on its way. Boxed: inlined into all that load parts, its code would be there many times.
pub type Loading<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Reads parameters in the order the model asks for them; at most one is in host memory at a time.
pub struct Loader<'a, S> {
    reader: TensorReader<'a, S>,
    device: &'a Device,
}

impl<'a, S: ChunkSource> Loader<'a, S> {
    /// A loader over `source` that uploads to `device`.
    pub fn new(source: &'a S, device: &'a Device) -> Self {
        Self { reader: TensorReader::new(source), device }
    }

    /// The device tensors are uploaded to.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Whether the bundle holds a parameter that it need not hold.
    pub fn contains(&self, parameter: &Parameter) -> bool {
        parameter.tensors.iter().all(|tensor| self.reader.contains(&tensor.name))
    }

    /// Compares a tensor with what is needed, without reading it.
    ///
    /// # Errors
    /// It is missing, or has another shape.
    pub fn check(&self, needed: &Needed) -> Result<()> {
        self.reader.check(&needed.name, &needed.stored_shape())
    }

    /// A matrix in the format it is stored in, cut as it allows where it is more than a buffer may have.
    pub async fn weight(&mut self, parameter: &Parameter) -> Result<Weight> {
        let TensorBytes { name, bytes, format, .. } = self.bytes(parameter).await?;
        let stack = match parameter.cut {
            Cut::Never => 0,
            Cut::Rows => 1,
            Cut::Pairs => 2,
        };
        let (rows, cols) = (parameter.rows(), parameter.cols());
        Weight::split(&name, bytes, format, rows, cols, stack, device::max_binding(self.device), self.device)
    }

    /// A vector in f32.
    pub async fn vector(&mut self, parameter: &Parameter) -> Result<Tensor<1>> {
        let values = self.values(parameter).await?;
        Ok(self.upload(values))
    }

    /// A parameter decoded to f32 on the host.
    pub async fn values(&mut self, parameter: &Parameter) -> Result<Vec<f32>> {
        self.bytes(parameter).await?.decode()
    }

    /// A vector of values on the host.
    pub fn upload(&self, values: Vec<f32>) -> Tensor<1> {
        let len = values.len();
        tensors::floats(values, [len], self.device)
    }

    async fn bytes(&mut self, parameter: &Parameter) -> Result<TensorBytes> {
        parameter.tensors.iter().try_for_each(|tensor| self.check(tensor))?;
        let names: Vec<&str> = parameter.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        self.reader.fused(&names).await
    }
}
