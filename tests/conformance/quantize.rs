//! Quantize and dequantize with given parameters, per tensor, channel, token and block.

use crate::backend::{Backend, Division};
use crate::common::npz::Array;
use crate::compare::{each, near_ties, quantize_slack, rounded};
use crate::harness::{Case, Run, Stop};
use weighbridge::quant::{QuantParams, Range, Scheme};
use weighbridge::reference::Axis;

/// Parameters from scales and zero points (either may be the only one) in the domain of the integers, shifted by 128
/// where those are unsigned.
pub fn params(scales: &[f32], zeros: &[i32], shift: i32, limits: (i32, i32)) -> Run<Vec<QuantParams>> {
    let at = |i: usize| (scales[i % scales.len()], zeros[i % zeros.len()]);
    (0..scales.len().max(zeros.len()))
        .map(|i| {
            let (scale, zero) = at(i);
            Ok(QuantParams::new(scale, zero - shift, limits.0 - shift, limits.1 - shift)?)
        })
        .collect()
}

/// The whole range of the integers' type.
pub fn full(shift: i32) -> (i32, i32) {
    (shift - 128, shift + 127)
}

/// Quantizes and compares, ties apart.
pub fn quantized(
    what: &str,
    backend: &dyn Backend,
    x: &[f32],
    axis: Axis,
    params: &[QuantParams],
    division: Division,
    expected: &[i8],
) -> Run<()> {
    let got = backend.quantize(x, axis, params, division)?;
    let step = |i: usize| params[axis.channel(i) % params.len()].scale;
    let steps = |i: usize| f64::from(x[i]) / f64::from(step(i));
    near_ties(what, backend.exact(), &got, expected, steps, quantize_slack)
}

/// Dequantizes and compares: one product, so to the last bit but for the direction of its rounding.
pub fn dequantized(
    what: &str,
    backend: &dyn Backend,
    q: &[i8],
    axis: Axis,
    params: &[QuantParams],
    expected: &[f32],
) -> Run<()> {
    let got = backend.dequantize(q, axis, params)?;
    each(what, &got, expected, |_, a, b| match backend.exact() {
        true => a != b,
        false => a.is_nan() || (a - b).abs() > b.abs() * f32::EPSILON,
    })
}

/// The expected integers, all that can be derived from them, and the axis of the parameters.
fn given(
    case: &Case,
    backend: &dyn Backend,
    axis: Axis,
    params: &[QuantParams],
    names: (&str, Division),
) -> Run<()> {
    let x = case.get("x")?.f32s()?;
    let q = case.get(names.0)?.bytes()?;
    quantized(names.0, backend, x, axis, params, names.1, &q)?;
    for name in ["dq", "fake_quant"] {
        if let Some(expected) = case.find(name) {
            dequantized(name, backend, &q, axis, params, expected.f32s()?)?;
        }
    }
    Ok(())
}

fn limits(case: &Case, shift: i32) -> (i32, i32) {
    match (case.integer("qmin"), case.integer("qmax")) {
        (Some(qmin), Some(qmax)) => (qmin as i32, qmax as i32),
        _ => full(shift),
    }
}

/// `torch.quantize_per_tensor`; also one scale for each element, with the same by division (`q_div`).
pub fn per_tensor(case: &Case, backend: &dyn Backend) -> Run<()> {
    let x = case.get("x")?;
    let shift = case.get("q")?.shift();
    let zeros = match case.find("zero_point").or(case.find("zero_points")) {
        Some(zeros) => zeros.i32s()?,
        None => vec![case.integer("zero_point").unwrap_or(0) as i32],
    };
    let scales = case.find("scale").map_or_else(|| case.get("scales"), Ok)?.f32s()?;
    let params = params(scales, &zeros, shift, limits(case, shift))?;
    let len = x.f32s()?.len();
    let axis =
        if params.len() == 1 { Axis::tensor(len) } else { Axis::rows(params.len(), len / params.len()) };
    given(case, backend, axis, &params, ("q", Division::Reciprocal))?;
    if case.find("q_div").is_some() {
        given(case, backend, axis, &params, ("q_div", Division::True))?;
    }
    Ok(())
}

/// `torch.quantize_per_channel`.
pub fn per_channel(case: &Case, backend: &dyn Backend) -> Run<()> {
    let shift = case.get("q")?.shift();
    let (scales, zeros) = (case.get("scales")?.f32s()?, case.get("zero_points")?.i32s()?);
    let params = params(scales, &zeros, shift, limits(case, shift))?;
    let axis = axis_of(case, &case.get("x")?.shape)?;
    given(case, backend, axis, &params, ("q", Division::Reciprocal))
}

/// The axis of the case's parameters, counted from the end where it is negative.
fn axis_of(case: &Case, shape: &[usize]) -> Run<Axis> {
    let axis = case.integer("axis").unwrap_or(0);
    let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
    Ok(Axis::of(shape, axis as usize)?)
}

