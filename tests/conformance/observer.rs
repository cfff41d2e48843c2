//! Observers over batches, and the parameters made of what they saw.

use crate::backend::{Backend, Division};
use crate::compare::rounded;
use crate::harness::{Case, Run, Stop};
use crate::quantize::{measured, parameters, quantized};
use weighbridge::quant::{Observer, QuantParams, Range, Scheme};
use weighbridge::reference::Axis;

/// PyTorch's MinMax and MovingAverage observers, per tensor and per channel: batches `x0`, `x1`, .. in order, the range
/// after each, the parameters at the end, and the last batch quantized with them.
pub fn observer(case: &Case, backend: &dyn Backend) -> Run<()> {
    let observer = match case.number("averaging_constant") {
        Some(constant) => Observer::MovingAverage { constant: constant as f32 },
        None => Observer::MinMax,
    };
    let per_channel = case.text("qscheme").is_some_and(|s| s.starts_with("per_channel"));
    let mut batches = Vec::new();
    for batch in (0..).map_while(|i| case.find(&format!("x{i}"))) {
        let x = batch.f32s()?;
        let axis = if per_channel {
            Axis::of(&batch.shape, case.integer("axis").unwrap_or(0) as usize)?
        } else {
            Axis::tensor(x.len())
        };
        batches.push((x, axis));
    }
    let Some(&(x, axis)) = batches.last() else {
        return Err(Stop::LeftOut("no batches".into()));
    };
    let after = backend.observe(observer, &batches)?;
    // An average is rounded, a minimum is not.
    let exact = backend.exact() || observer == Observer::MinMax;
    let all = |end: fn(&Range) -> f32| after.iter().flatten().map(end).collect::<Vec<_>>();
    rounded("min", exact, &all(|r| r.min), case.get("min_after")?.f32s()?)?;
    rounded("max", exact, &all(|r| r.max), case.get("max_after")?.f32s()?)?;
    let ranges = after.last().map_or(&[][..], Vec::as_slice);

    let shift = if case.text("dtype").is_some_and(|d| d.contains("uint8")) { 128 } else { 0 };
    let limit = |name: &str| case.integer(name).ok_or_else(|| format!("the case has no {name}"));
    let scheme = Scheme {
        qmin: limit("qmin")? as i32 - shift,
        qmax: limit("qmax")? as i32 - shift,
        symmetric: case.text("qscheme").is_some_and(|s| s.ends_with("symmetric")),
        eps: case.number("eps").map_or(f32::EPSILON, |eps| eps as f32),
        ..Scheme::int8_affine()
    };
    let params = backend.params(ranges, &scheme)?;
    parameters(exact, &params, shift, case.get("scale")?.f32s()?, &case.get("zero_point")?.i32s()?)?;
    if let Some(expected) = case.find("q_last") {
        // `torch.quantize_per_channel` knows the type's limits only, not the observer's.
        let wide = |p: &QuantParams| QuantParams::new(p.scale, p.zero_point, -128, 127);
        let params: Vec<QuantParams> = params.iter().map(wide).collect::<Result<_, _>>()?;
        quantized("q_last", backend, x, axis, &params, Division::Reciprocal, &expected.bytes()?)?;
    }
    Ok(())
}

/// `torch._choose_qparams_per_tensor`, which is FBGEMM's rule.
pub fn choose_qparams_dynamic(case: &Case, backend: &dyn Backend) -> Run<()> {
    let x = case.get("x")?.f32s()?;
    let scheme = Scheme::fbgemm_dynamic(case.flag("reduce_range"));
    let params = measured(backend, x, Axis::tensor(x.len()), scheme)?;
    parameters(backend.exact(), &params, 128, case.get("scale")?.f32s()?, &case.get("zero_point")?.i32s()?)
}
