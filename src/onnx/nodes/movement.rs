//! What moves elements and computes nothing.

use super::super::import::{At, Importer};
use super::{Numbers, axis, longs, name, numbers, rank, scalar, sorted_axes};
use crate::error::Result;
use crate::graph::{Deferred, Dim, Op, PadMode, Quant, SliceAxis, ValueId};
use crate::tensor::{Data, Element, Tensor};

pub(super) fn flatten(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis"])?;
    let x = im.value(at, 0)?;
    let (axis, rank) = (at.int("axis", 1), rank(&im.model, x));
    let from_end = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis = from_end.and_then(|a| usize::try_from(a).ok());
    let axis = axis.ok_or_else(|| at.fail(format!("axis {} of {rank} dimensions", at.int("axis", 1))))?;
    im.emit(at, Op::Flatten { axis }, &[x], at.output()?)
}

/// A shape that is in the file is the op's own.
pub(super) fn reshape(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["allowzero"])?;
    let x = im.value(at, 0)?;
    let allow_zero = at.int("allowzero", 0) != 0;
    match numbers(im, at, 1)? {
        Numbers::Absent => Err(at.fail("its shape is missing")),
        Numbers::Known(target) if !(allow_zero && target.contains(&0)) => {
            im.emit(at, Op::Reshape { target }, &[x], at.output()?)
        }
        _ => {
            let shape = im.value(at, 1)?;
            im.emit(at, Op::Deferred(Deferred::Reshape { allow_zero }), &[x, shape], at.output()?)
        }
    }
}

pub(super) fn transpose(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["perm"])?;
    let x = im.value(at, 0)?;
    let order = match at.ints("perm") {
        None => (0..rank(&im.model, x)).rev().collect(),
        // Whether it is a permutation is checked where the shape is inferred.
        Some(perm) => {
            let order = perm.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
            order.map_err(|_| at.fail(format!("perm {perm:?} is negative")))?
        }
    };
    im.emit(at, Op::Transpose { order }, &[x], at.output()?)
}

/// The axes of Squeeze and Unsqueeze: an attribute before set 13, an input since.
fn axes(im: &mut Importer, at: &At) -> Result<Numbers> {
    if at.opset >= 13 {
        at.only(&[])?;
        return numbers(im, at, 1);
    }
    at.only(&["axes"])?;
    Ok(at.ints("axes").map_or(Numbers::Absent, |axes| Numbers::Known(axes.to_vec())))
}

pub(super) fn squeeze(im: &mut Importer, at: &At) -> Result<ValueId> {
    let x = im.value(at, 0)?;
    let shape = &im.model.value(x).shape;
    let rank = shape.len();
    let fixed = shape.iter().all(|d| d.fixed().is_some());
    let ones: Vec<usize> = (0..rank).filter(|&i| shape[i] == Dim::Fixed(1)).collect();
    let axes = match axes(im, at)? {
        Numbers::Known(axes) => sorted_axes(at, &axes, rank)?,
        Numbers::Absent if fixed => ones,
        Numbers::Absent => return im.emit(at, Op::Deferred(Deferred::Squeeze), &[x], at.output()?),
        Numbers::Open(axes) => {
            return im.emit(at, Op::Deferred(Deferred::Squeeze), &[x, axes], at.output()?);
        }
    };
    im.emit(at, Op::Squeeze { axes }, &[x], at.output()?)
}

pub(super) fn unsqueeze(im: &mut Importer, at: &At) -> Result<ValueId> {
    let x = im.value(at, 0)?;
    match axes(im, at)? {
        Numbers::Known(axes) => {
            let axes = sorted_axes(at, &axes, rank(&im.model, x).saturating_add(axes.len()))?;
            im.emit(at, Op::Unsqueeze { axes }, &[x], at.output()?)
        }
        Numbers::Open(axes) => im.emit(at, Op::Deferred(Deferred::Unsqueeze), &[x, axes], at.output()?),
        Numbers::Absent => Err(at.fail("its axes are missing")),
    }
}

