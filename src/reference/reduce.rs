//! Reductions along axes, and what is normalized along them.

use crate::error::{Error, Result};
use crate::graph::ReduceOp;
use crate::tensor::Tensor;

fn todo<T>(op: &'static str) -> Result<T> {
    Err(Error::Argument { op, detail: "not there yet".into() })
}

/// Over `axes`, sorted.
pub fn reduce(op: ReduceOp, _x: &Tensor, _axes: &[usize], _keep: bool) -> Result<Tensor> {
    todo(op.name())
}

/// The index of the largest or smallest, as I64.
pub fn arg_reduce(_x: &Tensor, _axis: usize, _keep: bool, _max: bool, _last: bool) -> Result<Tensor> {
    todo("arg_reduce")
}

/// Sums up to each element.
pub fn cumulative_sum(_x: &Tensor, _axis: usize, _exclusive: bool, _reverse: bool) -> Result<Tensor> {
    todo("cumsum")
}

/// Softmax or its logarithm.
pub fn softmax(_x: &Tensor, _axis: usize, _log: bool) -> Result<Tensor> {
    todo("softmax")
}

/// Layer or RMS normalization over `axis` and all after it.
pub fn layer_norm(
    _x: &Tensor,
    _scale: Option<&Tensor>,
    _bias: Option<&Tensor>,
    _axis: usize,
    _epsilon: f32,
    _rms: bool,
) -> Result<Tensor> {
    todo("layer_norm")
}

/// Normalization over groups of channels.
pub fn group_norm(
    _x: &Tensor,
    _scale: &Tensor,
    _bias: &Tensor,
    _groups: usize,
    _epsilon: f32,
) -> Result<Tensor> {
    todo("group_norm")
}
