//! What is computed along axes.

use super::super::import::{At, Importer};
use super::{Numbers, as_target, axis, identity, is_float, name, numbers, rank, sorted_axes, step};
use crate::error::Result;
use crate::graph::{BinaryOp, Deferred, Op, ReduceOp, UnaryOp, ValueId};

fn reduction(op_type: &str) -> ReduceOp {
    match op_type {
        "ReduceSum" => ReduceOp::Sum,
        "ReduceMax" => ReduceOp::Max,
        "ReduceMin" => ReduceOp::Min,
        "ReduceProd" => ReduceOp::Prod,
        "ReduceL1" => ReduceOp::L1,
        "ReduceL2" => ReduceOp::L2,
        "ReduceSumSquare" => ReduceOp::SumSquare,
        "ReduceLogSum" => ReduceOp::LogSum,
        "ReduceLogSumExp" => ReduceOp::LogSumExp,
        _ => ReduceOp::Mean,
    }
}

/// Axes are an attribute before set 18 (ReduceSum: 13), and an input since.
pub(super) fn reduce(im: &mut Importer, at: &At) -> Result<ValueId> {
    let op = reduction(&at.node.op_type);
    let as_input = at.opset >= if op == ReduceOp::Sum { 13 } else { 18 };
    at.only(if as_input { &["keepdims", "noop_with_empty_axes"] } else { &["axes", "keepdims"] })?;
    let keep = at.int("keepdims", 1) != 0;
    let none_without_axes = at.int("noop_with_empty_axes", 0) != 0;
    let x = im.value(at, 0)?;
    let all = 0..rank(&im.model, x);
    let given = if as_input { numbers(im, at, 1)? } else { Numbers::Absent };
    let axes = match (given, at.ints("axes")) {
        (Numbers::Open(axes), _) => {
            let deferred = Deferred::Reduce { op, keep, none_without_axes };
            return im.emit(at, Op::Deferred(deferred), &[x, axes], at.output()?);
        }
        (Numbers::Known(axes), _) if !axes.is_empty() => sorted_axes(at, &axes, all.len())?,
        (Numbers::Absent, Some(axes)) if !axes.is_empty() => sorted_axes(at, axes, all.len())?,
        _ if none_without_axes => Vec::new(),
        _ => all.collect(),
    };
    if axes.is_empty() {
        return of_one(im, at, op, x);
    }
    im.emit(at, Op::Reduce { op, axes, keep }, &[x], at.output()?)
}

/// What a reduction makes of each element where there is no axis to reduce.
fn of_one(im: &mut Importer, at: &At, op: ReduceOp, x: ValueId) -> Result<ValueId> {
    let output = at.output()?;
    match op {
        ReduceOp::L1 | ReduceOp::L2 => im.emit(at, Op::Unary(UnaryOp::Abs), &[x], output),
        ReduceOp::SumSquare => im.emit(at, Op::Binary(BinaryOp::Mul), &[x, x], output),
        ReduceOp::LogSum => im.emit(at, Op::Unary(UnaryOp::Log), &[x], output),
        _ => identity(im, at),
    }
}

pub(super) fn arg_reduce(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis", "keepdims", "select_last_index"])?;
    let x = im.value(at, 0)?;
    let op = Op::ArgReduce {
        max: at.node.op_type == "ArgMax",
        axis: axis(at, at.int("axis", 0), rank(&im.model, x))?,
        keep: at.int("keepdims", 1) != 0,
        last: at.int("select_last_index", 0) != 0,
    };
    im.emit(at, op, &[x], at.output()?)
}

pub(super) fn cumulative_sum(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["exclusive", "reverse"])?;
    let (exclusive, reverse) = (at.int("exclusive", 0) != 0, at.int("reverse", 0) != 0);
    let x = im.value(at, 0)?;
    match numbers(im, at, 1)? {
        Numbers::Known(v) => match v.as_slice() {
            &[along] => {
                let axis = axis(at, along, rank(&im.model, x))?;
                im.emit(at, Op::CumSum { axis, exclusive, reverse }, &[x], at.output()?)
            }
            other => Err(at.fail(format!("its axis is {other:?}"))),
        },
        Numbers::Open(along) => {
            let op = Op::Deferred(Deferred::CumSum { exclusive, reverse });
            im.emit(at, op, &[x, along], at.output()?)
        }
        Numbers::Absent => Err(at.fail("its axis is missing")),
    }
}

/// Since set 13 along one axis; before, over an axis and all after it at once.
pub(super) fn softmax(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis"])?;
    let x = im.value(at, 0)?;
    if !is_float(&im.model, x) {
        return Err(at.fail(format!("of {:?} it is not supported", im.model.value(x).element)));
    }
    let n = rank(&im.model, x);
    let log = at.node.op_type == "LogSoftmax";
    if at.opset >= 13 {
        let axis = axis(at, at.int("axis", -1), n)?;
        return im.emit(at, Op::Softmax { axis, log }, &[x], at.output()?);
    }
    let axis = axis(at, at.int("axis", 1), n)?;
    if axis + 1 == n {
        return im.emit(at, Op::Softmax { axis, log }, &[x], at.output()?);
    }
    let flat = step(im, at, Op::Flatten { axis }, &[x], "flat")?;
    let soft = step(im, at, Op::Softmax { axis: 1, log }, &[flat], "soft")?;
    if let Some(target) = as_target(&im.model.value(x).shape) {
        return im.emit_reshape(&target, soft, at.output()?);
    }
    let shape_name = name(im, at, "shape")?;
    let shape = im.emit(at, Op::Deferred(Deferred::Shape { start: 0, end: None }), &[x], &shape_name)?;
    im.emit(at, Op::Deferred(Deferred::Reshape { allow_zero: true }), &[soft, shape], at.output()?)
}