/// How the parameters of ONNX's QuantizeLinear and DequantizeLinear lie over a tensor: per tensor, axis, or block, for
/// which they are repeated.
pub fn linear_axis(
    case: &Case,
    shape: &[usize],
    scale_shape: &[usize],
    params: Vec<QuantParams>,
) -> Run<(Axis, Vec<QuantParams>)> {
    if let Some(block) = case.integer("block_size").filter(|&b| b > 0) {
        let axis = case.integer("axis").unwrap_or(1);
        let axis = if axis < 0 { axis + shape.len() as i64 } else { axis } as usize;
        let params = blocks(&params, scale_shape, shape, axis, block as usize);
        return Ok((Axis::rows(params.len(), 1), params));
    }
    let axis = match params.len() {
        1 => Axis::tensor(shape.iter().product()),
        _ => axis_of(case, shape)?,
    };
    Ok((axis, params))
}

/// ONNX `QuantizeLinear` and `DequantizeLinear`: per tensor, axis, or block.
pub fn quantize_linear(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (x, scale) = (case.get("x")?, case.get("scale")?);
    let shift = case.get("y")?.shift();
    let zeros = case.find("zero_point").map_or(Ok(vec![0]), Array::i32s)?;
    let params = params(scale.f32s()?, &zeros, shift, full(shift))?;
    let (axis, params) = linear_axis(case, &x.shape, &scale.shape, params)?;
    given(case, backend, axis, &params, ("y", Division::True))
}

/// One set of parameters for each element, from one for each block of an axis.
fn blocks(
    params: &[QuantParams],
    of: &[usize],
    shape: &[usize],
    axis: usize,
    block: usize,
) -> Vec<QuantParams> {
    let inner: usize = shape[axis + 1..].iter().product();
    let element = |i: usize| {
        let (outer, along) = (i / (inner * shape[axis]), i / inner % shape[axis]);
        params[(outer * of[axis] + along / block) * inner + i % inner]
    };
    (0..shape.iter().product()).map(element).collect()
}

/// The ranges of `axis`'s channels and the parameters that `scheme` makes of them, both as the backend finds them.
pub fn measured(backend: &dyn Backend, x: &[f32], axis: Axis, scheme: Scheme) -> Run<Vec<QuantParams>> {
    let ranges: Vec<Range> = backend.minmax(x, axis)?.iter().map(|e| e.range).collect();
    backend.params(&ranges, &scheme)
}

/// Compares scales and zero points, the latter in the domain of the fixture: 128 higher for unsigned integers. Where
/// something before was rounded otherwise (not `exact`), a scale may be too, and a zero point be one off.
pub fn parameters(exact: bool, got: &[QuantParams], shift: i32, scales: &[f32], zeros: &[i32]) -> Run<()> {
    rounded("scale", exact, &got.iter().map(|p| p.scale).collect::<Vec<_>>(), scales)?;
    let found: Vec<i32> = got.iter().map(|p| p.zero_point + shift).collect();
    each("zero point", &found, zeros, |_, a, b| a.abs_diff(b) > u32::from(!exact))
}

/// ONNX `DynamicQuantizeLinear`.
pub fn dynamic_quantize_linear(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (x, y) = (case.get("x")?.f32s()?, case.get("y")?);
    let axis = Axis::tensor(x.len());
    let params = measured(backend, x, axis, Scheme::onnx_dynamic())?;
    parameters(true, &params, y.shift(), case.get("y_scale")?.f32s()?, &case.get("y_zero_point")?.i32s()?)?;
    quantized("y", backend, x, axis, &params, Division::True, &y.bytes()?)
}

/// PyTorch's pt2e per-token quantization, symmetric and not.
pub fn per_token(case: &Case, backend: &dyn Backend) -> Run<()> {
    let x = case.get("x")?;
    let columns = x.shape.last().copied().unwrap_or(1);
    let rows = x.shape.iter().rev().skip(1).product();
    let (x, axis) = (x.f32s()?, Axis::rows(rows, columns));
    let schemes = [("sym", Scheme::per_token_symmetric()), ("asym", Scheme::per_token_affine())];
    let mut checked = false;
    for (prefix, scheme) in schemes {
        let name = |suffix: &str| format!("{prefix}_{suffix}");
        let Some(scale) = case.find(&name("scale")) else { continue };
        let params = measured(backend, x, axis, scheme)?;
        let scale: Vec<f32> = scale.f64s()?.iter().map(|&s| s as f32).collect();
        parameters(true, &params, 0, &scale, &case.get(&name("zero_point"))?.i32s()?)?;
        let q = case.get(&name("q"))?.bytes()?;
        quantized(&name("q"), backend, x, axis, &params, Division::Reciprocal, &q)?;
        if let Some(expected) = case.find(&name("dq")) {
            dequantized(&name("dq"), backend, &q, axis, &params, expected.f32s()?)?;
        }
        checked = true;
    }
    if checked { Ok(()) } else { Err(Stop::LeftOut("neither symmetric nor asymmetric".into())) }
}
