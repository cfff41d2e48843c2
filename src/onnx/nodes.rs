//! One function for each operator of the file.

use super::import::{At, Found, Importer};
use super::{integer, tensor, volume};
use crate::error::Result;
use crate::graph::{Activation, Model, Op, PoolKind, Quant, ValueId, Window, passes};
use crate::tensor::{Data, Element, Tensor};

pub(super) fn translate(im: &mut Importer, at: &At) -> Result<()> {
    let id = match at.node.op_type.as_str() {
        "Conv" => conv(im, at)?,
        "MaxPool" | "AveragePool" => pool(im, at)?,
        "GlobalAveragePool" => {
            at.only(&[])?;
            let x = im.value(at, 0)?;
            spatial(im, at, x, |_, _| Ok(Op::GlobalAveragePool), &[])?
        }
        "Gemm" => gemm(im, at)?,
        "MatMul" => matmul(im, at)?,
        "Add" => {
            at.only(&[])?;
            let operands = [im.value(at, 0)?, im.value(at, 1)?];
            // A sum of int8 wraps around in ONNX, where it is a sum of bytes; here it would be one of reals.
            if let Some(&x) = operands.iter().find(|x| !is_float(&im.model, **x)) {
                return Err(at.fail(format!("a sum of {:?} is not supported", im.model.value(x).element)));
            }
            im.emit(at, Op::Add { activation: Activation::Identity }, &operands, at.output()?)?
        }
        "Relu" => activation(im, at, Activation::Relu)?,
        "Identity" => activation(im, at, Activation::Identity)?,
        "Clip" => {
            let clip = clip(im, at)?;
            activation(im, at, clip)?
        }
        "Dropout" => {
            let training = im.constant(at, 2)?.is_some_and(|t| t.to_f32() != [0.0]);
            if training {
                return Err(at.fail("it is in training mode"));
            }
            activation(im, at, Activation::Identity)?
        }
        "BatchNormalization" => batch_normalization(im, at)?,
        "Flatten" => flatten(im, at)?,
        "Reshape" => reshape(im, at)?,
        "Transpose" => transpose(im, at)?,
        "Constant" => constant(im, at)?,
        "Cast"
        | "Mul"
        | "QuantizeLinear"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "MatMulInteger"
        | "ConvInteger" => return integer::translate(im, at),
        _ => return Err(at.fail("this operator is not supported")),
    };
    im.define(at, Found::Value(id))
}

fn rank(model: &Model, id: ValueId) -> usize {
    model.value(id).shape.len()
}

fn is_float(model: &Model, id: ValueId) -> bool {
    matches!(model.value(id).element, Element::F32 | Element::F16)
}

fn activation(im: &mut Importer, at: &At, activation: Activation) -> Result<ValueId> {
    let x = im.value(at, 0)?;
    if activation != Activation::Identity && im.model.value(x).quant.is_some() {
        // The bounds are integers there, but reals in a model.
        return Err(at.fail("on the integers of a quantized value it is not supported"));
    }
    im.emit(at, Op::Activation(activation), &[x], at.output()?)
}

/// Runs a two-dimensional op: a one-dimensional input is seen with height 1, between two reshapes.
fn spatial(
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
        [w] => Ok([if what == "pads" { 0 } else { 1 }, size(w)?]),
        [h, w] => Ok([size(h)?, size(w)?]),
        _ => Err(at.fail(format!("{what} {values:?} is not for one or two dimensions"))),
    }
}

/// The geometry of a Conv or pool that reads `x` (with height and width).
pub(super) fn window(im: &Importer, at: &At, x: ValueId, kernel: [usize; 2]) -> Result<Window> {
    let size = |axis: usize| im.model.value(x).shape.get(axis).and_then(|d| d.fixed());
    window_over(at, kernel, [size(2), size(3)], |values, what| pair(at, values, what))
}

