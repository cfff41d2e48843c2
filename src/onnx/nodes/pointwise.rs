//! Functions of one element, or of a few that are broadcast.

use super::super::import::{At, Importer};
use super::super::tensor;
use super::{add, identity, is_float, name, scalar, step, tensor_of};
use crate::error::Result;
use crate::graph::{Activation, BinaryOp, Deferred, Op, Output, UnaryOp, ValueId};
use crate::tensor::Element;
use std::sync::Arc;

/// The function that an operator of one input is.
pub(super) fn function(at: &At) -> Result<Option<UnaryOp>> {
    let alpha = |default: f32| at.float("alpha", default);
    let (function, attributes): (UnaryOp, &[&str]) = match at.node.op_type.as_str() {
        "Abs" => (UnaryOp::Abs, &[]),
        "Neg" => (UnaryOp::Neg, &[]),
        "Sign" => (UnaryOp::Sign, &[]),
        "Floor" => (UnaryOp::Floor, &[]),
        "Ceil" => (UnaryOp::Ceil, &[]),
        "Round" => (UnaryOp::Round, &[]),
        "Reciprocal" => (UnaryOp::Reciprocal, &[]),
        "Sqrt" => (UnaryOp::Sqrt, &[]),
        "Exp" => (UnaryOp::Exp, &[]),
        "Log" => (UnaryOp::Log, &[]),
        "Sin" => (UnaryOp::Sin, &[]),
        "Cos" => (UnaryOp::Cos, &[]),
        "Erf" => (UnaryOp::Erf, &[]),
        "Tanh" => (UnaryOp::Tanh, &[]),
        "Sigmoid" => (UnaryOp::Sigmoid, &[]),
        "HardSigmoid" => {
            (UnaryOp::HardSigmoid { alpha: alpha(0.2), beta: at.float("beta", 0.5) }, &["alpha", "beta"])
        }
        "HardSwish" => (UnaryOp::HardSwish, &[]),
        "Swish" => (UnaryOp::Swish { alpha: alpha(1.0) }, &["alpha"]),
        "Softplus" => (UnaryOp::Softplus, &[]),
        "Mish" => (UnaryOp::Mish, &[]),
        "Gelu" => match at.string("approximate")? {
            "" | "none" => (UnaryOp::Gelu { tanh: false }, &["approximate"]),
            "tanh" => (UnaryOp::Gelu { tanh: true }, &["approximate"]),
            other => return Err(at.fail(format!("approximate `{other}` is not known"))),
        },
        "Elu" => (UnaryOp::Elu { alpha: alpha(1.0) }, &["alpha"]),
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), at.float("gamma", 1.050_701));
            (UnaryOp::Selu { alpha, gamma }, &["alpha", "gamma"])
        }
        "Celu" => (UnaryOp::Celu { alpha: alpha(1.0) }, &["alpha"]),
        "LeakyRelu" => (UnaryOp::LeakyRelu { alpha: alpha(0.01) }, &["alpha"]),
        "Not" => (UnaryOp::Not, &[]),
        "IsNaN" => (UnaryOp::IsNan, &[]),
        "IsInf" => {
            let detect = |name: &str| at.int(name, 1) != 0;
            let (negative, positive) = (detect("detect_negative"), detect("detect_positive"));
            (UnaryOp::IsInf { negative, positive }, &["detect_negative", "detect_positive"])
        }
        _ => return Ok(None),
    };
    at.only(attributes)?;
    Ok(Some(function))
}

pub(super) fn unary(im: &mut Importer, at: &At, function: UnaryOp) -> Result<ValueId> {
    let x = im.value(at, 0)?;
    let element = im.model.value(x).element;
    let fits = match function {
        UnaryOp::Not => element == Element::Bool,
        UnaryOp::Abs | UnaryOp::Neg | UnaryOp::Sign => element != Element::Bool,
        _ => is_float(&im.model, x),
    };
    if !fits {
        return Err(at.fail(format!("of {element:?} it is not supported")));
    }
    im.emit(at, Op::Unary(function), &[x], at.output()?)
}

/// Refuses what would take the integers of a quantized value for reals.
fn refuse_quantized(im: &Importer, at: &At, x: ValueId) -> Result<()> {
    match im.model.value(x).quant {
        Some(_) => Err(at.fail("on the integers of a quantized value it is not supported")),
        None => Ok(()),
    }
}

pub(super) fn relu(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let x = im.value(at, 0)?;
    refuse_quantized(im, at, x)?;
    match im.model.value(x).element {
        Element::I32 | Element::I64 => {
            let zero = scalar(im, at, x, 0.0, "zero")?;
            im.emit(at, Op::Binary(BinaryOp::Max), &[x, zero], at.output()?)
        }
        _ => im.emit(at, Op::Activation(Activation::Relu), &[x], at.output()?),
    }
}

