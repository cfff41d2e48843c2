//! Any op of a model on host tensors, for folding constants and for tests.

use super::{
    arg_reduce, binary, cast, concat, cumulative_sum, expand, gather, group_norm, layer_norm, pad, reduce,
    resize, select, slice, softmax, tile, unary,
};
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::tensor::{Element, Tensor};

/// What an op makes of tensors in the model's (ONNX's) layout, where it is one of those that move or compute on single
/// elements, rows or axes; `None` for products, pools and quantization, which have functions of their own here, and for
/// what changes the shape alone. `element` is the output's, which matters to a Cast.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Argument`] where the tensors do not fit.
pub fn evaluate(op: &Op, inputs: &[Option<&Tensor>], element: Element) -> Result<Option<Tensor>> {
    let input = |i: usize| {
        let found = inputs.get(i).copied().flatten();
        found.ok_or_else(|| Error::Argument { op: "evaluate", detail: format!("input {i} is missing") })
    };
    let optional = |i: usize| inputs.get(i).copied().flatten();
    let x = input(0)?;
    Ok(Some(match op {
        Op::Unary(f) => unary(*f, x)?,
        Op::Binary(f) => binary(*f, x, input(1)?)?,
        Op::Where => select(x, input(1)?, input(2)?)?,
        Op::Cast => cast(x, element)?,
        Op::Reduce { op, axes, keep } => reduce(*op, x, axes, *keep)?,
        Op::ArgReduce { max, axis, keep, last } => arg_reduce(x, *axis, *keep, *max, *last)?,
        Op::CumSum { axis, exclusive, reverse } => cumulative_sum(x, *axis, *exclusive, *reverse)?,
        Op::Softmax { axis, log } => softmax(x, *axis, *log)?,
        Op::LayerNorm { axis, epsilon, rms } => {
            layer_norm(x, optional(1), optional(2), *axis, *epsilon, *rms)?
        }
        Op::GroupNorm { groups, epsilon } => group_norm(x, input(1)?, input(2)?, *groups, *epsilon)?,
        Op::Gather { axis } => gather(x, input(1)?, *axis)?,
        Op::Concat { axis } => {
            let all = (0..inputs.len()).map(input).collect::<Result<Vec<_>>>()?;
            concat(&all, *axis)?
        }
        Op::Slice { axes } => slice(x, axes)?,
        Op::Pad { begin, end, mode } => pad(x, begin, end, *mode)?,
        Op::Expand { shape } => expand(x, shape)?,
        Op::Tile { repeats } => tile(x, repeats)?,
        Op::Resize(geometry) => resize(x, geometry)?,
        Op::Transpose { order } => x.permuted(order)?,
        _ => return Ok(None),
    }))
}