/// The geometry along two axes, of these sizes where they are known, whose numbers `pick` finds in an attribute.
pub(super) fn window_over(
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

fn conv(im: &mut Importer, at: &At) -> Result<ValueId> {
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

pub(super) fn groups(at: &At) -> Result<usize> {
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

fn pool(im: &mut Importer, at: &At) -> Result<ValueId> {
    let max = at.node.op_type == "MaxPool";
    let geometry = ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"];
    let own = if max { "storage_order" } else { "count_include_pad" };
    at.only(&[&geometry[..], &[own]].concat())?;
    if at.node.output.get(1).is_some_and(|o| !o.is_empty()) {
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

fn clip(im: &Importer, at: &At) -> Result<Activation> {
    at.only(&["min", "max"])?;
    let bound = |i: usize, name: &str, default: f32| match im.constant(at, i)? {
        None => Ok(at.float(name, default)),
        Some(t) if t.len() == 1 => Ok(t.to_f32()[0]),
        Some(t) => Err(at.fail(format!("bound `{name}` has shape {:?}", t.shape()))),
    };
    let (lo, hi) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    match (lo, hi) {
        _ if lo.is_nan() || hi.is_nan() => Err(at.fail(format!("the bounds are {lo} and {hi}"))),
        (f32::NEG_INFINITY, f32::INFINITY) => Ok(Activation::Identity),
        (0.0, f32::INFINITY) => Ok(Activation::Relu),
        _ => Ok(Activation::Clip { lo, hi }),
    }
}

/// A matrix `[n, k]` for Linear, from `[n, k]` or, `transposed`, from `[k, n]`.
pub(super) fn linear_weight(
    im: &mut Importer,
    at: &At,
    weight: ValueId,
    transposed: bool,
) -> Result<ValueId> {
    let value = im.model.value(weight);
    let quant = match &value.quant {
        Some(Quant::Static { axis: Some(axis), .. }) if *axis != usize::from(transposed) => {
            return Err(at.fail(format!("its weight is quantized along axis {axis}, not along its outputs")));
        }
        Some(Quant::Static { axis, params }) => {
            Some(Quant::Static { axis: axis.map(|_| 0), params: params.clone() })
        }
        other => other.clone(),
    };
    let (true, Some(tensor)) = (transposed, &value.constant) else { return Ok(weight) };
    let tensor = tensor::transpose(tensor).map_err(|e| at.fail(e.to_string()))?;
    im.derive(weight, "transposed", tensor, quant)
}

fn gemm(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["alpha", "beta", "transA", "transB"])?;
    let (alpha, beta) = (at.float("alpha", 1.0), at.float("beta", 1.0));
    let transposed = at.int("transB", 0) == 0;
    let (mut a, c) = (im.value(at, 0)?, im.optional(at, 2)?);
    if rank(&im.model, a) != 2 {
        return Err(at.fail(format!("its input has shape {:?}, not 2 dimensions", im.model.value(a).shape)));
    }
    if at.int("transA", 0) != 0 {
        a = turned(im, at, a, "a")?;
    }
    let Some(weight) = im.weight(at, 1)? else {
        // A product of two values: only what Transpose, MatMul and Add can say.
        if alpha != 1.0 || (beta != 1.0 && c.is_some()) {
            return Err(at.fail("with a B that is no constant, alpha and beta are not supported"));
        }
        let mut b = im.value(at, 1)?;
        if !transposed {
            b = turned(im, at, b, "b")?;
        }
        return product(im, at, Op::MatMul, &[a, b], c);
    };
    let mut weight = linear_weight(im, at, weight, transposed)?;
    if alpha != 1.0 {
        weight = scaled(im, at, weight, alpha)?;
    }
    let n = im.model.constant(weight).and_then(|t| t.shape().first().copied()).unwrap_or(0);
    let linear = Op::Linear { activation: Activation::Identity };
    let Some(mut c) = c else { return im.emit(at, linear, &[a, weight], at.output()?) };
    if beta != 1.0 {
        c = scaled(im, at, c, beta)?;
    }
    if im.model.constant(c).is_some_and(|t| t.shape() == [n]) {
        return im.emit(at, linear, &[a, weight, c], at.output()?);
    }
    product(im, at, linear, &[a, weight], Some(c))
}

/// A matrix operand as its transpose.
fn turned(im: &mut Importer, at: &At, x: ValueId, which: &str) -> Result<ValueId> {
    let name = im.free_name(&format!("{}.{which}.transposed", at.output()?));
    im.emit(at, Op::Transpose { order: vec![1, 0] }, &[x], &name)
}

/// An op, and `c` added to what it makes.
fn product(im: &mut Importer, at: &At, op: Op, inputs: &[ValueId], c: Option<ValueId>) -> Result<ValueId> {
    let Some(c) = c else { return im.emit(at, op, inputs, at.output()?) };
    let name = im.free_name(&format!("{}.product", at.output()?));
    let product = im.emit(at, op, inputs, &name)?;
    im.emit(at, Op::Add { activation: Activation::Identity }, &[product, c], at.output()?)
}

/// A float constant times a number.
fn scaled(im: &mut Importer, at: &At, id: ValueId, factor: f32) -> Result<ValueId> {
    let tensor = im.model.constant(id).filter(|_| im.model.value(id).quant.is_none());
    let scale =
        |t: &Tensor| passes::floats(t.element(), t.shape(), t.to_f32().iter().map(|x| x * factor).collect());
    let tensor = tensor.and_then(scale);
    let tensor = tensor.ok_or_else(|| at.fail("alpha and beta other than 1 need float constants"))?;
    im.derive(id, "scaled", tensor, None)
}

/// A vector on the left is a row and one on the right a column, of which the result has nothing left.
fn matmul(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let output = at.output()?;
    let mut a = im.value(at, 0)?;
    let mut b = match im.weight(at, 1)? {
        // Still quantized, where it is.
        Some(b) if rank(&im.model, b) == 2 => b,
        _ => im.value(at, 1)?,
    };
    let (row, column) = (rank(&im.model, a) == 1, rank(&im.model, b) == 1);
    let product = if row || column { im.free_name(&format!("{output}.product")) } else { output.into() };
    if row {
        let name = im.free_name(&format!("{output}.row"));
        a = im.emit_reshape(&[1, -1], a, &name)?;
    }
    if column {
        let name = im.free_name(&format!("{output}.column"));
        b = im.emit_reshape(&[-1, 1], b, &name)?;
    }
    let y = if im.model.constant(b).is_some() && rank(&im.model, b) == 2 {
        let weight = linear_weight(im, at, b, true)?;
        im.emit(at, Op::Linear { activation: Activation::Identity }, &[a, weight], &product)?
    } else {
        im.emit(at, Op::MatMul, &[a, b], &product)?
    };
    if !row && !column {
        return Ok(y);
    }
    // What was added is 1 and may go; one other dimension may be inferred, the rest are copied.
    let mut target = vec![0; rank(&im.model, y) - usize::from(row) - usize::from(column)];
    if let (true, Some(last)) = (row, target.last_mut()) {
        *last = -1;
    }
    im.emit_reshape(&target, y, output)
}

/// As a depthwise 1x1 convolution, which [`Model::simplify`] folds into a Conv or Linear before it.
fn batch_normalization(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["epsilon", "momentum", "spatial", "training_mode"])?;
    if at.int("training_mode", 0) != 0 || at.int("spatial", 1) != 1 {
        return Err(at.fail("it is in training mode, or not spatial"));
    }
    let x = im.value(at, 0)?;
    let mut constants = Vec::with_capacity(4);
    for i in 1..5 {
        let tensor = im.constant(at, i)?.ok_or_else(|| at.fail(format!("input {i} is missing")))?;
        constants.push(tensor.to_f32());
    }
    let channels = constants[0].len();
    if channels == 0 || constants.iter().any(|c| c.len() != channels) {
        return Err(at.fail(format!("its constants have {:?} channels", constants.iter().map(Vec::len))));
    }
    let [gamma, beta, mean, variance] =
        [0, 1, 2, 3].map(|i: usize| constants[i].iter().map(|&x| f64::from(x)));
    let epsilon = f64::from(at.float("epsilon", 1e-5));
    let scale: Vec<f64> = gamma.zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.zip(mean.zip(&scale)).map(|(b, (m, s))| (b - m * s) as f32).collect();
    let scale = scale.iter().map(|&s| s as f32).collect();
    let element = im.model.value(x).element;
    let tensors =
        (passes::floats(element, &[channels, 1, 1, 1], scale), passes::floats(element, &[channels], shift));
    let (Some(scale), Some(shift)) = tensors else {
        return Err(at.fail(format!("its input is of {element:?}, not of floats")));
    };
    let output = at.output()?;
    let (scale_name, shift_name) =
        (im.free_name(&format!("{output}.scale")), im.free_name(&format!("{output}.shift")));
    let constants = [im.model.add_constant(scale_name, scale)?, im.model.add_constant(shift_name, shift)?];
    let conv =
        Op::Conv { window: Window::new([1, 1], [1, 1]), groups: channels, activation: Activation::Identity };
    if rank(&im.model, x) != 2 {
        return spatial(im, at, x, |_, _| Ok(conv), &constants);
    }
    let (before, after) = (im.free_name(&format!("{output}.in")), im.free_name(&format!("{output}.out")));
    let x = im.emit_reshape(&[0, 0, 1, 1], x, &before)?;
    let y = im.emit(at, conv, &[x, constants[0], constants[1]], &after)?;
    im.emit_reshape(&[0, 0], y, output)
}

fn flatten(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis"])?;
    let x = im.value(at, 0)?;
    let (axis, rank) = (at.int("axis", 1), rank(&im.model, x));
    let from_end = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis = from_end.and_then(|a| usize::try_from(a).ok());
    let axis = axis.ok_or_else(|| at.fail(format!("axis {} of {rank} dimensions", at.int("axis", 1))))?;
    im.emit(at, Op::Flatten { axis }, &[x], at.output()?)
}

fn reshape(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["allowzero"])?;
    let x = im.value(at, 0)?;
    let shape = im.constant(at, 1)?.ok_or_else(|| at.fail("its shape is missing"))?;
    let Data::I64(target) = shape.data() else {
        return Err(at.fail(format!("its shape is of {:?}", shape.element())));
    };
    if at.int("allowzero", 0) != 0 && target.contains(&0) {
        return Err(at.fail("allowzero with a dimension of 0 is not supported"));
    }
    im.emit(at, Op::Reshape { target: target.clone() }, &[x], at.output()?)
}

fn transpose(im: &mut Importer, at: &At) -> Result<ValueId> {
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

fn constant(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["value", "value_float", "value_floats", "value_int", "value_ints"])?;
    let [attribute] = at.node.attribute.as_slice() else {
        return Err(at.fail("it must have one attribute"));
    };
    let tensor = match attribute.name.as_str() {
        "value" => {
            let proto = attribute.t.as_ref().ok_or_else(|| at.fail("its value is missing"))?;
            tensor::read(proto, at.output()?)?
        }
        "value_float" => Tensor::new([], Data::F32(vec![attribute.f.unwrap_or_default()]))?,
        "value_int" => Tensor::new([], Data::I64(vec![attribute.i.unwrap_or_default()]))?,
        "value_floats" => Tensor::new([attribute.floats.len()], Data::F32(attribute.floats.clone()))?,
        _ => Tensor::new([attribute.ints.len()], Data::I64(attribute.ints.clone()))?,
    };
    im.model.add_constant(at.output()?, tensor)
}

/// Whether a Cast's target is this element.
pub(super) fn casts_to(at: &At) -> Result<Element> {
    let to = at.int("to", 0);
    i32::try_from(to)
        .ok()
        .and_then(tensor::element)
        .ok_or_else(|| at.fail(format!("data type {to} is not supported")))
}
