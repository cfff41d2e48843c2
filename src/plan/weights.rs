//! Constants of a model as the kernels want them.

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// A tensor with its dimensions in another order: `order[i]` is the old place of the new dimension `i`.
pub(super) fn permuted(tensor: &Tensor, order: &[usize]) -> Result<Tensor> {
    let old = tensor.shape();
    let mut strides = vec![1; old.len()];
    for i in (0..old.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * old[i + 1];
    }
    let shape: Vec<usize> = order.iter().map(|&i| old[i]).collect();
    let steps: Vec<usize> = order.iter().map(|&i| strides[i]).collect();
    let index = |mut i: usize| {
        let mut at = 0;
        for (&len, &step) in shape.iter().zip(&steps).rev() {
            at += i % len * step;
            i /= len;
        }
        at
    };
    let order = (0..tensor.len()).map(index);
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(order.map(|i| v[i]).collect()),
        Data::F16(v) => Data::F16(order.map(|i| v[i]).collect()),
        Data::I8(v) => Data::I8(order.map(|i| v[i]).collect()),
        Data::I32(v) => Data::I32(order.map(|i| v[i]).collect()),
        _ => {
            return Err(Error::Element {
                op: "plan",
                got: tensor.element(),
                expected: "F32, F16, I8 or I32 for a weight",
            });
        }
    };
    Tensor::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_transposed() {
        let t = Tensor::f32([2, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let p = permuted(&t, &[1, 0]).unwrap();
        assert_eq!(p.shape(), [3, 2]);
        assert_eq!(p.as_f32().unwrap(), [1., 4., 2., 5., 3., 6.]);
    }
}
