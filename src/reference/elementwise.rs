//! Operations on single elements.

use super::check_len;
use super::functions::unary;
use crate::error::{Error, Result};
use crate::graph::Activation;

/// The activation of one value. NaN is left to the device; here ReLU makes zero of it.
pub fn activation(x: f64, act: Activation) -> f64 {
    match act {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Clip { lo, hi } => x.max(lo.into()).min(hi.into()),
        Activation::Function(f) => unary(f, x),
    }
}

/// The activation of each value. All but functions round nothing.
pub fn activate(x: &[f32], act: Activation) -> Vec<f32> {
    x.iter().map(|&x| activation(x.into(), act) as f32).collect()
}

/// `act(a + b)` in f32, with the shapes broadcast as in ONNX (aligned at the innermost dimension; a dimension of 1
/// repeats). Returns the elements and their shape.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape, or two dimensions differ and neither is 1.
pub fn add(
    (a, a_shape): (&[f32], &[usize]),
    (b, b_shape): (&[f32], &[usize]),
    act: Activation,
) -> Result<(Vec<f32>, Vec<usize>)> {
    check_len("add", "a", a.len(), a_shape)?;
    check_len("add", "b", b.len(), b_shape)?;
    let rank = a_shape.len().max(b_shape.len());
    let dimension = |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d]);
    let mut shape = Vec::with_capacity(rank);
    for d in 0..rank {
        shape.push(match (dimension(a_shape, d), dimension(b_shape, d)) {
            (x, y) if x == y || y == 1 => x,
            (1, y) => y,
            (x, y) => {
                return Err(Error::Shape {
                    op: "add",
                    detail: format!("{a_shape:?} and {b_shape:?} do not broadcast: {x} and {y} differ"),
                });
            }
        });
    }
    // The operand's index, from the result's: repeated dimensions have no weight.
    let index = |operand: &[usize], mut i: usize| {
        let (mut at, mut step) = (0, 1);
        for d in (0..rank).rev() {
            let (length, own) = (shape[d], dimension(operand, d));
            at += if own == 1 { 0 } else { i % length * step };
            (i, step) = (i / length, step * own);
        }
        at
    };
    let sums = (0..shape.iter().product())
        .map(|i| activation((a[index(a_shape, i)] + b[index(b_shape, i)]).into(), act) as f32)
        .collect();
    Ok((sums, shape))
}
