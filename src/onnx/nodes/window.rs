//! Convolutions and pools: what slides a window over an image.

use super::super::import::{At, Importer};
use super::super::volume;
use super::rank;
use crate::error::Result;
use crate::graph::{Activation, Dim, Op, PoolKind, Quant, ReduceOp, ValueId, Window};
use crate::tensor::Tensor;

/// Runs a two-dimensional op: a one-dimensional input is seen with height 1, between two reshapes.
pub(super) fn spatial(
    im: &mut Importer,
    at: &At,
    x: ValueId,
    op: impl FnOnce(&Importer, ValueId) -> Result<Op>,
    constants: &[ValueId],
) -> Result<ValueId> {
    let output = at.output()?;
    let with = |x: ValueId| -> Vec<ValueId> { [&[x], constants].concat() };
    match rank(&im.model, x) {
        4 => {
            let op = op(im, x)?;
            im.emit(at, op, &with(x), output)
        }
        3 => {
            let (before, after) =
                (im.free_name(&format!("{output}.in")), im.free_name(&format!("{output}.out")));
            let x = im.emit_reshape(&[0, 0, 1, -1], x, &before)?;
            let op = op(im, x)?;
            let y = im.emit(at, op, &with(x), &after)?;
            im.emit_reshape(&[0, 0, -1], y, output)
        }
        n => {
            Err(at.fail(format!("its input has {n} dimensions; 3 (one of space) and 4 (two) are supported")))
        }
    }
}

/// One or two numbers of an attribute, as `[height, width]`.
fn pair(at: &At, values: &[i64], what: &str) -> Result<[usize; 2]> {
    let size = |v: i64| usize::try_from(v).map_err(|_| at.fail(format!("{what} {values:?} is negative")));
    match *values {
        [w] => Ok([usize::from(!matches!(what, "pads" | "output_padding")), size(w)?]),
        [h, w] => Ok([size(h)?, size(w)?]),
        _ => Err(at.fail(format!("{what} {values:?} is not for one or two dimensions"))),
    }
}

/// The geometry of a Conv or pool that reads `x` (with height and width).
pub(in crate::onnx) fn window(im: &Importer, at: &At, x: ValueId, kernel: [usize; 2]) -> Result<Window> {
    let size = |axis: usize| im.model.value(x).shape.get(axis).and_then(|d| d.fixed());
    window_over(at, kernel, [size(2), size(3)], |values, what| pair(at, values, what))
}

/// The geometry along two axes, of these sizes where they are known, whose numbers `pick` finds in an attribute.
pub(in crate::onnx) fn window_over(
    at: &At,
    kernel: [usize; 2],
    sizes: [Option<usize>; 2],
    pick: impl Fn(&[i64], &str) -> Result<[usize; 2]>,
) -> Result<Window> {
    let steps = |name: &str| at.ints(name).map_or(Ok([1, 1]), |v| pick(v, name));
    let mut window = Window { stride: steps("strides")?, ..Window::new(kernel, [1, 1]) };
    window.dilation = steps("dilations")?;
    match at.string("auto_pad")? {
        "" | "NOTSET" => {
            if let Some(pads) = at.ints("pads") {
                let (begin, end) = pads.split_at(pads.len() / 2);
                window.pad_begin = pick(begin, "pads")?;
                window.pad_end = pick(end, "pads")?;
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for (axis, size) in sizes.into_iter().enumerate() {
                let total = same_padding(size, &window, axis)
                    .ok_or_else(|| at.fail(format!("auto_pad {same} of a dimension that is not fixed")))?;
                let (less, more) = (total / 2, total - total / 2);
                let upper = same == "SAME_UPPER";
                window.pad_begin[axis] = if upper { less } else { more };
                window.pad_end[axis] = if upper { more } else { less };
            }
        }
        other => return Err(at.fail(format!("auto_pad `{other}` is not known"))),
    }
    window.ceil = at.int("ceil_mode", 0) != 0;
    Ok(window)
}

/// How much padding gives `ceil(n / stride)` windows.
fn same_padding(n: Option<usize>, window: &Window, axis: usize) -> Option<usize> {
    let stride = window.stride[axis];
    let reach = window.kernel[axis].checked_sub(1)?.checked_mul(window.dilation[axis])?;
    if stride == 1 {
        return Some(reach);
    }
    let n = n?;
    let last = n.checked_sub(1)?.checked_div(stride)?.checked_mul(stride)?;
    Some(last.checked_add(reach)?.checked_add(1)?.saturating_sub(n))
}

pub(super) fn conv(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let x = im.value(at, 0)?;
    let weight = im.weight(at, 1)?.ok_or_else(|| at.fail("its weight must be a constant"))?;
    let weight = spatial_weight(im, at, weight)?;
    let kernel = match im.model.constant(weight).map(Tensor::shape) {
        Some(&[_, _, kh, kw]) => [kh, kw],
        _ => return Err(at.fail("its weight must have 3 or 4 dimensions")),
    };
    let constants: Vec<ValueId> = [Some(weight), im.optional(at, 2)?].into_iter().flatten().collect();
    let groups = groups(at)?;
    let op = |im: &Importer, x| {
        let window = window(im, at, x, kernel)?;
        Ok(Op::Conv { window, groups, activation: Activation::Identity })
    };
    spatial(im, at, x, op, &constants)
}

pub(in crate::onnx) fn groups(at: &At) -> Result<usize> {
    let groups = at.int("group", 1);
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| at.fail(format!("it has {groups} groups")))
}