/// With constant bounds an activation, else a maximum and a minimum.
pub(super) fn clip(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["min", "max"])?;
    let x = im.value(at, 0)?;
    refuse_quantized(im, at, x)?;
    let bounds = [im.optional(at, 1)?, im.optional(at, 2)?];
    let wide = matches!(im.model.value(x).element, Element::I32 | Element::I64);
    let known = bounds.iter().flatten().all(|&id| im.model.constant(id).is_some());
    if known && !wide {
        let clip = constant_bounds(im, at, bounds)?;
        return im.emit(at, Op::Activation(clip), &[x], at.output()?);
    }
    let output = at.output()?.to_owned();
    let (lo, hi) = (Op::Binary(BinaryOp::Max), Op::Binary(BinaryOp::Min));
    match bounds {
        [None, None] => identity(im, at),
        [Some(least), None] => im.emit(at, lo, &[x, least], &output),
        [None, Some(most)] => im.emit(at, hi, &[x, most], &output),
        [Some(least), Some(most)] => {
            let raised = step(im, at, lo, &[x, least], "raised")?;
            im.emit(at, hi, &[raised, most], &output)
        }
    }
}

fn constant_bounds(im: &Importer, at: &At, bounds: [Option<ValueId>; 2]) -> Result<Activation> {
    let bound = |i: usize, name: &str, default: f32| match bounds[i].and_then(|id| im.model.constant(id)) {
        None => Ok(at.float(name, default)),
        Some(t) if t.len() == 1 => Ok(t.to_f32()[0]),
        Some(t) => Err(at.fail(format!("bound `{name}` has shape {:?}", t.shape()))),
    };
    let (lo, hi) = (bound(0, "min", f32::NEG_INFINITY)?, bound(1, "max", f32::INFINITY)?);
    match (lo, hi) {
        _ if lo.is_nan() || hi.is_nan() => Err(at.fail(format!("the bounds are {lo} and {hi}"))),
        (f32::NEG_INFINITY, f32::INFINITY) => Ok(Activation::Identity),
        (0.0, f32::INFINITY) => Ok(Activation::Relu),
        _ => Ok(Activation::Clip { lo, hi }),
    }
}

/// The identity where nothing is trained. The second output, where something reads it, is true everywhere.
pub(super) fn dropout(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["ratio", "seed"])?;
    if im.constant(at, 2)?.is_some_and(|t| t.to_f32() != [0.0]) {
        return Err(at.fail("it is in training mode"));
    }
    if let Some(mask) = im.wanted(at, 1) {
        let x = im.value(at, 0)?;
        let all = Deferred::Shape { start: 0, end: None };
        let shape = step(im, at, Op::Deferred(all), &[x], "shape")?;
        let value = Arc::new(tensor_of(at, Element::Bool, 1.0)?.reshape([1])?);
        let kept = im.emit(at, Op::Deferred(Deferred::ConstantOfShape { value }), &[shape], mask)?;
        im.define_value(at, mask, kept)?;
    }
    identity(im, at)
}

/// Both operands of an operator, of one element.
fn operands(im: &mut Importer, at: &At) -> Result<[ValueId; 2]> {
    if at.node.input.len() != 2 {
        return Err(at.fail(format!("it has {} inputs, not 2", at.node.input.len())));
    }
    Ok([im.value(at, 0)?, im.value(at, 1)?])
}

pub(super) fn binary(im: &mut Importer, at: &At) -> Result<ValueId> {
    let op = match at.node.op_type.as_str() {
        "Sub" => BinaryOp::Sub,
        "Div" => BinaryOp::Div,
        "Mod" => BinaryOp::Mod { fmod: at.int("fmod", 0) != 0 },
        "And" => BinaryOp::And,
        "Or" => BinaryOp::Or,
        "Xor" => BinaryOp::Xor,
        "PRelu" => BinaryOp::PRelu,
        "Equal" => BinaryOp::Equal,
        "Greater" => BinaryOp::Greater,
        "GreaterOrEqual" => BinaryOp::GreaterOrEqual,
        "Less" => BinaryOp::Less,
        "LessOrEqual" => BinaryOp::LessOrEqual,
        _ => BinaryOp::Add,
    };
    at.only(if matches!(op, BinaryOp::Mod { .. }) { &["fmod"] } else { &[] })?;
    let [a, b] = operands(im, at)?;
    pair(im, at, op, [a, b], at.output()?)
}

