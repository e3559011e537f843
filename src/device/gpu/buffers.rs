//! What lies on the GPU for long, and what the host writes and reads of it.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};

use burn::backend::{Cube, CubeDevice, DType, DispatchDevice};
use burn::tensor::{Device, Int, Tensor};
use cubecl::bytes::Bytes;
use cubecl::client::Client;

use super::gpu_error;
use super::launch::{GpuTensor, contiguous};
use crate::error::Result;

/// The CubeCL device behind Burn's.
///
/// # Panics
/// On another kind of backend; the crate is built with this one only.
pub(super) fn cube_device(device: &Device) -> CubeDevice {
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

pub(super) fn primitive(tensor: &Tensor<1, Int>) -> GpuTensor {
    tensor.clone().try_into_primitive::<Cube>().expect("a tensor of the only backend")
}
