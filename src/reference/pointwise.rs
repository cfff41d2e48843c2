//! Functions of single elements and of pairs, broadcast.

use crate::error::{Error, Result};
use crate::graph::{BinaryOp, UnaryOp};
use crate::tensor::{Element, Tensor};

fn todo<T>(op: &'static str) -> Result<T> {
    Err(Error::Argument { op, detail: "not there yet".into() })
}

/// A function of each element.
pub fn unary(op: UnaryOp, _x: &Tensor) -> Result<Tensor> {
    todo(op.name())
}

/// A function of each pair.
pub fn binary(op: BinaryOp, _a: &Tensor, _b: &Tensor) -> Result<Tensor> {
    todo(op.name())
}

/// ONNX's Where.
pub fn select(_condition: &Tensor, _a: &Tensor, _b: &Tensor) -> Result<Tensor> {
    todo("where")
}

/// ONNX's Cast.
pub fn cast(_x: &Tensor, _element: Element) -> Result<Tensor> {
    todo("cast")
}
