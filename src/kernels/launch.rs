//! The only file that touches CubeCL and Burn's backend internals: composing a shader, launching it, host access to GPU
//! buffers, and recording a chain of launches to replay it.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use burn::backend::wgpu::{CubeTensor, KernelSource, SourceKernel, SourceTemplate};
use burn::backend::{Backend, BackendGraph, Cube, CubeDevice, DType, Dispatch, DispatchDevice};
use burn::tensor::{Device, Int, Tensor};
use cubecl::bytes::Bytes;
use cubecl::client::Client;
use cubecl::ir::settings::Dim3;
use cubecl::prelude::{CubeCount, CubeDim, ExecutionMode, KernelId};
use cubecl::server::{KernelArguments, MetadataBindingInfo};
use cubecl::wgpu::wgpu;

use crate::error::{Error, Result};

/// A tensor of the GPU backend: a buffer, its shape and the client of its device.
pub(crate) type GpuTensor = CubeTensor;

/// Invocations in a workgroup, in every shader; also written in their `@workgroup_size`.
pub(crate) const WORKGROUP: usize = 64;

/// The most workgroups WebGPU dispatches along one axis; more of them continue along y (`shared/flat_index.wgsl`).
const MAX_WORKGROUPS: usize = 65535;

/// One variant of a shader: its text and everything that is baked into it.
#[derive(Clone, Debug)]
pub struct Shader {
    /// Basename of the file in `shaders/`, which is also the name of the operation.
    pub name: &'static str,
    /// The text of that file.
    pub text: &'static str,
    /// Constants put before the text as `const NAME: u32`, which `#if NAME` also tests for being non-zero.
    pub constants: Vec<(&'static str, u32)>,
    /// Fields of the uniform `dims`, in the order of the words a launch passes: `u32` unless written as `name: f32`.
    pub dims: &'static [&'static str],
}

impl Shader {
    /// The complete WGSL module. `#import name` stands for `shaders/shared/name.wgsl`; `#if NAME`, `#else` and `#endif`
    /// select lines by a constant; `#repeat i COUNT` to `#end` writes its lines COUNT times with the number for `$i` (a
    /// driver may keep a loop's array in memory, but not named variables), also one inside another; the uniform `dims`
    /// is bound after the storage buffers. The constants SUBGROUPS and F16_TILES enable the extensions they need.
    ///
    /// # Panics
    /// On an unknown import or constant: a mistake in a shader, which the tests find.
    pub fn source(&self) -> String {
        let mut body = String::new();
        self.expand(self.text, &mut body);
        let mut source = format!("// {}\n", self.name);
        // naga has subgroups but does not know the lines that enable them. What four neighbouring invocations do alike
        // may depend on a buffer (the position), which browsers would not believe.
        if cfg!(target_family = "wasm") && self.constants.contains(&("SUBGROUPS", 1)) {
            source.push_str("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
        }
        if self.constants.contains(&("F16_TILES", 1)) {
            source.push_str("enable f16;\n");
        }
        for (name, value) in &self.constants {
            source.push_str(&format!("const {name}: u32 = {value}u;\n"));
        }
        let fields: Vec<String> = self
            .dims
            .iter()
            .map(|field| if field.contains(':') { field.to_string() } else { format!("{field}: u32") })
            .collect();
        let binding = body.matches("var<storage").count();
        source.push_str(&format!("struct Dims {{ {} }}\n", fields.join(", ")));
        source.push_str(&format!("@group(0) @binding({binding}) var<uniform> dims: Dims;\n"));
        source + &body
    }

    fn expand(&self, text: &str, out: &mut String) {
        let mut taken: Vec<bool> = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("#if") => taken.push(self.constant(words.next().unwrap_or_default()) != 0),
                Some("#else") => {
                    let last = taken.last_mut().expect("#else without #if");
                    *last = !*last;
                }
                Some("#endif") => drop(taken.pop().expect("#endif without #if")),
                _ if taken.contains(&false) => {}
                Some("#import") => self.expand(shared(words.next().unwrap_or_default()), out),
                Some("#repeat") => {
                    let number = format!("${}", words.next().expect("a name after #repeat"));
                    let count = words.next().expect("a count after #repeat");
                    let count = count.parse().unwrap_or_else(|_| self.constant(count));
                    let mut depth = 1;
                    let inside = |line: &&str| {
                        let first = line.split_whitespace().next();
                        depth += (first == Some("#repeat")) as i32 - (first == Some("#end")) as i32;
                        depth > 0
                    };
                    let body: Vec<&str> = lines.by_ref().take_while(inside).collect();
                    for i in 0..count {
                        self.expand(&body.join("\n").replace(&number, &i.to_string()), out);
                    }
                }
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        assert!(taken.is_empty(), "{}: #if without #endif", self.name);
    }

    fn constant(&self, name: &str) -> u32 {
        let found = self.constants.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("{}: unknown constant `{name}`", self.name)).1
    }
}

