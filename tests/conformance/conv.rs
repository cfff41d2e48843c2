//! Integer convolutions. The fixtures are channels-first and are transposed here.

use crate::backend::{Backend, Division, Requantize};
use crate::common::npz::Array;
use crate::compare::{equal, near_ties, requantize_slack};
use crate::harness::{Case, Run, Stop};
use crate::linear::{activation, weights, zero_points};
use crate::quantize::{full, params, quantized};
use weighbridge::graph::{Activation, Window};
use weighbridge::reference::{self, Axis, Bias, ConvI8, ConvShape, Scales};

/// `[n, c, h, w]` to `[n, h, w, c]`, or `[o, i, kh, kw]` to `[o, kh, kw, i]`.
fn channels_last<T: Copy>(values: &[T], [n, c, h, w]: [usize; 4]) -> Vec<T> {
    let at = |i: usize| {
        let (channel, x, y, n) = (i % c, i / c % w, i / (c * w) % h, i / (c * w * h));
        values[((n * c + channel) * h + y) * w + x]
    };
    (0..n * c * h * w).map(at).collect()
}

fn four(array: &Array) -> Run<[usize; 4]> {
    let shape = array.shape.as_slice();
    shape.try_into().map_err(|_| Stop::LeftOut(format!("shape {shape:?} is not a 2-D convolution's")))
}

fn bytes_last(array: &Array) -> Run<Vec<i8>> {
    Ok(channels_last(&array.bytes()?, four(array)?))
}

/// A parameter that is one number for both directions, or one for each, or (pads) begins and then ends.
fn pairs(case: &Case, names: [&str; 2], default: usize) -> Run<[[usize; 2]; 2]> {
    let value = names.iter().map(|name| &case.params[name]).find(|v| !v.is_null());
    let Some(value) = value else { return Ok([[default; 2]; 2]) };
    let numbers: Option<Vec<usize>> = match value.as_array() {
        Some(list) => list.iter().map(|v| v.as_u64().map(|v| v as usize)).collect(),
        None => value.as_u64().map(|v| vec![v as usize]),
    };
    match numbers.as_deref() {
        Some([all]) => Ok([[*all; 2]; 2]),
        Some([h, w]) => Ok([[*h, *w]; 2]),
        Some([top, left, bottom, right]) => Ok([[*top, *left], [*bottom, *right]]),
        _ => Err(Stop::Failed(format!("{names:?} is {value}"))),
    }
}

fn shape(case: &Case, x: &Array, w: &Array) -> Run<ConvShape> {
    let ([batch, channels, height, width], [outputs, _, kh, kw]) = (four(x)?, four(w)?);
    let [pad_begin, pad_end] = pairs(case, ["padding", "pad"], 0)?;
    let groups = case.integer("groups").or(case.integer("group")).unwrap_or(1);
    let window = Window {
        kernel: [kh, kw],
        stride: pairs(case, ["stride", "strides"], 1)?[0],
        pad_begin,
        pad_end,
        dilation: pairs(case, ["dilation", "dilations"], 1)?[0],
        ceil: false,
    };
    Ok(ConvShape { batch, image: [height, width], channels, outputs, groups: groups as usize, window })
}

fn only(zeros: &[i32]) -> Run<i32> {
    match zeros {
        [zero] => Ok(*zero),
        other => Err(Stop::Failed(format!("x has {} zero points, expected 1", other.len()))),
    }
}

fn requantized(
    backend: &dyn Backend,
    args: &ConvI8,
    epilogue: &Requantize,
    name: &str,
    y: &Array,
) -> Run<()> {
    let exact = epilogue.reference(&reference::conv2d_i8(args)?, args.shape.outputs)?.exact;
    let got = backend.conv_i8_requantize(args, epilogue)?;
    near_ties(name, backend.exact(), &got, &bytes_last(y)?, |i| exact[i], requantize_slack)
}

/// `torch.ops.quantized.conv2d` and `conv2d_relu`, by oneDNN: FBGEMM's depthwise kernel saturates 16-bit pairs.
pub fn static_conv2d(case: &Case, backend: &dyn Backend) -> Run<()> {
    weights(case, backend)?;
    let (x, w, y) = (case.get("x_q")?, case.get("w_q")?, case.get("y_q_onednn")?);
    let x_scale = case.scalar("x_scale")?;
    let x_params = params(&[x_scale], &case.get("x_zero_point")?.i32s()?, x.shift(), full(x.shift()))?;
    if let Some(real) = case.find("x") {
        let (real, q) = (real.f32s()?, x.bytes()?);
        quantized("x_q", backend, real, Axis::tensor(real.len()), &x_params, Division::Reciprocal, &q)?;
    }
    let args = ConvI8 {
        shape: shape(case, x, w)?,
        x: &bytes_last(x)?,
        weight: &bytes_last(w)?,
        x_zero_point: x_params[0].zero_point,
        weight_zero_point: &zero_points(case, "w_zero_point", w)?,
    };
    let y_zero = case.get("y_zero_point")?.i32s()?;
    let epilogue = Requantize {
        scales: Scales { a: &[x_scale], b: case.get("w_scale")?.f32s()? },
        bias: case.find("bias").map(Array::f32s).transpose()?.map_or(Bias::None, Bias::F32),
        activation: activation(case),
        out: params(&[case.scalar("y_scale")?], &y_zero, y.shift(), full(y.shift()))?[0],
    };
    requantized(backend, &args, &epilogue, "y_q_onednn", y)
}

/// ONNX `QLinearConv`.
pub fn qlinear_conv(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (x, w, y) = (case.get("x")?, case.get("w")?, case.get("y")?);
    let args = ConvI8 {
        shape: shape(case, x, w)?,
        x: &bytes_last(x)?,
        weight: &bytes_last(w)?,
        x_zero_point: only(&zero_points(case, "x_zero_point", x)?)?,
        weight_zero_point: &zero_points(case, "w_zero_point", w)?,
    };
    let bias = case.find("bias").map(Array::i32s).transpose()?;
    let y_zero = case.get("y_zero_point")?.i32s()?;
    let epilogue = Requantize {
        scales: Scales { a: case.get("x_scale")?.f32s()?, b: case.get("w_scale")?.f32s()? },
        bias: bias.as_deref().map_or(Bias::None, Bias::I32),
        activation: Activation::Identity,
        out: params(&[case.scalar("y_scale")?], &y_zero, y.shift(), full(y.shift()))?[0],
    };
    requantized(backend, &args, &epilogue, "y", y)
}

/// ONNX `ConvInteger`.
pub fn conv_integer(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (x, w, y) = (case.get("x")?, case.get("w")?, case.get("y")?);
    let args = ConvI8 {
        shape: shape(case, x, w)?,
        x: &bytes_last(x)?,
        weight: &bytes_last(w)?,
        x_zero_point: only(&zero_points(case, "x_zero_point", x)?)?,
        weight_zero_point: &zero_points(case, "w_zero_point", w)?,
    };
    equal("y", &backend.conv_i8(&args)?, &channels_last(&y.i32s()?, four(y)?))
}
