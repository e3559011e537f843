//! The CPU: tensors are those of Burn's Flex backend, operations run when they are called.

mod memory;
mod tensors;
mod turn;

use std::ops::Range;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{DType, DispatchDevice, Flex, FlexDevice};
use burn::tensor::{Device, TensorData};

pub use memory::Memory;

use super::Buffer;
use super::runtime::{Adapter, Features, Opened, Runtime};
use crate::error::Result;

/// A tensor of Flex.
pub(crate) type CpuTensor = FloatTensor<Flex>;

impl Runtime for Flex {
    type Memory = Memory;
    /// There is nothing to save.
    type Recording<T> = ();
    const QUEUES: bool = false;

    async fn open() -> Result<Opened> {
        let adapter = Adapter {
            name: "CPU".into(),
            backend: "cpu".into(),
            software: true,
            max_binding: Self::max_binding(),
            features: Features::default(),
        };
        Ok(Opened { device: Device::new(DispatchDevice::Flex(FlexDevice)), adapter })
    }

    fn allocate(_device: &FlexDevice, words: usize, bytes: Option<Vec<u8>>) -> Memory {
        Memory::new(bytes.map_or_else(|| vec![0; words], |bytes| bytemuck::pod_collect_to_vec(&bytes)))
    }

    fn words(memory: &Memory) -> usize {
        memory.read().len()
    }

    fn write(memory: &Memory, words: &[u32]) {
        memory.write()[..words.len()].copy_from_slice(words);
    }

    fn read(memory: &Memory) -> impl Future<Output = Result<Vec<u32>>> + use<> {
        let words = memory.read().clone();
        async {
            turn::turn().await;
            Ok(words)
        }
    }

    async fn read_floats(tensor: CpuTensor) -> Result<Vec<f32>> {
        Ok(floats(&contiguous(tensor)).to_vec())
    }

    fn cat(tensors: Vec<CpuTensor>, dim: usize) -> CpuTensor {
        tensors::cat(tensors, dim)
    }

    fn slice(tensor: CpuTensor, ranges: &[Range<usize>]) -> CpuTensor {
        tensors::slice(tensor, ranges)
    }

    fn add(a: CpuTensor, b: CpuTensor) -> CpuTensor {
        tensors::add(a, b)
    }

    /// The largest slice there can be.
    fn max_binding() -> u64 {
        isize::MAX as u64
    }

    async fn record<T>(_device: &FlexDevice, mut step: impl FnMut() -> T) -> Result<()> {
        step();
        Ok(())
    }

    fn replay<T>(_recording: &(), step: impl FnOnce() -> T) -> Result<()> {
        step();
        Ok(())
    }

    fn launches<T>(_recording: &()) -> usize {
        0
    }

    async fn sync(_device: &FlexDevice) -> Result<()> {
        turn::turn().await;
        Ok(())
    }

    async fn validated<T>(_device: &FlexDevice, work: impl Future<Output = Result<T>>) -> Result<T> {
        work.await
    }
}

impl Buffer {
    /// What an operation of the CPU reads or changes.
    ///
    /// # Panics
    /// If it is memory of another kind of device.
    pub(crate) fn cpu(&self) -> &Memory {
        match self {
            Self::Cpu(memory) => memory,
            #[allow(unreachable_patterns, reason = "where it is the only kind")]
            _ => panic!("a buffer of another device in an operation of the CPU"),
        }
    }
}

/// The tensor in row-major order without gaps; itself if it already is.
pub(crate) fn contiguous(tensor: CpuTensor) -> CpuTensor {
    tensor.to_contiguous()
}

/// The numbers of a tensor that is [`contiguous`].
pub(crate) fn floats(tensor: &CpuTensor) -> &[f32] {
    tensor.as_slice().expect("a tensor of f32 without gaps")
}

/// The numbers of a tensor of ids, which are i32 unless the caller made them otherwise; below 0 there is none.
pub(crate) fn ids(tensor: IntTensor<Flex>) -> Vec<u32> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::U32 => tensor.as_slice::<u32>().expect("a tensor without gaps").to_vec(),
        _ => {
            let ids: &[i32] = tensor.as_slice().expect("a tensor of 32-bit ids without gaps");
            ids.iter().map(|id| u32::try_from(*id).unwrap_or(u32::MAX)).collect()
        }
    }
}

/// A tensor of these numbers.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, shape))
}