/// Of a quantized table, the reals of the rows that are read.
pub(super) fn gather(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis"])?;
    let table = im.weight(at, 0)?.filter(|&t| {
        let rows = matches!(im.model.value(t).quant, Some(Quant::Static { axis: None | Some(0), .. }));
        rows && at.int("axis", 0) == 0
    });
    let x = table.map_or_else(|| im.value(at, 0), Ok)?;
    let indices = im.value(at, 1)?;
    let op = Op::Gather { axis: axis(at, at.int("axis", 0), rank(&im.model, x))? };
    match table {
        Some(_) => im.emit_plain(at, op, &[x, indices], Element::F32, at.output()?),
        None => im.emit(at, op, &[x, indices], at.output()?),
    }
}

pub(super) fn concat(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis"])?;
    let parts = (0..at.node.input.len()).map(|i| im.value(at, i)).collect::<Result<Vec<_>>>()?;
    let Some(&first) = parts.first() else { return Err(at.fail("it has no inputs")) };
    if at.attribute("axis").is_none() {
        return Err(at.fail("its axis is missing"));
    }
    let axis = axis(at, at.int("axis", 0), rank(&im.model, first))?;
    im.emit(at, Op::Concat { axis }, &parts, at.output()?)
}

pub(super) fn slice(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let mut inputs = vec![im.value(at, 0)?, im.value(at, 1)?, im.value(at, 2)?];
    let (axes, steps) = (im.optional(at, 3)?, im.optional(at, 4)?);
    match (axes, steps) {
        (None, Some(_)) => {
            let starts = &im.model.value(inputs[1]).shape;
            let [Dim::Fixed(n)] = starts[..] else {
                return Err(at.fail(format!("starts are of shape {starts:?}: how many is not known")));
            };
            let n = n.min(rank(&im.model, inputs[0]).saturating_add(1)) as i64;
            inputs.push(longs(im, at, (0..n).collect(), "axes")?);
        }
        _ => inputs.extend(axes),
    }
    inputs.extend(steps);
    im.emit(at, Op::Deferred(Deferred::Slice), &inputs, at.output()?)
}

/// One node for each output that is read. Sizes are an attribute before set 13 and an input since; without them the parts
/// are of one size, but since set 18 the last one may be smaller.
pub(super) fn split(im: &mut Importer, at: &At) -> Result<()> {
    at.only(match at.opset {
        ..13 => &["axis", "split"],
        13..18 => &["axis"],
        18.. => &["axis", "num_outputs"],
    })?;
    let x = im.value(at, 0)?;
    let along = axis(at, at.int("axis", 0), rank(&im.model, x))?;
    let length = im.model.value(x).shape[along].fixed();
    let count = at.node.output.len();
    let sizes = match at.ints("split") {
        Some(sizes) if at.opset < 13 => Numbers::Known(sizes.to_vec()),
        _ if at.opset >= 13 => numbers(im, at, 1)?,
        _ => Numbers::Absent,
    };
    let declared = at.int("num_outputs", count as i64);
    if declared != count as i64 {
        return Err(at.fail(format!("num_outputs is {declared}, but there are {count} outputs")));
    }
    if let Numbers::Known(sizes) = &sizes {
        let sum = sizes.iter().try_fold(0i64, |sum, &n| sum.checked_add(n).filter(|_| n >= 0));
        let fits = sizes.len() == count
            && sum.is_some_and(|sum| length.is_none_or(|n| usize::try_from(sum) == Ok(n)));
        if !fits {
            let axis = &im.model.value(x).shape[along];
            return Err(at.fail(format!("sizes {sizes:?} for {count} outputs of an axis of {axis:?}")));
        }
    }
    if let (Numbers::Absent, Some(n), ..18) = (&sizes, length, at.opset) {
        if count == 0 || n % count != 0 {
            return Err(at.fail(format!("an axis of {n} in {count} equal parts")));
        }
    }
    let mut start = 0i64;
    for (index, output) in at.node.output.iter().enumerate() {
        let part =
            |start: i64, end: i64| Op::Slice { axes: vec![SliceAxis { axis: along, start, end, step: 1 }] };
        let (op, more) = match (&sizes, length) {
            (Numbers::Known(sizes), Some(_)) => {
                let end = start.saturating_add(sizes[index]);
                (part(std::mem::replace(&mut start, end), end), None)
            }
            (Numbers::Known(sizes), None) => {
                let sizes = longs(im, at, sizes.clone(), &format!("sizes_{index}"))?;
                (Op::Deferred(Deferred::Split { axis: along, index }), Some(sizes))
            }
            (Numbers::Open(sizes), _) => (Op::Deferred(Deferred::Split { axis: along, index }), Some(*sizes)),
            (Numbers::Absent, Some(n)) => {
                let size = n.div_ceil(count.max(1));
                let place = |i: usize| i64::try_from(size.saturating_mul(i).min(n)).unwrap_or(i64::MAX);
                (part(place(index), place(index + 1)), None)
            }
            (Numbers::Absent, None) => {
                (Op::Deferred(Deferred::Part { axis: along, parts: count, index }), None)
            }
        };
        if !output.is_empty() {
            let inputs: Vec<ValueId> = [Some(x), more].into_iter().flatten().collect();
            let y = im.emit(at, op, &inputs, output)?;
            im.define_value(at, output, y)?;
        }
    }
    Ok(())
}

