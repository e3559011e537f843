//! Where operations run. A kind of device is a backend of Burn's with the operations ([`LlavaOps`](crate::kernels::LlavaOps)) and
//! with what they need beside tensors ([`Runtime`]): memory that is changed in place, reading back, waiting, steps that run again
//! and again. A build has the kinds that its features name, one at least. A kind has a row in each list here: nothing else names
//! it but its own folders, the list of its operations in `kernels/mod.rs`, and its feature.

#[cfg(feature = "cpu")]
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;

mod buffer;
mod host;
mod recording;
mod runtime;
pub mod tensors;

use burn::backend::DispatchDevice;
#[cfg(feature = "gpu")]
use burn::backend::{Cube, CubeDevice};
#[cfg(feature = "cpu")]
use burn::backend::{Flex, FlexDevice};
use burn::tensor::Device;

pub use host::{max_binding, read_floats, sync, validated};
pub use recording::record;
pub use runtime::{Adapter, Features, Opened, Runtime, SubgroupMatrix};

use crate::error::Result;

/// A device by its kind.
pub(crate) enum Kind {
    #[cfg(feature = "gpu")]
    Gpu(CubeDevice),
    #[cfg(feature = "cpu")]
    Cpu(FlexDevice),
}

/// 32-bit words on a device that live as long as a model does: weights, caches, the state of decoding. Operations and the host
/// change them in place, so that a recorded step finds its input where the step before left it. Not a tensor: copies of the
/// handle are the same memory, and no backend may put a copy in its place.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has some hundreds")]
pub enum Buffer {
    #[cfg(feature = "gpu")]
    Gpu(<Cube as Runtime>::Memory),
    #[cfg(feature = "cpu")]
    Cpu(<Flex as Runtime>::Memory),
}

/// A step that runs again and again on what it changes in place.
pub enum Recorded<T> {
    #[cfg(feature = "gpu")]
    Gpu(<Cube as Runtime>::Recording<T>),
    #[cfg(feature = "cpu")]
    Cpu(<Flex as Runtime>::Recording<T>),
}

#[cfg(feature = "gpu")]
impl From<<Cube as Runtime>::Memory> for Buffer {
    fn from(memory: <Cube as Runtime>::Memory) -> Self {
        Self::Gpu(memory)
    }
}

#[cfg(feature = "cpu")]
impl From<<Flex as Runtime>::Memory> for Buffer {
    fn from(memory: <Flex as Runtime>::Memory) -> Self {
        Self::Cpu(memory)
    }
}

#[cfg(feature = "gpu")]
impl<T> From<<Cube as Runtime>::Recording<T>> for Recorded<T> {
    fn from(recording: <Cube as Runtime>::Recording<T>) -> Self {
        Self::Gpu(recording)
    }
}

#[cfg(feature = "cpu")]
impl<T> From<<Flex as Runtime>::Recording<T>> for Recorded<T> {
    fn from(recording: <Flex as Runtime>::Recording<T>) -> Self {
        Self::Cpu(recording)
    }
}

/// `$body` for the kind of `$value`, which is a [`Kind`], [`Buffer`] or [`Recorded`]: `$B` is its backend, `$inner` what is in it.
macro_rules! each_kind {
    ($type:ident, $value:expr, |$B:ident, $inner:pat_param| $body:expr) => {
        match $value {
            #[cfg(feature = "gpu")]
            $crate::device::$type::Gpu($inner) => {
                type $B = burn::backend::Cube;
                $body
            }
            #[cfg(feature = "cpu")]
            $crate::device::$type::Cpu($inner) => {
                type $B = burn::backend::Flex;
                $body
            }
        }
    };
}
pub(crate) use each_kind;

/// The kind of `device`.
///
/// # Panics
/// On a backend of a dependent's Burn that has no operations of ours.
pub(crate) fn kind(device: &Device) -> Kind {
    match device.as_dispatch() {
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(device) => Kind::Gpu(device.clone()),
        #[cfg(feature = "cpu")]
        DispatchDevice::Flex(device) => Kind::Cpu(*device),
        #[allow(unreachable_patterns, reason = "not with a dependent's features of Burn")]
        _ => panic!("llava-web runs on the devices that it opens only"),
    }
}

/// Opens the GPU; the first call does it, later calls return the same one.
///
/// # Errors
/// [`Error::Gpu`](crate::Error::Gpu) where there is no adapter or it refuses a device.
#[cfg(feature = "gpu")]
pub async fn open() -> Result<Opened> {
    Cube::open().await
}

/// Opens the CPU, in a build for it alone.
///
/// # Errors
/// None.
#[cfg(not(feature = "gpu"))]
pub async fn open() -> Result<Opened> {
    open_cpu().await
}

/// Opens the CPU, which is always there.
///
/// # Errors
/// None.
#[cfg(feature = "cpu")]
pub async fn open_cpu() -> Result<Opened> {
    Flex::open().await
}

/// Opens the GPU where there is a real one, else the CPU, as a page does.
///
/// # Errors
/// None.
#[cfg(all(feature = "gpu", feature = "cpu"))]
pub async fn open_auto() -> Result<Opened> {
    match open().await {
        Ok(gpu) if !gpu.adapter.software => Ok(gpu),
        _ => open_cpu().await,
    }
}
