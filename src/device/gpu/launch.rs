//! Enqueuing a shader on tensors and buffers.

use std::cell::Cell;
use std::sync::OnceLock;

use burn::backend::DType;
use burn::backend::wgpu::{CubeTensor, SourceKernel};
use cubecl::prelude::{CubeCount, CubeDim};
use cubecl::server::{KernelArguments, MetadataBindingInfo};

use super::shader::{Shader, WORKGROUP};
use crate::device::Buffer;

/// A tensor of the GPU backend: a buffer, its shape and the client of its device.
pub(crate) type GpuTensor = CubeTensor;

/// The most workgroups WebGPU dispatches along one axis; more of them continue along y (`shared/flat_index.wgsl`).
const MAX_WORKGROUPS: usize = 65535;

/// Enqueues `shader` over `workgroups` workgroups: `buffers` are its storage bindings in order, `dims` the words of its
/// uniform (floats as their bits).
pub(crate) fn launch(shader: Shader, buffers: &[&GpuTensor], dims: &[u32], workgroups: usize) {
    assert_eq!(shader.dims.len(), dims.len(), "{}: words of `dims`", shader.name);
    for buffer in buffers {
        assert!(buffer.is_contiguous(), "{}: every tensor must be contiguous", shader.name);
        assert_eq!(buffer.dtype.size(), 4, "{}: every tensor must have 4-byte elements", shader.name);
        // Browsers refuse such a launch after the fact, native drivers let it pass.
        let same = buffers.iter().filter(|other| shares_memory(buffer, other)).count();
        assert_eq!(same, 1, "{}: the same tensor is bound twice", shader.name);
    }
    if workgroups == 0 {
        return;
    }
    let y = workgroups.div_ceil(MAX_WORKGROUPS);
    let count = CubeCount::Static(workgroups.div_ceil(y) as u32, y as u32, 1);
    // A uniform's size is a multiple of 16 bytes.
    let mut words = dims.to_vec();
    words.resize(dims.len().next_multiple_of(4), 0);
    let info = words.chunks_exact(2).map(|pair| pair[0] as u64 | (pair[1] as u64) << 32).collect();
    let arguments = KernelArguments::new()
        .with_buffers(buffers.iter().map(|buffer| buffer.handle.clone().binding()).collect())
        .with_info(MetadataBindingInfo::custom(info));
    let client = &buffers[0].client;
    let kernel = SourceKernel::new(shader, CubeDim::new_1d(WORKGROUP as u32));
    client.launch(Box::new(kernel), count, arguments);
    LAUNCHES.set(LAUNCHES.get() + 1);
}

/// Launches this thread has enqueued so far.
pub(crate) fn launched() -> usize {
    LAUNCHES.get()
}

thread_local! {
    static LAUNCHES: Cell<usize> = const { Cell::new(0) };
}

/// [`launch`] for shaders that belong to no operation of this crate: benches measure the adapter itself with them.
pub fn launch_on(shader: Shader, buffers: &[&Buffer], dims: &[u32], workgroups: usize) {
    let buffers: Vec<&GpuTensor> = buffers.iter().map(|buffer| buffer.gpu()).collect();
    launch(shader, &buffers, dims, workgroups);
}

fn shares_memory(a: &GpuTensor, b: &GpuTensor) -> bool {
    let same_memory = std::ptr::eq(a.handle.memory.descriptor(), b.handle.memory.descriptor());
    same_memory && a.handle.offset_start == b.handle.offset_start
}

/// The tensor in row-major order without gaps; itself if it already is.
pub(crate) fn contiguous(tensor: GpuTensor) -> GpuTensor {
    burn::backend::wgpu::into_contiguous(tensor)
}

/// An uninitialised f32 tensor on the device of `like`, from the memory pool.
pub(crate) fn output<const D: usize>(like: &GpuTensor, shape: [usize; D]) -> GpuTensor {
    let handle = like.client.empty(shape.iter().product::<usize>() * 4);
    GpuTensor::new_contiguous(like.client.clone(), like.device.clone(), shape.into(), handle, DType::F32)
}

/// A placeholder for the optional binding number `slot` (0 or 1) of a shader that is told not to read it.
pub(crate) fn absent(like: &GpuTensor, slot: usize) -> GpuTensor {
    static ABSENT: OnceLock<[GpuTensor; 2]> = OnceLock::new();
    let word = || {
        let handle = like.client.memory_persistent_allocation((), |()| like.client.empty(16));
        GpuTensor::new_contiguous(like.client.clone(), like.device.clone(), [4].into(), handle, DType::F32)
    };
    ABSENT.get_or_init(|| [word(), word()])[slot].clone()
}