pub(super) fn pad(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["mode"])?;
    let mode = match at.string("mode")? {
        "" | "constant" => PadMode::Constant(0.0),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return Err(at.fail(format!("mode `{other}` is not known"))),
    };
    let x = im.value(at, 0)?;
    if im.model.value(x).quant.is_some() && matches!(mode, PadMode::Constant(_)) {
        return Err(at.fail("of quantized values by a number it is not supported"));
    }
    let mut inputs = vec![x, im.value(at, 1)?];
    let (value, axes) = (im.optional(at, 2)?, im.optional(at, 3)?);
    match (value, axes) {
        (None, Some(_)) => inputs.push(scalar(im, at, x, 0.0, "zero")?),
        _ => inputs.extend(value),
    }
    inputs.extend(axes);
    im.emit(at, Op::Deferred(Deferred::Pad { mode }), &inputs, at.output()?)
}

pub(super) fn repeat(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let inputs = [im.value(at, 0)?, im.value(at, 1)?];
    let deferred = if at.node.op_type == "Tile" { Deferred::Tile } else { Deferred::Expand };
    im.emit(at, Op::Deferred(deferred), &inputs, at.output()?)
}

/// Elements of a mask that the importer makes itself.
const MOST_MASKED: usize = 1 << 24;

/// A triangle of each matrix, 0 beside it: a choice by a constant mask.
pub(super) fn triangle(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["upper"])?;
    let upper = at.int("upper", 1) != 0;
    let x = im.value(at, 0)?;
    let k = match numbers(im, at, 1)? {
        Numbers::Absent => 0,
        Numbers::Known(v) if v.len() == 1 => v[0],
        _ => return Err(at.fail("its diagonal must be one constant number")),
    };
    let shape = &im.model.value(x).shape;
    let [.., Dim::Fixed(rows), Dim::Fixed(columns)] = shape[..] else {
        return Err(at.fail(format!("of {shape:?}: its matrices must be of a known size")));
    };
    if rows.checked_mul(columns).is_none_or(|n| n > MOST_MASKED) {
        return Err(at.fail(format!("a mask of {rows} by {columns} is more than {MOST_MASKED} elements")));
    }
    let kept = |i: usize| {
        let off = (i % columns) as i64 - (i / columns) as i64;
        if upper { off >= k } else { off <= k }
    };
    let mask = Tensor::new([rows, columns], Data::Bool((0..rows * columns).map(kept).collect()))?;
    let mask_name = name(im, at, "mask")?;
    let mask = im.model.add_constant(mask_name, mask)?;
    let zero = scalar(im, at, x, 0.0, "zero")?;
    im.emit(at, Op::Where, &[mask, x, zero], at.output()?)
}
