//! Copies of elements to other places.

use crate::error::{Error, Result};
use crate::graph::{PadMode, Resize, SliceAxis};
use crate::tensor::Tensor;

fn todo<T>(op: &'static str) -> Result<T> {
    Err(Error::Argument { op, detail: "not there yet".into() })
}

/// ONNX's Gather.
pub fn gather(_x: &Tensor, _indices: &Tensor, _axis: usize) -> Result<Tensor> {
    todo("gather")
}

/// One after the other along an axis.
pub fn concat(_all: &[&Tensor], _axis: usize) -> Result<Tensor> {
    todo("concat")
}

/// A part of some axes.
pub fn slice(_x: &Tensor, _axes: &[SliceAxis]) -> Result<Tensor> {
    todo("slice")
}

/// More or less around each dimension.
pub fn pad(_x: &Tensor, _begin: &[i64], _end: &[i64], _mode: PadMode) -> Result<Tensor> {
    todo("pad")
}

/// Broadcast to what both shapes make.
pub fn expand(_x: &Tensor, _shape: &[usize]) -> Result<Tensor> {
    todo("expand")
}

/// Repeated along each dimension.
pub fn tile(_x: &Tensor, _repeats: &[usize]) -> Result<Tensor> {
    todo("tile")
}

/// ONNX's Resize.
pub fn resize(_x: &Tensor, _geometry: &Resize) -> Result<Tensor> {
    todo("resize")
}