/// A Conv's weight with height and width; quantized along its outputs, if at all.
fn spatial_weight(im: &mut Importer, at: &At, weight: ValueId) -> Result<ValueId> {
    let value = im.model.value(weight);
    if let Some(Quant::Static { axis: Some(1..), .. }) = value.quant {
        return Err(at.fail(format!("its weight is quantized along another axis than 0: {:?}", value.quant)));
    }
    let (quant, Some(tensor)) = (value.quant.clone(), &value.constant) else { return Ok(weight) };
    let &[o, c, k] = tensor.shape() else { return Ok(weight) };
    let lifted = tensor.as_ref().clone().reshape([o, c, 1, k])?;
    im.derive(weight, "2d", lifted, quant)
}

pub(super) fn pool(im: &mut Importer, at: &At) -> Result<ValueId> {
    let max = at.node.op_type == "MaxPool";
    let geometry = ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"];
    let own = if max { "storage_order" } else { "count_include_pad" };
    at.only(&[&geometry[..], &[own]].concat())?;
    if im.wanted(at, 1).is_some() {
        return Err(at.fail("its second output, the indices, is not supported"));
    }
    let kernel = at.ints("kernel_shape").ok_or_else(|| at.fail("it has no kernel_shape"))?;
    let include_pad = at.int("count_include_pad", 0) != 0;
    let kind = if max { PoolKind::Max } else { PoolKind::Average { include_pad } };
    let x = im.value(at, 0)?;
    if rank(&im.model, x) == 5 {
        return volume::pool(im, at, x, kind, kernel);
    }
    let kernel = pair(at, kernel, "kernel_shape")?;
    spatial(im, at, x, |im, x| Ok(Op::Pool { kind, window: window(im, at, x, kernel)? }), &[])
}

/// The mean or the largest of each channel.
pub(super) fn global_pool(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let x = im.value(at, 0)?;
    let n = rank(&im.model, x);
    let mean = at.node.op_type == "GlobalAveragePool";
    if mean && matches!(n, 3 | 4) {
        return spatial(im, at, x, |_, _| Ok(Op::GlobalAveragePool), &[]);
    }
    if n < 3 {
        return Err(at.fail(format!("its input has {n} dimensions, none of space")));
    }
    let op = if mean { ReduceOp::Mean } else { ReduceOp::Max };
    im.emit(at, Op::Reduce { op, axes: (2..n).collect(), keep: true }, &[x], at.output()?)
}

