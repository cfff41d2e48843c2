//! From a node of the file to nodes of a model: a function for each operator, a room for each family.

mod constants;
mod movement;
mod normalize;
mod pointwise;
mod product;
mod reduce;
mod resize;
mod window;

pub(super) use pointwise::{cast, casts_to, multiply};
pub(super) use window::{groups, window, window_over};

use super::import::{At, Found, Importer};
use super::integer;
use crate::error::Result;
use crate::graph::{Activation, BinaryOp, Dim, Model, Op, ValueId, passes};
use crate::tensor::{Data, Element, Tensor};

pub(super) fn translate(im: &mut Importer, at: &At) -> Result<()> {
    let id = match at.node.op_type.as_str() {
        "Conv" => window::conv(im, at)?,
        "ConvTranspose" => window::conv_transpose(im, at)?,
        "MaxPool" | "AveragePool" => window::pool(im, at)?,
        "GlobalAveragePool" | "GlobalMaxPool" => window::global_pool(im, at)?,
        "Gemm" => product::gemm(im, at)?,
        "MatMul" => product::matmul(im, at)?,

        "BatchNormalization" => normalize::batch_normalization(im, at)?,
        "LayerNormalization" | "RMSNormalization" => normalize::layer_normalization(im, at)?,
        "InstanceNormalization" | "GroupNormalization" => normalize::group_normalization(im, at)?,
        "MeanVarianceNormalization" => normalize::mean_variance(im, at)?,

        "Relu" => pointwise::relu(im, at)?,
        "Clip" => pointwise::clip(im, at)?,
        "Identity" => {
            at.only(&[])?;
            identity(im, at)?
        }
        "Dropout" => pointwise::dropout(im, at)?,
        "Add" | "Sub" | "Div" | "Mod" | "And" | "Or" | "Xor" | "PRelu" | "Equal" | "Greater"
        | "GreaterOrEqual" | "Less" | "LessOrEqual" => pointwise::binary(im, at)?,
        "Pow" => pointwise::pow(im, at)?,
        "Min" | "Max" | "Sum" | "Mean" => pointwise::variadic(im, at)?,
        "Where" => pointwise::choose(im, at)?,
        "SwiGLU" => pointwise::swiglu(im, at)?,
        "CastLike" => pointwise::cast_like(im, at)?,

        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => reduce::reduce(im, at)?,
        "ArgMax" | "ArgMin" => reduce::arg_reduce(im, at)?,
        "CumSum" => reduce::cumulative_sum(im, at)?,
        "Softmax" | "LogSoftmax" => reduce::softmax(im, at)?,

        "Flatten" => movement::flatten(im, at)?,
        "Reshape" => movement::reshape(im, at)?,
        "Transpose" => movement::transpose(im, at)?,
        "Squeeze" => movement::squeeze(im, at)?,
        "Unsqueeze" => movement::unsqueeze(im, at)?,
        "Gather" => movement::gather(im, at)?,
        "Concat" => movement::concat(im, at)?,
        "Slice" => movement::slice(im, at)?,
        "Split" => return movement::split(im, at),
        "Pad" => movement::pad(im, at)?,
        "Expand" | "Tile" => movement::repeat(im, at)?,
        "Trilu" => movement::triangle(im, at)?,
        "Resize" => resize::resize(im, at)?,

        "Constant" => constants::constant(im, at)?,
        "ConstantOfShape" => constants::constant_of_shape(im, at)?,
        "Range" => constants::range(im, at)?,
        "Shape" | "Size" => constants::shape(im, at)?,

        "QLinearMatMul" | "QLinearConv" => return integer::quantized_product(im, at),
        "Cast"
        | "Mul"
        | "QuantizeLinear"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "MatMulInteger"
        | "ConvInteger" => return integer::translate(im, at),
        _ => match pointwise::function(at)? {
            Some(function) => pointwise::unary(im, at, function)?,
            None => return Err(at.fail("this operator is not supported")),
        },
    };
    im.define(at, Found::Value(id))
}

fn rank(model: &Model, id: ValueId) -> usize {
    model.value(id).shape.len()
}

fn is_float(model: &Model, id: ValueId) -> bool {
    matches!(model.value(id).element, Element::F32 | Element::F16)
}

/// A name for what a node makes on the way to its output.
fn name(im: &Importer, at: &At, part: &str) -> Result<String> {
    Ok(im.free_name(&format!("{}.{part}", at.output()?)))
}

