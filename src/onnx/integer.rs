//! The operators of quantized files: QDQ for static models, integer products for dynamic ones, and Cast.

use super::import::{At, Found, Importer, Sum, params};
use super::nodes;
use super::proto::{Attribute, NodeProto};
use crate::error::{Error, Result};
use crate::graph::{Activation, BinaryOp, Op, Output, Quant, UnaryOp, ValueId};
use crate::quant::{QuantParams, Scheme};
use crate::tensor::{Data, Element, Tensor};
use std::sync::Arc;

pub(super) fn translate(im: &mut Importer, at: &At) -> Result<()> {
    let found = match at.node.op_type.as_str() {
        "Cast" => cast(im, at)?,
        "Mul" => multiply(im, at)?,
        "QuantizeLinear" => quantize(im, at)?,
        "DequantizeLinear" => dequantize(im, at)?,
        "DynamicQuantizeLinear" => return dynamic_quantize(im, at),
        _ if !of_measured(im, at)? => return lone_product(im, at),
        _ => integer_product(im, at)?,
    };
    im.define(at, found)
}

fn cast(im: &mut Importer, at: &At) -> Result<Found> {
    at.only(&["to", "saturate", "round_mode"])?;
    let to = nodes::casts_to(at)?;
    if let (Some(sum @ Found::Sum(_)), Element::F32) = (im.find(at, 0)?, to) {
        return Ok(sum);
    }
    let x = im.value(at, 0)?;
    Ok(Found::Value(nodes::cast(im, at, x, to)?))
}

/// The parameters in inputs 1 and 2 of a QuantizeLinear or DequantizeLinear, in the signed domain.
fn parameters(im: &Importer, at: &At, unsigned_by_default: bool) -> Result<Vec<QuantParams>> {
    if at.int("block_size", 0) != 0 || at.int("precision", 0) != 0 {
        return Err(at.fail("blocks of anything but a constant, and a precision, are not supported"));
    }
    let scale = im.constant(at, 1)?.ok_or_else(|| at.fail("its scale is missing"))?;
    if scale.shape().len() > 1 || !matches!(scale.element(), Element::F32 | Element::F16) {
        return Err(at.fail(format!("its scale is {:?} of {:?}", scale.shape(), scale.element())));
    }
    let zero_point = im.constant(at, 2)?;
    let zero_points: Vec<i32> = match zero_point.as_deref().map(Tensor::data) {
        None => vec![if unsigned_by_default { -128 } else { 0 }; scale.len()],
        Some(Data::I8(z)) => z.iter().map(|&z| z.into()).collect(),
        Some(Data::U8(z)) => z.iter().map(|&z| i32::from(z) - 128).collect(),
        Some(Data::I32(z)) if z.iter().all(|&z| z == 0) => vec![0; z.len()],
        Some(other) => return Err(at.fail(format!("{} zero points of an unsupported type", other.len()))),
    };
    if zero_points.len() != scale.len() || scale.is_empty() {
        return Err(at.fail(format!("{} scales but {} zero points", scale.len(), zero_points.len())));
    }
    scale.to_f32().into_iter().zip(zero_points).map(|(s, z)| params(at, s, z)).collect()
}

fn per_tensor(params: Vec<QuantParams>) -> Quant {
    Quant::Static { axis: None, params }
}

fn quantize(im: &mut Importer, at: &At) -> Result<Found> {
    at.only(&["axis", "saturate", "output_dtype", "block_size", "precision"])?;
    let unsigned = match at.int("output_dtype", 0) {
        3 => false,
        0 | 2 => true,
        other => return Err(at.fail(format!("output data type {other} is not supported"))),
    };
    let x = im.value(at, 0)?;
    let params = parameters(im, at, unsigned)?;
    let unsigned = im.constant(at, 2)?.map_or(unsigned, |z| z.element() == Element::U8);
    if params.len() != 1 {
        return quantize_by_axis(im, at, x, &params, unsigned);
    }
    let output = Output { name: at.output()?.into(), element: Element::I8, quant: Some(per_tensor(params)) };
    let id = im.emit_as(at, Op::Quantize, &[x], output)?;
    if unsigned {
        im.unsigned.insert(id);
    }
    Ok(Found::Value(id))
}