pub(super) fn conv_transpose(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "strides",
    ])?;
    let x = im.value(at, 0)?;
    let weight = im.weight(at, 1)?.ok_or_else(|| at.fail("its weight must be a constant"))?;
    let value = im.model.value(weight);
    if value.quant.is_some() {
        return Err(at.fail("a quantized weight is not supported"));
    }
    let (weight, kernel) = match value.constant.as_deref().map(Tensor::shape) {
        Some(&[_, _, kh, kw]) => (weight, [kh, kw]),
        Some(&[c, o, k]) => {
            let lifted = value.constant.as_deref().map(|t| t.clone().reshape([c, o, 1, k])).transpose()?;
            let lifted = lifted.ok_or_else(|| at.fail("its weight must be a constant"))?;
            (im.derive(weight, "2d", lifted, None)?, [1, k])
        }
        _ => return Err(at.fail("its weight must have 3 or 4 dimensions")),
    };
    let constants: Vec<ValueId> = [Some(weight), im.optional(at, 2)?].into_iter().flatten().collect();
    let groups = groups(at)?;
    spatial(im, at, x, |im, x| transposed_window(im, at, x, kernel, groups), &constants)
}

/// The geometry of a ConvTranspose of `x`: its padding is cut from the output, and may be given by the output's size.
fn transposed_window(im: &Importer, at: &At, x: ValueId, kernel: [usize; 2], groups: usize) -> Result<Op> {
    let numbers =
        |name: &str, default: usize| at.ints(name).map_or(Ok([default; 2]), |values| pair(at, values, name));
    let mut window = Window { stride: numbers("strides", 1)?, ..Window::new(kernel, [1, 1]) };
    window.dilation = numbers("dilations", 1)?;
    let mut output_padding = numbers("output_padding", 0)?;
    let auto = at.string("auto_pad")?;
    let same = matches!(auto, "SAME_UPPER" | "SAME_LOWER");
    if !same && !matches!(auto, "" | "NOTSET" | "VALID") {
        return Err(at.fail(format!("auto_pad `{auto}` is not known")));
    }
    let wanted = at.ints("output_shape");
    if let (None, false, Some(pads)) = (wanted, same || auto == "VALID", at.ints("pads")) {
        let (begin, end) = pads.split_at(pads.len() / 2);
        window.pad_begin = pair(at, begin, "pads")?;
        window.pad_end = pair(at, end, "pads")?;
    }
    if wanted.is_none() && !same {
        return Ok(Op::ConvTranspose { window, groups, output_padding });
    }
    // Older files give the batch and the channels too.
    let space = rank(&im.model, x) - 2;
    let wanted = match wanted.map(|w| w.get(w.len().saturating_sub(space)..).unwrap_or_default()) {
        Some(sizes) => Some(pair(at, sizes, "output_shape")?),
        None => None,
    };
    for axis in 0..2 {
        let stride = window.stride[axis];
        let too_large = || at.fail(format!("a window {window:?} is too large to count"));
        let span = window.span(axis).ok_or_else(too_large)?;
        // What the output has without padding, and what it shall have.
        let (full, target) = match wanted {
            Some(sizes) => {
                let Some(n) = im.model.value(x).shape.get(axis + 2).and_then(Dim::fixed) else {
                    return Err(at.fail("output_shape with an input whose size is not fixed"));
                };
                let full = n.checked_sub(1).and_then(|n| n.checked_mul(stride)?.checked_add(span));
                (full.and_then(|n| n.checked_add(output_padding[axis])).ok_or_else(too_large)?, sizes[axis])
            }
            // `stride` for each element of the input, whatever their number.
            None => (span.checked_add(output_padding[axis]).ok_or_else(too_large)?, stride),
        };
        let total = full.saturating_sub(target);
        output_padding[axis] += target.saturating_sub(full);
        let (less, more) = (total / 2, total - total / 2);
        let upper = auto == "SAME_UPPER";
        window.pad_begin[axis] = if upper { less } else { more };
        window.pad_end[axis] = if upper { more } else { less };
    }
    Ok(Op::ConvTranspose { window, groups, output_padding })
}
