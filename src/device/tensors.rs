//! What is done with tensors beside the operations of this crate. It goes straight to the device: Burn's own `Tensor` asks first
//! which kind of numbers it has, and with the quantized ones half a megabyte of operations would come into the wasm.

use std::ops::Range;

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::runtime::Runtime;
use super::{each_kind, kind};

/// A tensor of these numbers.
///
/// # Panics
/// If there are more or fewer than `shape` has.
pub fn floats<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let data = TensorData::new(values, shape);
    each_kind!(Kind, kind(device), |B, device| Tensor::from_primitive::<B>(B::float_from_data(data, &device)))
}

/// A tensor of token ids.
pub fn ids(ids: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let len = ids.len();
    let data = TensorData::new(ids, [len]);
    each_kind!(Kind, kind(device), |B, device| Tensor::from_primitive::<B>(B::int_from_data(data, &device)))
}

/// Tensors one after the other along `dim`.
///
/// # Panics
/// If there is none, or they differ in another dimension.
pub fn cat<const D: usize>(mut tensors: Vec<Tensor<D>>, dim: usize) -> Tensor<D> {
    if tensors.len() == 1 {
        return tensors.remove(0);
    }
    each_kind!(Kind, kind(&tensors[0].device()), |B, _| {
        Tensor::from_primitive::<B>(B::cat(tensors.into_iter().map(primitive::<B, D>).collect(), dim))
    })
}

/// Part of a tensor, a range in each dimension.
///
/// # Panics
/// If it is not within the tensor.
pub fn slice<const D: usize>(tensor: Tensor<D>, ranges: [Range<usize>; D]) -> Tensor<D> {
    let within = ranges.iter().zip(tensor.dims()).all(|(range, len)| range.start <= range.end && range.end <= len);
    assert!(within, "slice {ranges:?} of a tensor {:?}", tensor.dims());
    each_kind!(Kind, kind(&tensor.device()), |B, _| {
        Tensor::from_primitive::<B>(B::slice(primitive::<B, D>(tensor), &ranges))
    })
}

/// The sum of two tensors of one shape.
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    assert_eq!(a.dims(), b.dims(), "shapes of what is added");
    each_kind!(Kind, kind(&a.device()), |B, _| {
        Tensor::from_primitive::<B>(B::add(primitive::<B, D>(a), primitive::<B, D>(b)))
    })
}

/// The backend's own form of a tensor.
pub(super) fn primitive<B: Backend, const D: usize>(tensor: Tensor<D>) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    tensor.try_into_primitive::<B>().expect("a tensor of this device")
}