/// A scale for each index of an axis, which no int8 kernel reads of an activation: `round(x / scale) + zero point`, ties to
/// even, as bytes that stand for themselves.
fn quantize_by_axis(
    im: &mut Importer,
    at: &At,
    x: ValueId,
    params: &[QuantParams],
    unsigned: bool,
) -> Result<Found> {
    let rank = i64::try_from(im.model.value(x).shape.len()).unwrap_or(i64::MAX);
    let axis = at.int("axis", 1);
    let from_end = if axis < 0 { axis.saturating_add(rank) } else { axis };
    let after = rank.checked_sub(from_end).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let Some(after) = after.filter(|_| from_end >= 0) else {
        return Err(at.fail(format!("axis {axis} of {rank} dimensions")));
    };
    let mut shape = vec![1; after];
    shape[0] = params.len();
    let output = at.output()?;
    let mut operand = |part: &str, f: &dyn Fn(&QuantParams) -> f32| {
        let name = im.free_name(&format!("{output}.{part}"));
        im.model.add_constant(name, Tensor::f32(shape.clone(), params.iter().map(f).collect::<Vec<f32>>())?)
    };
    let scale = operand("scale", &|p| p.scale)?;
    // In the signed domain those of unsigned bytes are shifted.
    let zero_point = operand("zero_point", &|p| (p.zero_point + if unsigned { 128 } else { 0 }) as f32)?;
    let [steps, whole, place] = ["steps", "whole", "place"].map(|p| im.free_name(&format!("{output}.{p}")));
    let steps = im.emit(at, Op::Binary(BinaryOp::Div), &[x, scale], &steps)?;
    let whole = im.emit(at, Op::Unary(UnaryOp::Round), &[steps], &whole)?;
    let add = Op::Add { activation: Activation::Identity };
    let place = im.emit(at, add, &[whole, zero_point], &place)?;
    let element = if unsigned { Element::U8 } else { Element::I8 };
    Ok(Found::Value(im.emit_plain(at, Op::Cast, &[place], element, output)?))
}

fn dequantize(im: &mut Importer, at: &At) -> Result<Found> {
    at.only(&["axis", "block_size", "output_dtype", "precision"])?;
    let x = im.value(at, 0)?;
    let value = im.model.value(x);
    if let (Some(tensor), 1.., 0) = (&value.constant, at.int("block_size", 0), at.int("precision", 0)) {
        let tensor = tensor.clone();
        return blocked(im, at, &tensor);
    }
    let params = parameters(im, at, value.element == Element::U8 || im.unsigned.contains(&x))?;
    let rank = value.shape.len() as i64;
    let axis = at.int("axis", 1);
    let axis = if axis < 0 { axis.checked_add(rank) } else { Some(axis) };
    let axis = axis.and_then(|a| usize::try_from(a).ok()).filter(|&a| (a as i64) < rank);
    let quant = match (params.len(), axis) {
        (1, _) => per_tensor(params),
        (n, Some(a)) if value.shape[a].fixed() == Some(n) => Quant::Static { axis: Some(a), params },
        (n, _) => return Err(at.fail(format!("{n} scales along axis {axis:?} of shape {:?}", value.shape))),
    };
    let signed = match value.constant.as_deref().map(|t| (t.shape(), t.data())) {
        None if value.quant.is_none() && value.element != Element::I8 => {
            return plain_dequantize(im, at, x, &quant);
        }
        None => {
            match &value.quant {
                Some(known) if *known == quant => {}
                None if value.element == Element::I8 => im.model.values[x.0].quant = Some(quant),
                other => {
                    return Err(
                        at.fail(format!("`{}` was quantized as {other:?}, not as {quant:?}", value.name))
                    );
                }
            }
            return Ok(Found::Value(im.emit(at, Op::Dequantize, &[x], at.output()?)?));
        }
        Some((shape, Data::I32(q))) => {
            let Quant::Static { params, .. } = &quant else { return Err(at.fail("no parameters")) };
            if params.len() != 1 && shape.len() != 1 {
                return Err(at.fail(format!("int32 of shape {shape:?} along an axis is not supported")));
            }
            let reals = q.iter().zip(params.iter().cycle()).map(|(&q, p)| q as f32 * p.scale);
            let tensor = Tensor::f32(shape, reals.collect::<Vec<f32>>())?;
            return Ok(Found::Value(im.model.add_constant(at.output()?, tensor)?));
        }
        Some((_, Data::I8(_))) => value.constant.clone(),
        Some((shape, Data::U8(q))) => {
            let shifted = q.iter().map(|&q| (q ^ 0x80) as i8).collect();
            Some(Arc::new(Tensor::new(shape, Data::I8(shifted))?))
        }
        Some(_) => return Err(at.fail(format!("of {:?} is not supported", value.element))),
    };
    match &value.quant {
        None => {
            let value = &mut im.model.values[x.0];
            (value.element, value.constant, value.quant) = (Element::I8, signed, Some(quant));
        }
        Some(known) if *known == quant => {}
        Some(known) => {
            return Err(
                at.fail(format!("`{}` is dequantized twice, as {known:?} and as {quant:?}", value.name))
            );
        }
    }
    im.share(at.input(0).unwrap_or_default(), at.output()?);
    Ok(Found::Dequantized(x))
}

