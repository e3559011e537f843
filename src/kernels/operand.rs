//! Tensors that an operation may go without.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::Tensor;

/// A tensor an operation may go without; `Option`, in the form `backend_extension` carries across backends.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    Present(FloatTensor<B>),
    Absent,
}

impl<B: Backend> Operand<B> {
    pub(super) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Operand::Present(tensor) => Some(tensor),
            Operand::Absent => None,
        }
    }
}

impl Operand<Dispatch> {
    pub(super) fn of<const D: usize>(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Operand::Absent, |tensor| Operand::Present(tensor.into_dispatch()))
    }
}
