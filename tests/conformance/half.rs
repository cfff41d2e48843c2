//! Half precision: conversions bit by bit, and products within their bound.

use crate::backend::{Backend, GemmF16};
use crate::common::npz::{Array, Values};
use crate::compare::each;
use crate::harness::{Case, Run, Stop};
use ::half::f16;
use weighbridge::graph::Activation;
use weighbridge::reference::{self, BLayout, Gemm, Storage};

fn f16_bits(array: &Array) -> Run<Vec<f16>> {
    match &array.values {
        Values::U16(bits) => Ok(bits.iter().map(|&b| f16::from_bits(b)).collect()),
        Values::F16(values) => Ok(values.clone()),
        other => Err(Stop::Failed(format!("expected the bits of f16, found {other:?}"))),
    }
}

fn f32_bits(array: &Array) -> Run<Vec<f32>> {
    match &array.values {
        Values::U32(bits) => Ok(bits.iter().map(|&b| f32::from_bits(b)).collect()),
        Values::F32(values) => Ok(values.clone()),
        other => Err(Stop::Failed(format!("expected the bits of f32, found {other:?}"))),
    }
}

/// f32 to f16; and back, exactly, where the f32 is one of f16's values. NaN stays NaN; which one is not fixed.
///
/// A backend that does not round as a CPU may be one f16 away, flush subnormals, and clamp what overflows.
pub fn convert(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (full, half) = (f32_bits(case.get("f32_bits")?)?, f16_bits(case.get("f16_bits")?)?);
    let flushed = |got: f64, expected: f64| {
        !backend.exact() && got == 0.0 && expected.abs() < f16::MIN_POSITIVE.to_f64()
    };
    each("f16", &backend.narrow(&full)?, &half, |_, a, b| {
        // Neighbours of one sign have neighbouring bits: zero and the subnormals, the largest and infinity too.
        let neighbours = !backend.exact() && a.to_bits().abs_diff(b.to_bits()) == 1 && !a.is_nan();
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        !(same || neighbours || flushed(a.to_f64(), b.to_f64()))
    })?;
    each("f32", &backend.widen(&half)?, &full, |i, a, b| {
        let representable = b.is_nan() || half[i].to_f64() == f64::from(b);
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        representable && !(same || flushed(a.into(), b.into()))
    })
}

/// `a [m, k]` by `b [k, n]`, summed in f32 or wider and stored as f16.
pub fn matmul(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (a, b) = (case.get("a")?, case.get("b")?);
    let (&[m, k], &[_, n]) = (&a.shape[..], &b.shape[..]) else {
        return Err(Stop::LeftOut(format!("operands of shapes {:?} and {:?}", a.shape, b.shape)));
    };
    let (a, b) = (a.f16s()?, b.f16s()?);
    let got = backend.gemm_f16(&GemmF16 { m, n, k, a, b, layout: BLayout::Kn })?;
    let args = Gemm {
        batch: 1,
        m,
        n,
        k,
        a: &reference::from_f16(a),
        b: &reference::from_f16(b),
        layout: BLayout::Kn,
        bias: None,
        activation: Activation::Identity,
    };
    let bound = reference::gemm_bound(&args, Storage::F16)?;
    let exact = case.get("y_f64")?.f64s()?;
    let signal = exact.iter().fold(0f64, |m, y| m.max(y.abs()));
    let widest = bound.iter().fold(0f64, |m, &b| m.max(b));
    if widest > 0.05 * signal && signal > 0.0 {
        return Err(Stop::Failed(format!("the bound {widest} says little of results up to {signal}")));
    }
    let off = |i: usize, y: f16, expected: f64| {
        // Beyond the largest f16 a result may be infinite or clamped.
        let overflows = expected.abs() + bound[i] >= 65504.0 && y.to_f64().abs() >= 65504.0 - bound[i];
        let error = (y.to_f64() - expected).abs();
        !overflows && (error.is_nan() || error > bound[i])
    };
    each("y_f64", &got, &exact, off)?;
    if let Some(torch) = case.find("y_torch_f16") {
        each("y_torch_f16", &got, &torch.f64s()?, |i, y, t| off(i, y, t) && y.to_f64() != t)?;
    }
    Ok(())
}
