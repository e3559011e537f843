//! The GPU: the only folder that touches CubeCL and Burn's backend internals.

mod adapter;
mod launch;
mod memory;
mod recording;
mod shader;
mod validate;

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Cube, CubeDevice};
use burn::tensor::Slice;
use cubecl::bytes::Bytes;

pub use adapter::adapter_features;
pub(crate) use adapter::software_adapter;
pub use launch::launch_on;
pub(crate) use launch::{GpuTensor, absent, contiguous, launch, launched, output};
pub use shader::Shader;
pub(crate) use shader::WORKGROUP;

use super::Buffer;
use super::runtime::{Opened, Runtime};
use crate::error::{Error, Result};

impl Runtime for Cube {
    type Memory = GpuTensor;
    type Recording<T> = recording::Recording<T>;
    const QUEUES: bool = true;

    async fn open() -> Result<Opened> {
        adapter::open().await
    }

    fn allocate(device: &CubeDevice, words: usize, bytes: Option<Vec<u8>>) -> GpuTensor {
        memory::allocate(device, words, bytes)
    }

    fn words(memory: &GpuTensor) -> usize {
        memory.meta.num_elements()
    }

    fn write(memory: &GpuTensor, words: &[u32]) {
        let rest = memory.handle.size_in_used() - words.len() as u64 * 4;
        let handle = memory.handle.clone().offset_end(rest);
        memory.client.write(&handle, Bytes::from_elems(words.to_vec()));
    }

    fn read(memory: &GpuTensor) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        memory::read(memory.client.clone(), memory.clone())
    }

    async fn read_floats(tensor: FloatTensor<Self>) -> Result<Vec<f32>> {
        let tensor = contiguous(tensor);
        memory::read(tensor.client.clone(), tensor).await
    }

    fn cat(tensors: Vec<FloatTensor<Self>>, dim: usize) -> FloatTensor<Self> {
        Self::float_cat(tensors, dim)
    }

    fn slice(tensor: FloatTensor<Self>, ranges: &[Range<usize>]) -> FloatTensor<Self> {
        let slices: Vec<Slice> = ranges.iter().cloned().map(Slice::from).collect();
        Self::float_slice(tensor, &slices)
    }

    fn add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(a, b)
    }

    fn max_binding() -> u64 {
        adapter::max_binding()
    }

    fn record<T>(device: &CubeDevice, step: impl FnMut() -> T) -> impl Future<Output = Result<Self::Recording<T>>> {
        recording::record(device, step)
    }

    fn replay<T>(recording: &Self::Recording<T>, _step: impl FnOnce() -> T) -> Result<()> {
        recording.replay()
    }

    fn launches<T>(recording: &Self::Recording<T>) -> usize {
        recording.launches
    }

    async fn sync(device: &CubeDevice) -> Result<()> {
        device.client().sync().await.map_err(gpu_error)
    }

    async fn validated<T>(device: &CubeDevice, work: impl Future<Output = Result<T>>) -> Result<T> {
        validate::validated(device, work).await
    }
}

impl Buffer {
    /// What a shader is launched on.
    ///
    /// # Panics
    /// If it is memory of another kind of device.
    pub(crate) fn gpu(&self) -> &GpuTensor {
        match self {
            Self::Gpu(memory) => memory,
            #[allow(unreachable_patterns, reason = "where it is the only kind")]
            _ => panic!("a buffer of another device in an operation of the GPU"),
        }
    }
}

fn gpu_error(error: impl std::fmt::Display) -> Error {
    Error::Gpu(error.to_string())
}