/// The text of `shaders/shared/<name>.wgsl`.
fn shared(name: &str) -> &'static str {
    match name {
        "activation" => include_str!("../../shaders/shared/activation.wgsl"),
        "attention_quads" => include_str!("../../shaders/shared/attention_quads.wgsl"),
        "attention_split" => include_str!("../../shaders/shared/attention_split.wgsl"),
        "attention_words" => include_str!("../../shaders/shared/attention_words.wgsl"),
        "epilogue" => include_str!("../../shaders/shared/epilogue.wgsl"),
        "epilogue_rope_cache" => include_str!("../../shaders/shared/epilogue_rope_cache.wgsl"),
        "epilogue_gated" => include_str!("../../shaders/shared/epilogue_gated.wgsl"),
        "epilogue_sum" => include_str!("../../shaders/shared/epilogue_sum.wgsl"),
        "flat_index" => include_str!("../../shaders/shared/flat_index.wgsl"),
        "rows" => include_str!("../../shaders/shared/rows.wgsl"),
        "weight" => include_str!("../../shaders/shared/weight.wgsl"),
        "weight_f16" => include_str!("../../shaders/shared/weight_f16.wgsl"),
        "weight_f32" => include_str!("../../shaders/shared/weight_f32.wgsl"),
        "weight_q4" => include_str!("../../shaders/shared/weight_q4.wgsl"),
        "weight_q8" => include_str!("../../shaders/shared/weight_q8.wgsl"),
        _ => panic!("unknown shader import `{name}`"),
    }
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(Shader::source(self))
    }

    fn id(&self) -> KernelId {
        // Unchecked: our loops end by themselves and every access is guarded in the shader, so naga need not add
        // either.
        KernelId::new::<Self>()
            .info((self.name, self.constants.clone()))
            .cube_dim(Dim3::new_1d(WORKGROUP as u32))
            .mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

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

thread_local! {
    /// Launches this thread has enqueued so far.
    static LAUNCHES: Cell<usize> = const { Cell::new(0) };
}

/// [`launch`] for shaders that belong to no operation of this crate: benches measure the adapter itself with them.
pub fn launch_words(shader: Shader, buffers: &[&Tensor<1, Int>], dims: &[u32], workgroups: usize) {
    let buffers: Vec<GpuTensor> = buffers.iter().map(|buffer| primitive(buffer)).collect();
    launch(shader, &buffers.iter().collect::<Vec<_>>(), dims, workgroups);
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

/// What WGSL may use on an adapter beyond the standard's core, as far as kernels have variants for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Operations between the invocations of a subgroup.
    pub subgroups: bool,
    /// 16-bit floats in arithmetic and in workgroup memory.
    pub f16: bool,
    /// `dot4I8Packed`: products of four signed bytes in one instruction.
    pub packed_dot: bool,
}

/// Which adapter the kernels run on.
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

/// The GPU: Burn's device and what is known of the adapter behind it.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub device: Device,
    pub adapter: Adapter,
    /// The device below Burn's, asked for what it refuses.
    #[cfg(target_family = "wasm")]
    raw: wgpu::Device,
}

