//! Between reals and int8.

use super::{Axis, check_len, check_one_or, cycled};
use crate::error::Result;
use crate::quant::QuantParams;

/// Rounds a value in steps to the nearest integer, ties to even, and adds the zero point after that, as an integer:
/// adding it before would move every tie where it is odd. In f64, where neither the sum nor an infinity can wrap.
fn to_i8(steps: f32, p: &QuantParams) -> i8 {
    if steps.is_nan() {
        return p.zero_point as i8;
    }
    let q = f64::from(steps.round_ties_even()) + f64::from(p.zero_point);
    q.clamp(p.qmin().into(), p.qmax().into()) as i8
}

fn map<T: Copy, U>(
    op: &'static str,
    x: &[T],
    axis: Axis,
    params: &[QuantParams],
    f: impl Fn(T, &QuantParams) -> U,
) -> Result<Vec<U>> {
    check_len(op, "x", x.len(), &axis.shape())?;
    check_one_or(op, "params", params.len(), &[axis.channels])?;
    Ok(x.iter().enumerate().map(|(i, &x)| f(x, &cycled(params, axis.channel(i)))).collect())
}

/// `sat(rne(x * inv_scale) + zero_point)`: PyTorch and FBGEMM, which multiply by the reciprocal rounded once.
///
/// `x [outer, channels, inner]`; `params` has one element, or one for each channel. An infinity saturates, NaN gives
/// the zero point.
///
/// # Errors
/// [`crate::Error::Shape`] where `x` or `params` has another length.
pub fn quantize(x: &[f32], axis: Axis, params: &[QuantParams]) -> Result<Vec<i8>> {
    map("quantize", x, axis, params, |x, p| to_i8(x * p.inv_scale, p))
}

/// `sat(rne(x / scale) + zero_point)`: ONNX `QuantizeLinear`. Differs from [`quantize`] by one, near ties only.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_divide(x: &[f32], axis: Axis, params: &[QuantParams]) -> Result<Vec<i8>> {
    map("quantize", x, axis, params, |x, p| to_i8(x / p.scale, p))
}

/// `f32(q - zero_point) * scale`, with shapes as in [`quantize`].
///
/// # Errors
/// As [`quantize`].
pub fn dequantize(q: &[i8], axis: Axis, params: &[QuantParams]) -> Result<Vec<f32>> {
    map("dequantize", q, axis, params, |q, p| (i32::from(q) - p.zero_point) as f32 * p.scale)
}