/// `a`, `b`: of truths only what is a function of truths, and no remainder of reals by the rule for integers.
fn pair(im: &mut Importer, at: &At, op: BinaryOp, operands: [ValueId; 2], output: &str) -> Result<ValueId> {
    let element = im.model.value(operands[0]).element;
    let fits = match op {
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => element == Element::Bool,
        BinaryOp::Equal => true,
        BinaryOp::PRelu => !matches!(element, Element::Bool | Element::I8 | Element::U8),
        BinaryOp::Mod { fmod: false } => element != Element::Bool && !is_float(&im.model, operands[0]),
        _ => element != Element::Bool,
    };
    if !fits {
        return Err(at.fail(format!("of {element:?} it is not supported")));
    }
    let op = if op == BinaryOp::Add { add(im, operands[0]) } else { Op::Binary(op) };
    // A sum of int8 wraps around in ONNX, where it is a sum of bytes; of quantized values it would be one of reals.
    operands.iter().try_for_each(|&x| refuse_quantized(im, at, x))?;
    im.emit(at, op, &operands, output)
}

/// Mul of plain values: the scaling of integer products is `integer`'s.
pub(in crate::onnx) fn multiply(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let [a, b] = operands(im, at)?;
    pair(im, at, BinaryOp::Mul, [a, b], at.output()?)
}

/// The result is of the base's type, whatever the exponent's is.
pub(super) fn pow(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let [base, exponent] = operands(im, at)?;
    let element = |im: &Importer, id: ValueId| im.model.value(id).element;
    let (of_base, of_exponent) = (element(im, base), element(im, exponent));
    if of_base == of_exponent {
        return pair(im, at, BinaryOp::Pow, [base, exponent], at.output()?);
    }
    let cast = |im: &mut Importer, x: ValueId, element: Element, name: &str| {
        im.emit_as(at, Op::Cast, &[x], Output { name: name.into(), element, quant: None })
    };
    let exponent_name = name(im, at, "exponent")?;
    if is_float(&im.model, base) || !is_float(&im.model, exponent) {
        let exponent = cast(im, exponent, of_base, &exponent_name)?;
        return pair(im, at, BinaryOp::Pow, [base, exponent], at.output()?);
    }
    // An integer to the power of a real: a real, of which the whole part is kept.
    let base_name = name(im, at, "base")?;
    let base = cast(im, base, Element::F32, &base_name)?;
    let exponent = match of_exponent {
        Element::F32 => exponent,
        _ => cast(im, exponent, Element::F32, &exponent_name)?,
    };
    let power_name = name(im, at, "power")?;
    let power = pair(im, at, BinaryOp::Pow, [base, exponent], &power_name)?;
    cast(im, power, of_base, at.output()?)
}

/// Min, Max, Sum and Mean of any number of inputs, two at a time.
pub(super) fn variadic(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let op = match at.node.op_type.as_str() {
        "Min" => BinaryOp::Min,
        "Max" => BinaryOp::Max,
        _ => BinaryOp::Add,
    };
    let count = at.node.input.len();
    let mean = at.node.op_type == "Mean" && count > 1;
    if count == 1 {
        return identity(im, at);
    }
    let mut result = im.value(at, 0)?;
    for i in 1..count {
        let next = im.value(at, i)?;
        let last = i + 1 == count && !mean;
        let name = if last { at.output()?.to_owned() } else { name(im, at, &format!("of_{}", i + 1))? };
        result = pair(im, at, op, [result, next], &name)?;
    }
    if mean {
        let n = scalar(im, at, result, count as f32, "count")?;
        result = pair(im, at, BinaryOp::Div, [result, n], at.output()?)?;
    }
    Ok(result)
}

pub(super) fn choose(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let operands = [im.value(at, 0)?, im.value(at, 1)?, im.value(at, 2)?];
    im.emit(at, Op::Where, &operands, at.output()?)
}

/// The element of an ONNX data type, for a Cast.
pub(in crate::onnx) fn casts_to(at: &At) -> Result<Element> {
    let to = at.int("to", 0);
    i32::try_from(to)
        .ok()
        .and_then(tensor::element)
        .ok_or_else(|| at.fail(format!("data type {to} is not supported")))
}

/// The first input in the second's type.
pub(super) fn cast_like(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["saturate", "round_mode"])?;
    let [x, like] = operands(im, at)?;
    let to = im.model.value(like).element;
    cast(im, at, x, to)
}

pub(in crate::onnx) fn cast(im: &mut Importer, at: &At, x: ValueId, to: Element) -> Result<ValueId> {
    refuse_quantized(im, at, x)?;
    let op = if im.model.value(x).element == to { Op::Activation(Activation::Identity) } else { Op::Cast };
    im.emit_as(at, op, &[x], Output { name: at.output()?.into(), element: to, quant: None })
}

/// `a / (1 + e^(-alpha a)) * b`.
pub(super) fn swiglu(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["alpha"])?;
    let [a, b] = operands(im, at)?;
    if !is_float(&im.model, a) {
        return Err(at.fail(format!("of {:?} it is not supported", im.model.value(a).element)));
    }
    let gate = step(im, at, Op::Unary(UnaryOp::Swish { alpha: at.float("alpha", 1.0) }), &[a], "gate")?;
    pair(im, at, BinaryOp::Mul, [gate, b], at.output()?)
}