static GPU: OnceLock<Gpu> = OnceLock::new();

/// Opens the GPU; the first call does it, later calls return the same one.
///
/// # Errors
/// [`Error::Gpu`] where there is no adapter or it refuses a device.
pub async fn init_device() -> Result<Gpu> {
    if let Some(gpu) = GPU.get() {
        return Ok(gpu.clone());
    }
    #[cfg(target_family = "wasm")]
    web_features::request_subgroups();
    let opened = Device::wgpu_options().init_with_setup_async().await;
    let (device, setup) = match opened {
        Ok(opened) => opened,
        // Someone else opened it while this call waited.
        Err(error) => {
            return GPU.get().cloned().ok_or_else(|| {
                Error::Gpu(format!("no usable WebGPU adapter: {error}. Update the browser or the graphics driver"))
            });
        }
    };
    let info = setup.adapter.get_info();
    let description = format!("{} {}", info.name, info.driver).to_lowercase();
    let software = format!("{:?}", info.device_type) == "Cpu"
        || ["swiftshader", "llvmpipe", "lavapipe"].iter().any(|known| description.contains(known));
    let features = features(&setup.device);
    let limits = setup.device.limits();
    let max_binding = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    let adapter = Adapter { name: info.name, backend: info.backend.to_string(), software, max_binding, features };
    let gpu = Gpu {
        device,
        adapter,
        #[cfg(target_family = "wasm")]
        raw: setup.device,
    };
    Ok(GPU.get_or_init(|| gpu).clone())
}

#[cfg(not(target_family = "wasm"))]
fn features(device: &wgpu::Device) -> Features {
    let has = |feature| device.features().contains(feature);
    // naga writes `dot4I8Packed` out where the driver has no instruction for it.
    Features { subgroups: has(wgpu::Features::SUBGROUP), f16: has(wgpu::Features::SHADER_F16), packed_dot: true }
}

#[cfg(target_family = "wasm")]
fn features(device: &wgpu::Device) -> Features {
    Features {
        subgroups: web_features::has_subgroups(),
        f16: device.features().contains(wgpu::Features::SHADER_F16),
        packed_dot: web_features::has_packed_dot(),
    }
}

/// Features of browsers that wgpu does not know.
#[cfg(target_family = "wasm")]
mod web_features {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "/src/kernels/web_features.js")]
    extern "C" {
        /// Makes the device requested next ask for subgroups where the adapter has them.
        pub fn request_subgroups();
        /// Whether that device has them.
        pub fn has_subgroups() -> bool;
        /// Whether the browser's WGSL has `dot4I8Packed`.
        pub fn has_packed_dot() -> bool;
    }
}

/// Whether the kernels run on a CPU adapter; false before [`init_device`].
pub(crate) fn software_adapter() -> bool {
    GPU.get().is_some_and(|gpu| gpu.adapter.software)
}

/// The most bytes a buffer of this GPU may have; no limit before [`init_device`].
pub fn max_binding() -> u64 {
    GPU.get().map_or(u64::MAX, |gpu| gpu.adapter.max_binding)
}

/// What kernels may use; nothing before [`init_device`].
pub fn adapter_features() -> Features {
    GPU.get().map(|gpu| gpu.adapter.features).unwrap_or_default()
}

/// The CubeCL device behind Burn's.
///
/// # Panics
/// On another kind of backend; the crate is built with this one only.
fn cube_device(device: &Device) -> CubeDevice {
    #[allow(irrefutable_let_patterns, reason = "the only variant with this crate's features, not with a dependent's")]
    let DispatchDevice::Cube(device) = device.as_dispatch() else { panic!("llava-web runs on WebGPU devices only") };
    device.clone()
}

/// A buffer of exactly `shape` that lives as long as the model, filled with `bytes` if there are any.
fn persistent<const D: usize>(device: &Device, shape: [usize; D], dtype: DType, bytes: Option<Vec<u8>>) -> GpuTensor {
    let device = cube_device(device);
    let client = device.client();
    let size = shape.iter().product::<usize>() * dtype.size();
    let handle = client.memory_persistent_allocation(bytes, |bytes| match bytes {
        Some(bytes) => client.create(Bytes::from_bytes_vec(bytes)),
        None => client.empty(size),
    });
    GpuTensor::new_contiguous(client.clone(), device, shape.into(), handle, dtype)
}

