//! What is made of integer accumulators: reals, or int8 again.

use super::{activation, check_len, check_one_or, cycled};
use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::quant::QuantParams;

/// Scales of the two operands of an integer product.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// Of the activations: one, or one for each row.
    pub a: &'a [f32],
    /// Of the weights: one, or one for each column (output channel).
    pub b: &'a [f32],
}

/// What is added to an accumulator before it is requantized.
#[derive(Clone, Copy, Debug, Default)]
pub enum Bias<'a> {
    /// Nothing.
    #[default]
    None,
    /// Reals, one for each column, added in f32 as `bias / (sa * sw)`: FBGEMM, x86 and oneDNN.
    F32(&'a [f32]),
    /// Integers in steps of `sa * sw`, one for each column, added exactly: ONNX Runtime, qnnpack, TFLite.
    I32(&'a [i32]),
}

/// What [`requantize`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantized {
    /// The integers, in the signed domain.
    pub q: Vec<i8>,
    /// What was rounded, in f64 and without the zero point: `real / scale`. Where it is within 1e-4 of a tie, a kernel
    /// may be one step off, since WGSL leaves the direction of f32 rounding open.
    pub exact: Vec<f64>,
}

fn check(op: &'static str, len: usize, columns: usize, scales: &Scales) -> Result<usize> {
    let rows = len.checked_div(columns).unwrap_or(0);
    check_len(op, "acc", len, &[rows, columns])?;
    check_one_or(op, "scales.a", scales.a.len(), &[rows])?;
    check_one_or(op, "scales.b", scales.b.len(), &[columns])?;
    Ok(rows)
}

/// `act(fma(f32(acc), sa * sw, bias))` of accumulators `[rows, columns]`, with `bias [columns]`: the output of a
/// dynamically quantized layer, as FBGEMM rounds it. A kernel may multiply and add apart.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape.
pub fn scale_accumulators(
    acc: &[i32],
    columns: usize,
    scales: Scales,
    bias: Option<&[f32]>,
    act: Activation,
) -> Result<Vec<f32>> {
    let op = "scale accumulators";
    check(op, acc.len(), columns, &scales)?;
    if let Some(bias) = bias {
        check_len(op, "bias", bias.len(), &[columns])?;
    }
    let one = |(i, &acc): (usize, &i32)| {
        let (row, column) = (i / columns, i % columns);
        let scale = cycled(scales.a, row) * cycled(scales.b, column);
        let real = match bias {
            Some(bias) => (acc as f32).mul_add(scale, bias[column]),
            None => acc as f32 * scale,
        };
        activation(real.into(), act) as f32
    };
    Ok(acc.iter().enumerate().map(one).collect())
}

/// The limits of the integers after a fused activation: ReLU is `[z, qmax]`, a clip `[z + rne(lo / s), z + rne(hi / s)]`,
/// both within the parameters' own limits.
pub fn activation_limits(act: Activation, out: &QuantParams) -> (i32, i32) {
    let (qmin, qmax) = (out.qmin(), out.qmax());
    let integer = |x: f32| {
        let q = f64::from((x / out.scale).round_ties_even()) + f64::from(out.zero_point);
        q.clamp(qmin.into(), qmax.into()) as i32
    };
    match act {
        // A function is of the reals, before they are quantized.
        Activation::Identity | Activation::Function(_) => (qmin, qmax),
        Activation::Relu => (out.zero_point, qmax),
        Activation::Clip { lo, hi } => (integer(lo), integer(hi)),
    }
}

/// Accumulators `[rows, columns]` to int8:
/// `clamp(rne((f32(acc) + bias / (sa * sw)) * (sa * sw / sy)) + zy)`, within [`activation_limits`]; the bias is added in
/// f32, or to the accumulator where it is an integer ([`Bias`]). All of it in f32, from left to right. A function is of
/// the reals `f32(acc) * (sa * sw) + bias`, which are divided by `sy` after it.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape; [`Error::Argument`] where an accumulator with its integer bias
/// does not fit an i32.
pub fn requantize(
    acc: &[i32],
    columns: usize,
    scales: Scales,
    bias: Bias,
    act: Activation,
    out: &QuantParams,
) -> Result<Requantized> {
    let op = "requantize";
    check(op, acc.len(), columns, &scales)?;
    match bias {
        Bias::None => {}
        Bias::F32(b) => check_len(op, "bias", b.len(), &[columns])?,
        Bias::I32(b) => check_len(op, "bias", b.len(), &[columns])?,
    }
    let (lo, hi) = activation_limits(act, out);
    let mut result = Requantized { q: Vec::with_capacity(acc.len()), exact: Vec::with_capacity(acc.len()) };
    for (i, &acc) in acc.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let (sa, sb) = (cycled(scales.a, row), cycled(scales.b, column));
        let scale = sa * sb;
        let multiplier = scale / out.scale;
        let (steps, exact_steps) = match bias {
            Bias::None => (acc as f32, f64::from(acc)),
            Bias::F32(b) => {
                let exact = f64::from(b[column]) / (f64::from(sa) * f64::from(sb));
                (acc as f32 + b[column] / scale, f64::from(acc) + exact)
            }
            Bias::I32(b) => {
                let sum = acc.checked_add(b[column]).ok_or_else(|| Error::Argument {
                    op,
                    detail: format!("accumulator {acc} and bias {} do not fit 32 bits", b[column]),
                })?;
                (sum as f32, f64::from(sum))
            }
        };
        let (mut rounded, mut exact) = (steps * multiplier, exact_steps * f64::from(sa) * f64::from(sb));
        if let Activation::Function(_) = act {
            exact = activation(exact, act);
            rounded = (exact / f64::from(out.scale)) as f32;
        }
        // In f64 only to saturate: the product is rounded to an integer before.
        let q = f64::from(rounded.round_ties_even()) + f64::from(out.zero_point);
        // `max` and `min`, since a clip's bounds may be the wrong way round.
        result.q.push(q.max(lo.into()).min(hi.into()) as i8);
        result.exact.push(exact / f64::from(out.scale));
    }
    Ok(result)
}
