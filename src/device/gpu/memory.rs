//! Memory that lives long, and reading it back.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};

use burn::backend::{CubeDevice, DType};
use cubecl::bytes::Bytes;
use cubecl::client::Client;

use super::gpu_error;
use super::launch::GpuTensor;
use crate::error::Result;

/// `words` words that live as long as the model, in a buffer of exactly that size, with `bytes` in them if there are any.
pub(super) fn allocate(device: &CubeDevice, words: usize, bytes: Option<Vec<u8>>) -> GpuTensor {
    let client = device.client();
    let handle = client.memory_persistent_allocation(bytes, |bytes| match bytes {
        Some(bytes) => client.create(Bytes::from_bytes_vec(bytes)),
        None => client.empty(words * 4),
    });
    GpuTensor::new_contiguous(client.clone(), device.clone(), [words].into(), handle, DType::U32)
}

/// The copy is queued by the call itself. CubeCL's future borrows the client, which therefore moves into one of ours, and
/// that is polled once here.
pub(super) fn read<T: bytemuck::Pod>(client: Client, tensor: GpuTensor) -> impl Future<Output = Result<Vec<T>>> {
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