/// Uploads `bytes` as 32-bit words, padded with zeros to whole 16 bytes, into a buffer of exactly that size.
pub fn upload(mut bytes: Vec<u8>, device: &Device) -> Tensor<1, Int> {
    bytes.resize(bytes.len().next_multiple_of(16).max(16), 0);
    let words = bytes.len() / 4;
    Tensor::from_primitive::<Cube>(persistent(device, [words], DType::U32, Some(bytes)))
}

/// An uninitialised f32 buffer for the life of the model, `[rows, cols]`.
pub fn persistent_rows(rows: usize, cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_primitive::<Cube>(persistent(device, [rows, cols], DType::F32, None))
}

/// `len` zeroed words for the life of the model: a buffer that kernels change in place.
pub fn persistent_words(len: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_primitive::<Cube>(persistent(device, [len], DType::U32, Some(vec![0; len * 4])))
}

/// Overwrites the first `words.len()` words of `buffer`, in place, after everything launched before.
///
/// # Panics
/// If the buffer is shorter.
pub fn write_words(buffer: &Tensor<1, Int>, words: &[u32]) {
    let tensor = primitive(buffer);
    assert!(words.len() <= tensor.meta.num_elements(), "write of {} words into a shorter buffer", words.len());
    let rest = tensor.handle.size_in_used() - words.len() as u64 * 4;
    let handle = tensor.handle.clone().offset_end(rest);
    tensor.client.write(&handle, Bytes::from_elems(words.to_vec()));
}

/// Reads words back as all launches up to this call leave them; what is launched between the call and the end of the
/// wait runs meanwhile.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost or a launch before failed.
pub fn read_words(buffer: &Tensor<1, Int>) -> impl Future<Output = Result<Vec<u32>>> + use<> {
    let tensor = primitive(buffer);
    read(tensor.client.clone(), tensor)
}

/// Reads floats back; a device synchronisation.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost or a launch before failed.
pub async fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let tensor = contiguous(tensor.try_into_primitive::<Cube>().expect("a tensor of the only backend"));
    read(tensor.client.clone(), tensor).await
}

/// The copy is queued by the call itself. CubeCL's future borrows the client, which therefore moves into one of ours, and
/// that is polled once here.
fn read<T: bytemuck::Pod>(client: Client, tensor: GpuTensor) -> impl Future<Output = Result<Vec<T>>> {
    let elements = tensor.meta.num_elements();
    let mut reading = Reading(Some(Box::pin(async move {
        let mut bytes = client.read_async(vec![tensor.handle.clone()]).await.map_err(gpu_error)?;
        Ok(bytes.remove(0))
    })));
    let first = Pin::new(&mut reading).poll(&mut Context::from_waker(Waker::noop()));
    let unfinished = std::mem::take(&mut *UNFINISHED.lock().expect("nothing panics with the lock held"));
    async move {
        for reading in unfinished {
            // What it read, or why it could not, concerns nobody any more.
            drop(reading.await);
        }
        let bytes = match first {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => reading.await,
        }?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[..elements * 4]))
    }
}

/// A read-back under way. CubeCL would use its staging buffer again as soon as it is dropped, even while that is being
/// mapped; one that is dropped early is therefore kept, and the next read-back ends it.
struct Reading(Option<Pin<Box<dyn Future<Output = Result<Bytes>> + Send>>>);

static UNFINISHED: Mutex<Vec<Reading>> = Mutex::new(Vec::new());

impl Future for Reading {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reading = self.0.as_mut().expect("polled after its end");
        let read = ready!(reading.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(read)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(reading) = self.0.take() {
            UNFINISHED.lock().expect("nothing panics with the lock held").push(Reading(Some(reading)));
        }
    }
}

