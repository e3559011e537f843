//! Tensors put together and taken apart, on slices: Flex does it for every type of number, whose loops would all come into the wasm.

use std::ops::Range;

use burn::tensor::TensorData;

use super::{CpuTensor, contiguous, floats};

/// Tensors one after the other along `dim`.
pub fn cat(tensors: Vec<CpuTensor>, dim: usize) -> CpuTensor {
    let mut shape = dims(&tensors[0]);
    let rows: usize = shape[..dim].iter().product();
    shape[dim] = tensors.iter().map(|tensor| dims(tensor)[dim]).sum();
    let tensors: Vec<_> = tensors.into_iter().map(contiguous).collect();
    let parts: Vec<_> = tensors.iter().map(|tensor| (floats(tensor), floats(tensor).len() / rows.max(1))).collect();
    let row = |row: usize| parts.iter().flat_map(move |(values, len)| &values[row * len..(row + 1) * len]);
    made((0..rows).flat_map(row).copied().collect(), shape)
}

/// Part of a tensor.
pub fn slice(tensor: CpuTensor, ranges: &[Range<usize>]) -> CpuTensor {
    let shape = dims(&tensor);
    let tensor = contiguous(tensor);
    let mut values = floats(&tensor).to_vec();
    // One dimension after the other: what is not within its range goes.
    for (dim, range) in ranges.iter().enumerate() {
        let inner: usize = shape[dim + 1..].iter().product();
        let rows = values.chunks((shape[dim] * inner).max(1)).map(|row| &row[range.start * inner..range.end * inner]);
        values = rows.collect::<Vec<_>>().concat();
    }
    made(values, ranges.iter().map(|range| range.len()).collect())
}

/// The sum of two tensors of one shape.
pub fn add(a: CpuTensor, b: CpuTensor) -> CpuTensor {
    let shape = dims(&a);
    let (a, b) = (contiguous(a), contiguous(b));
    made(floats(&a).iter().zip(floats(&b)).map(|(a, b)| a + b).collect(), shape)
}

fn dims(tensor: &CpuTensor) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

fn made(values: Vec<f32>, shape: Vec<usize>) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, shape))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use burn::backend::Flex;
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::Slice;

    use super::*;

    fn counted(shape: &[usize]) -> CpuTensor {
        made((0..shape.iter().product()).map(|i: usize| i as f32).collect(), shape.to_vec())
    }

    #[test]
    fn tensors_are_joined_and_cut_as_by_burn() {
        let same = |ours: CpuTensor, burns: CpuTensor| {
            let burns = contiguous(burns);
            assert_eq!((dims(&ours), floats(&ours)), (dims(&burns), floats(&burns)));
        };
        for (shapes, dim) in [
            (&[&[3][..], &[5]][..], 0),
            (&[&[2, 3], &[1, 3], &[4, 3]], 0),
            (&[&[2, 3], &[2, 1]], 1),
            (&[&[2, 3, 4], &[2, 1, 4]], 1),
        ] {
            let tensors: Vec<_> = shapes.iter().map(|shape| counted(shape)).collect();
            same(cat(tensors.clone(), dim), Flex::float_cat(tensors, dim));
        }
        for ranges in [from_ref(&(1..3)), &[0..1, 2..5], &[1..4, 0..5], &[2..2, 1..3], &[1..2, 1..3, 0..2]] {
            let tensor = counted(&[4, 5, 2][..ranges.len()]);
            let slices: Vec<_> = ranges.iter().cloned().map(Slice::from).collect();
            same(slice(tensor.clone(), ranges), Flex::float_slice(tensor, &slices));
        }
        let (a, b) = (counted(&[2, 3]), Flex::float_transpose(counted(&[3, 2])));
        same(add(a.clone(), b.clone()), Flex::float_add(a, b));
    }
}
