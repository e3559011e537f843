//! What a kind of device must be able to do.

use std::fmt::Debug;
use std::ops::Range;

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Device;

use crate::error::Result;

/// What the engine and the operations need of a kind of device beside the operations themselves
/// ([`LlavaOps`](crate::kernels::LlavaOps)), which are launched in the order of the calls.
pub trait Runtime: Backend {
    /// Words that live as long as a model does; copies of the handle are the same memory.
    type Memory: Clone + Debug;
    /// What it takes to run a step again, where there is anything to save by that.
    type Recording<T>;
    /// Whether what is launched runs while the host does other things: only then there is anything to gain by launching
    /// more before a wait.
    const QUEUES: bool;

    /// Opens the device; the first call does it, later calls return the same one.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) where there is none.
    fn open() -> impl Future<Output = Result<Opened>>;

    /// `words` words, with these bytes in them if there are any.
    fn allocate(device: &Self::Device, words: usize, bytes: Option<Vec<u8>>) -> Self::Memory;

    fn words(memory: &Self::Memory) -> usize;

    /// Overwrites the first `words.len()` words after everything launched before.
    fn write(memory: &Self::Memory, words: &[u32]);

    /// The words as all launches up to this call leave them; what is launched between the call and the end of the wait runs
    /// meanwhile.
    fn read(memory: &Self::Memory) -> impl Future<Output = Result<Vec<u32>>> + use<Self>;

    /// The numbers of a tensor, row by row.
    fn read_floats(tensor: FloatTensor<Self>) -> impl Future<Output = Result<Vec<f32>>>;

    /// Tensors one after the other along `dim`: there is one at least, and they differ in no other dimension.
    fn cat(tensors: Vec<FloatTensor<Self>>, dim: usize) -> FloatTensor<Self>;

    /// Part of a tensor: a range within it for each dimension.
    fn slice(tensor: FloatTensor<Self>, ranges: &[Range<usize>]) -> FloatTensor<Self>;

    /// The sum of two tensors of one shape.
    fn add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The most bytes a buffer may have.
    fn max_binding() -> u64;

    /// Records a step, which is run for real once at least.
    fn record<T>(device: &Self::Device, step: impl FnMut() -> T) -> impl Future<Output = Result<Self::Recording<T>>>;

    /// Runs the step that was recorded once more.
    fn replay<T>(recording: &Self::Recording<T>, step: impl FnOnce() -> T) -> Result<()>;

    /// Launches of one replay.
    fn launches<T>(recording: &Self::Recording<T>) -> usize;

    /// Waits until everything launched so far has run.
    fn sync(device: &Self::Device) -> impl Future<Output = Result<()>>;

    /// Does `work`, which launches and waits, so that what the device refuses of it is its error.
    fn validated<T>(device: &Self::Device, work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>>;
}

/// A device that is ready: Burn's handle of it, and what is known of the adapter behind it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub device: Device,
    pub adapter: Adapter,
}

/// What a device is and what kernels may use of it.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Name the driver gives; a browser may leave it empty or give the architecture only.
    pub name: String,
    /// Graphics API below: `vulkan`, `metal`, `dx12`, `gl`, or `webgpu` in a browser.
    pub backend: String,
    /// Whether the adapter is a CPU (SwiftShader, lavapipe), where other shapes of kernels are fast.
    pub software: bool,
    /// The largest buffer a shader can bind, in bytes.
    pub max_binding: u64,
    pub features: Features,
}

/// Sizes of what `subgroupMatrixMultiplyAccumulate` takes: `[m, k]` times `[k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupMatrix {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    /// Invocations of a subgroup.
    pub lanes: u32,
}

/// What WGSL may use on an adapter beyond the standard's core, and what it lacks, as far as kernels have variants for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Operations between the invocations of a subgroup.
    pub subgroups: bool,
    /// 16-bit floats in arithmetic and in workgroup memory.
    pub f16: bool,
    /// `dot4I8Packed`: products of four signed bytes in one instruction.
    pub packed_dot: bool,
    /// More storage buffers for a shader than the eight that WebGPU promises.
    pub many_bindings: bool,
    /// Products of f16 matrices, summed in f32, by subgroups that all have one size.
    pub subgroup_matrix: Option<SubgroupMatrix>,
    /// No more than 64 registers an invocation, as on Arm's GPUs: what needs more would lie in memory.
    pub few_registers: bool,
}