/// A constant with parameters for each block along an axis: a matrix whose zero points are 0 is a weight in groups, held
/// as `[n, k]`; anything else becomes floats at once.
fn blocked(im: &mut Importer, at: &At, tensor: &Tensor) -> Result<Found> {
    let (group, shape) = (usize::try_from(at.int("block_size", 0)).unwrap_or(0), tensor.shape());
    let scale = im.constant(at, 1)?.ok_or_else(|| at.fail("its scale is missing"))?;
    let zero_point = im.constant(at, 2)?;
    let shifted = |q: &[u8]| q.iter().map(|&q| (q ^ 0x80) as i8).collect();
    let unsigned = tensor.element() == Element::U8;
    let q: Vec<i8> = match tensor.data() {
        Data::I8(q) => q.clone(),
        Data::U8(q) => shifted(q),
        _ => return Err(at.fail(format!("blocks of {:?} are not supported", tensor.element()))),
    };
    let zero_points: Vec<i8> = match zero_point.as_deref().map(Tensor::data) {
        None => vec![if unsigned { -128 } else { 0 }; scale.len()],
        Some(Data::I8(z)) if !unsigned => z.clone(),
        Some(Data::U8(z)) if unsigned => shifted(z),
        Some(_) => return Err(at.fail("its zero points are not of its input's type")),
    };
    let axis = nodes::axis(at, at.int("axis", 1), shape.len())?;
    let mut expected = shape.to_vec();
    expected[axis] = expected[axis].checked_div(group).unwrap_or(0);
    let fits = expected[axis].checked_mul(group) == Some(shape[axis]) && scale.shape() == expected;
    if !fits || scale.element() != Element::F32 || zero_points.len() != scale.len() {
        return Err(at.fail(format!(
            "blocks of {group} along axis {axis} of {shape:?} with scales {:?} of {:?} and {} zero points",
            scale.shape(),
            scale.element(),
            zero_points.len()
        )));
    }
    let scales = scale.to_f32();
    if shape.len() == 2 && zero_points.iter().all(|&z| z == 0) {
        let turned = |t: Tensor| if axis == 0 { super::tensor::transpose(&t) } else { Ok(t) };
        let q = turned(Tensor::new(shape, Data::I8(q))?)?;
        let scales = turned(scale.as_ref().clone())?.to_f32();
        let params = scales.into_iter().map(|s| params(at, s, 0)).collect::<Result<_>>()?;
        let name = im.free_name(&format!("{}.grouped", at.input(0).unwrap_or_default()));
        let weight = im.model.add_constant_as(name, q, Some(Quant::Grouped { group, params }))?;
        return Ok(Found::Grouped { weight, transposed: axis == 0 });
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let real = |(i, &q): (usize, &i8)| {
        let (outer, along) = (i / inner / shape[axis], i / inner % shape[axis]);
        let block = (outer * expected[axis] + along / group) * inner + i % inner;
        f32::from(i16::from(q) - i16::from(zero_points[block])) * scales[block]
    };
    let reals = Tensor::f32(shape, q.iter().enumerate().map(real).collect::<Vec<f32>>())?;
    Ok(Found::Value(im.model.add_constant(at.output()?, reals)?))
}

/// Of integers that the caller gives or a node makes: `(x - zero point) * scale`, in f32.
fn plain_dequantize(im: &mut Importer, at: &At, x: ValueId, quant: &Quant) -> Result<Found> {
    let value = im.model.value(x);
    let (element, rank) = (value.element, value.shape.len());
    // Zero points of unsigned bytes were shifted, as the bytes of a quantized value are.
    let shift = match element {
        Element::U8 => 128,
        Element::I32 => 0,
        other => return Err(at.fail(format!("of {other:?} is not supported"))),
    };
    let Quant::Static { axis, params } = quant else { return Err(at.fail("no parameters")) };
    let mut shape = vec![1; axis.map_or(0, |a| rank - a)];
    shape.iter_mut().take(1).for_each(|n| *n = params.len());
    let mut operand = |part: &str, f: &dyn Fn(&QuantParams) -> f32| {
        let name = im.free_name(&format!("{}.{part}", at.output()?));
        im.model.add_constant(name, Tensor::f32(shape.clone(), params.iter().map(f).collect::<Vec<f32>>())?)
    };
    let zero_point = operand("zero_point", &|p| (p.zero_point + shift) as f32)?;
    let scale = operand("scale", &|p| p.scale)?;
    let output = at.output()?;
    let (cast, off) = (im.free_name(&format!("{output}.f32")), im.free_name(&format!("{output}.off")));
    let reals = im.emit_plain(at, Op::Cast, &[x], Element::F32, &cast)?;
    let off = im.emit(at, Op::Binary(BinaryOp::Sub), &[reals, zero_point], &off)?;
    Ok(Found::Value(im.emit(at, Op::Binary(BinaryOp::Mul), &[off, scale], output)?))
}

/// The uint8 of a quantized value as the caller's: from its reals back to the integers, without a further rounding. `None`
/// where its parameters are not one pair that is known.
pub(super) fn unsigned_output(im: &mut Importer, name: &str, id: ValueId) -> Result<Option<ValueId>> {
    let params = match &im.model.value(id).quant {
        Some(Quant::Static { axis: None, params }) => params.first().copied(),
        _ => None,
    };
    let Some(params) = params else { return Ok(None) };
    let inner = im.reserve_name(&format!("{name}.shifted"));
    im.rename(id, inner.clone());
    let mut constant = |part: &str, x: f32| {
        let name = im.free_name(&format!("{name}.{part}"));
        im.model.add_constant(name, Tensor::f32([], [x])?)
    };
    let scale = constant("scale", params.scale)?;
    let zero_point = constant("zero_point", (params.zero_point + 128) as f32)?;
    let add = Op::Add { activation: Activation::Identity };
    let mut x = id;
    for (part, op, other, element) in [
        ("real", Op::Dequantize, None, Element::F32),
        ("steps", Op::Binary(BinaryOp::Div), Some(scale), Element::F32),
        ("whole", Op::Unary(UnaryOp::Round), None, Element::F32),
        ("place", add, Some(zero_point), Element::F32),
        ("", Op::Cast, None, Element::U8),
    ] {
        let made = if part.is_empty() { name.to_owned() } else { im.free_name(&format!("{name}.{part}")) };
        let inputs: Vec<ValueId> = [Some(x), other].into_iter().flatten().collect();
        x = im.model.add_node_as(made.clone(), op, &inputs, Output { name: made, element, quant: None })?;
    }
    Ok(Some(x))
}

fn dynamic_quantize(im: &mut Importer, at: &At) -> Result<()> {
    at.only(&[])?;
    let [y, scale, zero_point] = at.node.output.as_slice() else {
        return Err(at.fail(format!("{} outputs, expected 3", at.node.output.len())));
    };
    let x = im.value(at, 0)?;
    let quant = Quant::Dynamic { scheme: Scheme::onnx_dynamic(), per_row: false };
    let output = Output { name: y.clone(), element: Element::I8, quant: Some(quant) };
    let id = im.emit_as(at, Op::Quantize, &[x], output)?;
    im.unsigned.insert(id);
    im.define_as(at, y, Found::Value(id))?;
    im.define_as(at, scale, Found::Scale(id))?;
    im.define_as(at, zero_point, Found::ZeroPoint(id))
}

/// MatMulInteger and ConvInteger of a dynamically quantized value by a constant.
fn integer_product(im: &mut Importer, at: &At) -> Result<Found> {
    at.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let x = im.value(at, 0)?;
    let weight = im.constant(at, 1)?.ok_or_else(|| at.fail("its weight is missing"))?;
    let unsigned = weight.element() == Element::U8;
    let weight = match weight.data() {
        Data::I8(_) => weight.as_ref().clone(),
        Data::U8(q) => Tensor::new(weight.shape(), Data::I8(q.iter().map(|&q| (q ^ 0x80) as i8).collect()))?,
        _ => return Err(at.fail(format!("its weight is of {:?}", weight.element()))),
    };
    let zero_point = match im.constant(at, 3)? {
        None if unsigned => -128,
        None => 0,
        Some(z) => match z.data() {
            Data::I8(z) if z.len() == 1 => z[0].into(),
            Data::U8(z) if z.len() == 1 => i32::from(z[0]) - 128,
            _ => return Err(at.fail("its weight must have one zero point")),
        },
    };
    let activation = Activation::Identity;
    let op = match (at.node.op_type.as_str(), weight.shape()) {
        ("MatMulInteger", [_, _]) => Op::Linear { activation },
        ("ConvInteger", &[_, _, kh, kw]) => {
            let window = nodes::window(im, at, x, [kh, kw])?;
            Op::Conv { window, groups: nodes::groups(at)?, activation }
        }
        (_, shape) => return Err(at.fail(format!("a weight of shape {shape:?} is not supported"))),
    };
    let weight_name = at.input(1).unwrap_or_default().into();
    Ok(Found::Sum(Box::new(Sum { name: at.name().into(), op, x, weight, weight_name, zero_point })))
}

/// The scaling of an integer product, or a product of plain values.
fn multiply(im: &mut Importer, at: &At) -> Result<Found> {
    at.only(&[])?;
    let plain = |found: &Option<Found>| {
        matches!(found, None | Some(Found::Value(_) | Found::Dequantized(_) | Found::Grouped { .. }))
    };
    if plain(&im.find(at, 0)?) && plain(&im.find(at, 1)?) {
        return Ok(Found::Value(nodes::multiply(im, at)?));
    }
    let unsupported = || at.fail("only the scaling of integer products is supported");
    let (a, b) = match (im.find(at, 0)?, im.find(at, 1)?) {
        // The constant, or the scale, comes second.
        (Some(a @ Found::Value(_)), Some(b)) => (b, a),
        (Some(a @ Found::ScaleProduct(..)), Some(b)) => (b, a),
        (Some(a), Some(b)) => (a, b),
        _ => return Err(unsupported()),
    };
    match (a, b) {
        (Found::Scale(x), Found::Value(scale)) => {
            let scale = im.model.value(scale).constant.clone().filter(|t| t.element() == Element::F32);
            Ok(Found::ScaleProduct(x, scale.ok_or_else(unsupported)?))
        }
        (Found::Sum(sum), Found::ScaleProduct(x, scale)) if sum.x == x => {
            Ok(Found::Value(scaled_product(im, at, *sum, &scale)?))
        }
        _ => Err(unsupported()),
    }
}

/// The integer product and its scale as one Conv or Linear.
fn scaled_product(im: &mut Importer, at: &At, sum: Sum, scale: &Tensor) -> Result<ValueId> {
    // Where the output channels are, from the end: Conv [.., o, 1, 1], Linear [.., n].
    let (inner, channels) = match sum.op {
        Op::Conv { .. } => (2, sum.weight.shape()[0]),
        _ => (0, sum.weight.shape()[1]),
    };
    let mut expected = vec![channels];
    expected.resize(inner + 1, 1);
    let shape = scale.shape();
    let significant: Vec<usize> = shape.iter().copied().skip_while(|&d| d == 1).collect();
    let axis = match scale.len() {
        1 => None,
        _ if significant == expected => Some(0),
        _ => return Err(at.fail(format!("a scale of shape {shape:?} for {channels} outputs"))),
    };
    let params = scale.to_f32().into_iter().map(|s| params(at, s, sum.zero_point)).collect::<Result<_>>()?;
    let weight = match sum.op {
        Op::Linear { .. } => super::tensor::transpose(&sum.weight)?,
        _ => sum.weight,
    };
    let quant = Quant::Static { axis, params };
    let weight = match im.found.get(&sum.weight_name) {
        Some(Found::Value(old)) => im.derive(*old, "quantized", weight, Some(quant))?,
        _ => im.model.add_constant_as(im.free_name(&sum.weight_name), weight, Some(quant))?,
    };
    let output = Output { name: at.output()?.into(), ..Output::default() };
    im.model.add_node_as(sum.name, sum.op, &[sum.x, weight], output)
}

/// Whether an integer product's first operand was measured and quantized as the model runs.
fn of_measured(im: &mut Importer, at: &At) -> Result<bool> {
    let (x, zero_point) = (im.find(at, 0)?, im.find(at, 2)?);
    Ok(match (x, zero_point) {
        (Some(Found::Value(x)), Some(Found::ZeroPoint(q))) if q == x => true,
        (Some(Found::Value(x)), _) if im.model.value(x).quant.is_none() => false,
        _ => return Err(at.fail("its first operand and zero point must come from one DynamicQuantizeLinear")),
    })
}

/// MatMulInteger and ConvInteger of bytes that stand for themselves: the product of `x - zero point` in f32, which holds
/// every integer up to 2^24, as int32.
fn lone_product(im: &mut Importer, at: &At) -> Result<()> {
    let conv = at.node.op_type == "ConvInteger";
    let shape = |im: &Importer, i: usize| match im.find(at, i) {
        Ok(Some(Found::Value(id))) => im.model.value(id).shape.clone(),
        _ => Vec::new(),
    };
    let (a_shape, b_shape) = (shape(im, 0), shape(im, 1));
    // How many products a sum has.
    let terms: Option<usize> = match b_shape.as_slice() {
        [_, window @ ..] if conv => window.iter().map(|d| d.fixed()).product(),
        [.., k, _] if !conv => k.fixed().or_else(|| a_shape.last()?.fixed()),
        _ => a_shape.last().and_then(|d| d.fixed()),
    };
    const EXACT: usize = (1 << 24) / (255 * 255);
    if terms.is_none_or(|k| k > EXACT) {
        let detail =
            format!("sums of {terms:?} products, but without scales they are exact up to {EXACT} only");
        return Err(at.fail(detail));
    }
    let output = at.output()?;
    let names = ["a", "b", "product", "one"].map(|part| im.reserve_name(&format!("{output}.{part}")));
    let [a, b, product, one] = &names;
    let channels = match im.constant(at, 3)? {
        Some(zero_points) if zero_points.shape().len() == 1 => Some(zero_points.len()),
        _ => None,
    };
    let ones = format!("{one}s");
    for (name, count) in [(one, None), (&ones, channels)] {
        let shape: Vec<usize> = count.into_iter().collect();
        let tensor = Tensor::f32(shape, vec![1.0; count.unwrap_or(1)])?;
        let id = im.model.add_constant(im.free_name(name), tensor)?;
        im.define_as(at, name, Found::Value(id))?;
    }
    let input = |i: usize| at.input(i).unwrap_or_default();
    // A zero point for each output: a Conv's are its weight's first axis, a matrix's its columns.
    let outputs = if conv { 0 } else { i64::try_from(b_shape.len()).unwrap_or(1) - 1 };
    let attribute = |name: &str, i: i64| Attribute { name: name.into(), i: Some(i), ..Attribute::default() };
    let to = i64::from(super::tensor::data_type_of(Element::I32));
    let op = if conv { "Conv" } else { "MatMul" };
    expand(
        im,
        at,
        &[
            inner(at, "DequantizeLinear", &[input(0), one, input(2)], a, &[]),
            inner(at, "DequantizeLinear", &[input(1), &ones, input(3)], b, &[attribute("axis", outputs)]),
            inner(at, op, &[a, b], product, &at.node.attribute),
            inner(at, "Cast", &[product], output, &[attribute("to", to)]),
        ],
    )
}

/// A node that one of the file stands for.
fn inner(at: &At, op_type: &str, input: &[&str], output: &str, attribute: &[Attribute]) -> NodeProto {
    NodeProto {
        input: input.iter().map(|&i| i.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: at.name().to_owned(),
        op_type: op_type.to_owned(),
        attribute: attribute.to_vec(),
        domain: String::new(),
    }
}

/// Reads nodes that one of the file stands for; errors name that one.
fn expand(im: &mut Importer, at: &At, nodes: &[NodeProto]) -> Result<()> {
    for node in nodes {
        let named = |e: Error| match e {
            Error::Node { detail, .. } => at.fail(detail),
            other => other,
        };
        nodes::translate(im, &At { node, opset: at.opset }).map_err(named)?;
    }
    Ok(())
}

/// QLinearMatMul and QLinearConv: DequantizeLinear of both operands, the product, and QuantizeLinear, of which
/// [`crate::graph::Model::simplify`] makes an op of int8.
pub(super) fn quantized_product(im: &mut Importer, at: &At) -> Result<()> {
    let node = at.node;
    let conv = node.op_type == "QLinearConv";
    let needed = 8;
    if !(needed..=needed + usize::from(conv)).contains(&node.input.len()) {
        return Err(at.fail(format!("it has {} inputs", node.input.len())));
    }
    let output = at.output()?;
    let names = ["a", "b", "bias", "product"].map(|part| im.reserve_name(&format!("{output}.{part}")));
    let [a, b, bias, product] = &names;
    let input = |i: usize| node.input.get(i).map_or("", String::as_str);
    let axis = |i: i64| Attribute { name: "axis".into(), i: Some(i), ..Attribute::default() };
    let weight_rank = match im.find(at, 3)? {
        Some(Found::Value(id)) => im.model.value(id).shape.len(),
        _ => 0,
    };
    // A scale for each output: a Conv's are its weight's first axis, a matrix's its columns.
    let outputs = if conv { 0 } else { i64::try_from(weight_rank).unwrap_or(1) - 1 };
    let mut nodes = vec![
        inner(at, "DequantizeLinear", &[input(0), input(1), input(2)], a, &[]),
        inner(at, "DequantizeLinear", &[input(3), input(4), input(5)], b, &[axis(outputs)]),
    ];
    let mut operands = vec![a.as_str(), b.as_str()];
    if conv && !input(8).is_empty() {
        let tensor = quantized_bias(im, at)?;
        let id = im.model.add_constant(bias.clone(), tensor)?;
        im.define_as(at, bias, Found::Value(id))?;
        operands.push(bias);
    }
    let op = if conv { "Conv" } else { "MatMul" };
    nodes.push(inner(at, op, &operands, product, &node.attribute));
    nodes.push(inner(at, "QuantizeLinear", &[product, input(6), input(7)], output, &[]));
    expand(im, at, &nodes)
}

/// A bias in int32, of the scale that both operands have together.
fn quantized_bias(im: &Importer, at: &At) -> Result<Tensor> {
    let numbers = |i: usize| im.constant(at, i)?.ok_or_else(|| at.fail(format!("input {i} is missing")));
    let (bias, a, b) = (numbers(8)?, numbers(1)?, numbers(4)?);
    let Data::I32(values) = bias.data() else {
        return Err(at.fail(format!("its bias is of {:?}, not of int32", bias.element())));
    };
    let (a, b) = (a.to_f32(), b.to_f32());
    if a.len() != 1 || (b.len() != 1 && b.len() != values.len()) {
        return Err(at.fail(format!("{} and {} scales for {} outputs", a.len(), b.len(), values.len())));
    }
    let real = |(&q, b): (&i32, &f32)| (f64::from(q) * f64::from(a[0]) * f64::from(*b)) as f32;
    Tensor::f32(bias.shape(), values.iter().zip(b.iter().cycle()).map(real).collect::<Vec<f32>>())
}