fn primitive(tensor: &Tensor<1, Int>) -> GpuTensor {
    tensor.clone().try_into_primitive::<Cube>().expect("a tensor of the only backend")
}

fn gpu_error(error: impl std::fmt::Display) -> Error {
    Error::Gpu(error.to_string())
}

/// Waits until everything launched so far has run.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost.
pub async fn sync(device: &Device) -> Result<()> {
    cube_device(device).client().sync().await.map_err(gpu_error)
}

/// Does `work`, which launches and waits, so that what the device refuses of it (a shader, a pipeline, a launch) is its error.
/// Nothing else may use the device meanwhile.
///
/// Natively CubeCL asks the device after each pipeline, and the read-back of what a refused launch was to write fails. A
/// browser answers later, when CubeCL has gone on; what nobody asks about ends the program there.
///
/// # Errors
/// [`Error::Gpu`] with what the device says, or the error of `work`.
#[cfg(target_family = "wasm")]
pub async fn validated<T>(gpu: &Gpu, work: impl Future<Output = Result<T>>) -> Result<T> {
    // What was launched before must not be in one command buffer with a launch that is refused.
    sync(&gpu.device).await?;
    // Should this be dropped half-way, they end in the reverse order too, as they must.
    let validation = gpu.raw.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = gpu.raw.push_error_scope(wgpu::ErrorFilter::Internal);
    let done = work.await;
    let synced = sync(&gpu.device).await;
    // Both at once: only the answers take time.
    let (internal, validation) = (internal.pop(), validation.pop());
    if let Some(error) = internal.await.or(validation.await) {
        return Err(gpu_error(error));
    }
    synced?;
    done
}

/// As in a browser.
///
/// # Errors
/// That of `work`.
#[cfg(not(target_family = "wasm"))]
pub async fn validated<T>(_: &Gpu, work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}

/// A chain of launches recorded once, with its bind groups and pipelines, to be enqueued again at a fraction of the
/// cost.
pub struct Recorded<T> {
    device: Device,
    graph: BackendGraph<Dispatch>,
    /// What the step returned while it was recorded: each replay writes these same buffers.
    pub output: T,
    /// Launches of one replay.
    pub launches: usize,
}

/// Runs of the step before the recording: pools, pipelines and uniforms are all in place after the first, and the
/// second finds the buffers of the first free again, as a replay will.
const WARM_UP: usize = 2;

/// Records `step`. It is run for real a few times first, so the caller sets the buffers it changes in place
/// afterwards (`write_words`). Within it nothing may be read or written by the host; its inputs are buffers that live
/// on and are changed in place.
///
/// # Errors
/// [`Error::Gpu`] if the device was lost or the step cannot be recorded.
pub async fn record<T>(device: &Device, mut step: impl FnMut() -> T) -> Result<Recorded<T>> {
    let dispatch = device.as_dispatch();
    Dispatch::graph_prepare(dispatch).map_err(gpu_error)?;
    for _ in 0..WARM_UP {
        let output = step();
        let synced = sync(device).await;
        drop(output);
        if let Err(error) = synced {
            // Closes the window that was prepared; the error that matters is the one at hand.
            let _ = Dispatch::graph_stop_capture(dispatch);
            return Err(error);
        }
    }
    Dispatch::graph_start_capture(dispatch).map_err(gpu_error)?;
    let before = LAUNCHES.get();
    let output = step();
    let launches = LAUNCHES.get() - before;
    let graph = Dispatch::graph_stop_capture(dispatch).map_err(gpu_error)?;
    Ok(Recorded { device: device.clone(), graph, output, launches })
}

impl<T> Recorded<T> {
    /// Enqueues the recorded launches once more.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost.
    pub fn replay(&self) -> Result<()> {
        // SAFETY: the graph keeps the pages it touches from being reused, `output` keeps its results, and everything
        // else the step read belongs to its caller, who owns this recording beside it. Launches of one thread are
        // ordered.
        unsafe { Dispatch::graph_replay(self.device.as_dispatch(), &self.graph) }.map_err(gpu_error)
    }
}