/// The first input as the first output.
fn identity(im: &mut Importer, at: &At) -> Result<ValueId> {
    let x = im.value(at, 0)?;
    im.emit(at, Op::Activation(Activation::Identity), &[x], at.output()?)
}

/// An axis of a shape of `rank` dimensions; negative ones count from the end.
pub(super) fn axis(at: &At, axis: i64, rank: usize) -> Result<usize> {
    let n = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_end = if axis < 0 { axis.checked_add(n) } else { Some(axis) };
    let found = from_end.filter(|&a| a < n).and_then(|a| usize::try_from(a).ok());
    found.ok_or_else(|| at.fail(format!("axis {axis} of {rank} dimensions")))
}

/// Axes in order, each once.
fn sorted_axes(at: &At, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut sorted = axes.iter().map(|&a| axis(at, a, rank)).collect::<Result<Vec<_>>>()?;
    sorted.sort_unstable();
    match sorted.windows(2).find(|w| w[0] == w[1]) {
        Some(twice) => Err(at.fail(format!("axes {axes:?} name axis {} twice", twice[0]))),
        None => Ok(sorted),
    }
}

/// Numbers that an operator takes as an input.
enum Numbers {
    /// The input is left out.
    Absent,
    /// They are in the file.
    Known(Vec<i64>),
    /// They are known when the model is run.
    Open(ValueId),
}

fn numbers(im: &mut Importer, at: &At, i: usize) -> Result<Numbers> {
    let Some(id) = im.optional(at, i)? else { return Ok(Numbers::Absent) };
    match im.model.constant(id).map(Tensor::data) {
        Some(Data::I64(v)) => Ok(Numbers::Known(v.clone())),
        Some(Data::I32(v)) => Ok(Numbers::Known(v.iter().map(|&v| v.into()).collect())),
        Some(_) => Err(at.fail(format!("input {i} is of {:?}, not of integers", im.model.value(id).element))),
        None => Ok(Numbers::Open(id)),
    }
}

/// One number of any element.
fn tensor_of(at: &At, element: Element, x: f32) -> Result<Tensor> {
    let data = match element {
        Element::I8 => Data::I8(vec![x as i8]),
        Element::U8 => Data::U8(vec![x as u8]),
        Element::I32 => Data::I32(vec![x as i32]),
        Element::I64 => Data::I64(vec![x as i64]),
        Element::Bool => Data::Bool(vec![x != 0.0]),
        float => {
            let tensor = passes::floats(float, &[], vec![x]);
            return tensor.ok_or_else(|| at.fail(format!("a number of {float:?} is not supported")));
        }
    };
    Tensor::new([], data)
}

/// A constant that is one number, of the element of `like`.
fn scalar(im: &mut Importer, at: &At, like: ValueId, x: f32, part: &str) -> Result<ValueId> {
    let tensor = tensor_of(at, im.model.value(like).element, x)?;
    let name = name(im, at, part)?;
    im.model.add_constant(name, tensor)
}

/// A constant of integers.
fn longs(im: &mut Importer, at: &At, values: Vec<i64>, part: &str) -> Result<ValueId> {
    let name = name(im, at, part)?;
    im.model.add_constant(name, Tensor::new([values.len()], Data::I64(values))?)
}

/// A sum: of floats, or of integers that wrap around.
fn add(im: &Importer, a: ValueId) -> Op {
    if is_float(&im.model, a) {
        Op::Add { activation: Activation::Identity }
    } else {
        Op::Binary(BinaryOp::Add)
    }
}

/// Two operands of one op, on the way to the output.
fn step(im: &mut Importer, at: &At, op: Op, inputs: &[ValueId], part: &str) -> Result<ValueId> {
    let name = name(im, at, part)?;
    im.emit(at, op, inputs, &name)
}

/// A shape that is known but for at most one dimension, as a Reshape's target.
fn as_target(shape: &[Dim]) -> Option<Vec<i64>> {
    let open = shape.iter().filter(|d| d.fixed().is_none()).count();
    // Beside a 0, nothing can be inferred; and a target's 0 means another thing.
    if open > 1 || shape.contains(&Dim::Fixed(0)) {
        return None;
    }
    shape.iter().map(|d| d.fixed().map_or(Some(-1), |n| i64::try_from(n).ok())).collect()
}
