//! Pulls tensors by name from a [`WeightSource`] onto the GPU, checking every shape against the configuration.

use burn::tensor::{Device, Tensor, TensorData};

use crate::error::{Error, Result};
use crate::kernels::Weight;
use crate::quant;
use crate::weights::{TensorBytes, TensorReader, WeightSource};

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

    /// The matrix `{name}` of shape `[rows, cols]`, in the format it is stored in.
    pub async fn weight(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        let tensor = self.reader.tensor(name).await?;
        self.upload(name, tensor, rows, cols)
    }

    /// The matrices `names` (`[rows[i], cols]`) stacked along their rows into one matrix.
    pub async fn stacked(&mut self, names: &[String], rows: usize, cols: usize) -> Result<Weight> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tensor = self.reader.fused(&names).await?;
        self.upload(&names.join(" + "), tensor, rows, cols)
    }

    /// The vector `{name}` of `len` values in f32.
    pub async fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>> {
        let values = self.values(name, &[len]).await?;
        Ok(Tensor::from_data(TensorData::new(values, [len]), self.device))
    }

    /// The tensor `{name}` of the given shape decoded to f32 on the host.
    pub async fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.reader.tensor(name).await?;
        let len = shape.iter().product();
        if tensor.shape.iter().product::<usize>() != len {
            return Err(mismatch(name, &tensor.shape, shape));
        }
        let cols = *shape.last().unwrap_or(&1);
        quant::decode(tensor.format, &tensor.bytes, len / cols.max(1), cols)
    }

    /// The device tensors are uploaded to.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    fn upload(&self, name: &str, tensor: TensorBytes, rows: usize, cols: usize) -> Result<Weight> {
        // A convolution kernel [out, c, h, w] is the matrix [out, c*h*w].
        let found = (tensor.shape.first().copied(), tensor.shape.iter().skip(1).product::<usize>());
        if found != (Some(rows), cols) {
            return Err(mismatch(name, &tensor.shape, &[rows, cols]));
        }
        Ok(Weight::from_bytes(tensor.bytes, tensor.format, rows, cols, self.device))
    }
}

fn mismatch(name: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::bundle(
        format!("tensor `{name}`"),
        format!("its shape is {found:?} but the configuration asks for {expected:?}; convert the checkpoint again"),
    )
}
