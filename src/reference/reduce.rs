//! Reductions along axes, and what is normalized along them: floats in f64 and rounded once, integers in i64 and
//! wrapped.

use crate::error::{Error, Result};
use crate::graph::ReduceOp;
use crate::tensor::{Data, Element, Tensor};
use half::f16;

/// Elements widened, floats and integers apart.
enum Wide {
    Float(Vec<f64>),
    Int(Vec<i64>),
}

fn widen(x: &Tensor) -> Wide {
    match x.data() {
        Data::F32(v) => Wide::Float(v.iter().map(|&x| x.into()).collect()),
        Data::F16(v) => Wide::Float(v.iter().map(|x| x.to_f64()).collect()),
        Data::I8(v) => Wide::Int(v.iter().map(|&x| x.into()).collect()),
        Data::U8(v) => Wide::Int(v.iter().map(|&x| x.into()).collect()),
        Data::I32(v) => Wide::Int(v.iter().map(|&x| x.into()).collect()),
        Data::I64(v) => Wide::Int(v.clone()),
        Data::Bool(v) => Wide::Int(v.iter().map(|&x| x.into()).collect()),
    }
}

/// The elements as floats, where they are.
fn floats(op: &'static str, x: &Tensor) -> Result<Vec<f64>> {
    match widen(x) {
        Wide::Float(v) => Ok(v),
        Wide::Int(_) => Err(Error::Element { op, got: x.element(), expected: "F32 or F16" }),
    }
}

fn narrow_floats(shape: Vec<usize>, element: Element, v: Vec<f64>) -> Result<Tensor> {
    let data = match element {
        Element::F16 => Data::F16(v.into_iter().map(f16::from_f64).collect()),
        _ => Data::F32(v.into_iter().map(|x| x as f32).collect()),
    };
    Tensor::new(shape, data)
}

fn narrow_ints(shape: Vec<usize>, element: Element, v: Vec<i64>) -> Result<Tensor> {
    let data = match element {
        Element::I8 => Data::I8(v.into_iter().map(|x| x as i8).collect()),
        Element::U8 => Data::U8(v.into_iter().map(|x| x as u8).collect()),
        Element::I32 => Data::I32(v.into_iter().map(|x| x as i32).collect()),
        Element::Bool => Data::Bool(v.into_iter().map(|x| x != 0).collect()),
        _ => Data::I64(v),
    };
    Tensor::new(shape, data)
}

/// The least and the largest of an integer type.
fn limits(element: Element) -> (i64, i64) {
    match element {
        Element::I8 => (i8::MIN.into(), i8::MAX.into()),
        Element::U8 => (0, u8::MAX.into()),
        Element::I32 => (i32::MIN.into(), i32::MAX.into()),
        Element::Bool => (0, 1),
        _ => (i64::MIN, i64::MAX),
    }
}

fn check_axis(op: &'static str, x: &Tensor, axis: usize) -> Result<()> {
    if axis < x.shape().len() {
        return Ok(());
    }
    Err(Error::Shape { op, detail: format!("axis {axis} of {:?}", x.shape()) })
}

fn product(op: &'static str, dims: &[usize]) -> Result<usize> {
    let product = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    product.ok_or_else(|| Error::Shape { op, detail: format!("{dims:?} is too large") })
}

/// `[outer, n, inner]` around an axis. Without elements nothing is gone through.
fn around(op: &'static str, x: &Tensor, axis: usize) -> Result<[usize; 3]> {
    check_axis(op, x, axis)?;
    if x.is_empty() {
        return Ok([0; 3]);
    }
    let shape = x.shape();
    Ok([product(op, &shape[..axis])?, shape[axis], product(op, &shape[axis + 1..])?])
}

/// NaN where either is, else what `pick` says.
fn nan_or(a: f64, b: f64, pick: fn(f64, f64) -> f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }
}

fn reduce_floats(op: ReduceOp, v: &[f64]) -> f64 {
    let sum = |f: fn(f64) -> f64| v.iter().map(|&x| f(x)).sum::<f64>() + 0.0;
    match op {
        ReduceOp::Mean => sum(|x| x) / v.len() as f64,
        ReduceOp::Sum => sum(|x| x),
        ReduceOp::Max => v.iter().fold(f64::NEG_INFINITY, |a, &b| nan_or(a, b, f64::max)),
        ReduceOp::Min => v.iter().fold(f64::INFINITY, |a, &b| nan_or(a, b, f64::min)),
        ReduceOp::Prod => v.iter().product(),
        ReduceOp::L1 => sum(f64::abs),
        ReduceOp::L2 => sum(|x| x * x).sqrt(),
        ReduceOp::SumSquare => sum(|x| x * x),
        ReduceOp::LogSum => sum(|x| x).ln(),
        ReduceOp::LogSumExp => {
            let max = v.iter().fold(f64::NEG_INFINITY, |a, &b| nan_or(a, b, f64::max));
            if max.is_infinite() { max } else { max + v.iter().map(|x| (x - max).exp()).sum::<f64>().ln() }
        }
    }
}

fn reduce_ints(op: ReduceOp, v: &[i64], (least, largest): (i64, i64)) -> i64 {
    let sum = |f: fn(i64) -> i64| v.iter().fold(0i64, |a, &b| a.wrapping_add(f(b)));
    match op {
        // numpy's mean is a float, which its cast truncates.
        ReduceOp::Mean => sum(|x| x).checked_div(v.len() as i64).unwrap_or(0),
        ReduceOp::Sum => sum(|x| x),
        ReduceOp::Max => v.iter().fold(least, |a, &b| a.max(b)),
        ReduceOp::Min => v.iter().fold(largest, |a, &b| a.min(b)),
        ReduceOp::Prod => v.iter().fold(1, |a, &b| a.wrapping_mul(b)),
        ReduceOp::L1 => sum(i64::wrapping_abs),
        ReduceOp::SumSquare => sum(|x| x.wrapping_mul(x)),
        ReduceOp::L2 | ReduceOp::LogSum | ReduceOp::LogSumExp => {
            reduce_floats(op, &v.iter().map(|&x| x as f64).collect::<Vec<_>>()) as i64
        }
    }
}

/// Over `axes`, sorted. A NaN makes the largest and the smallest NaN. Of no elements the sum is 0, the product 1, the
/// largest minus infinity or the least integer. Truth values have a largest and a smallest only.
///
/// # Errors
/// [`Error::Shape`] where there is no such axis, [`Error::Element`] for sums of truth values.
pub fn reduce(op: ReduceOp, x: &Tensor, axes: &[usize], keep: bool) -> Result<Tensor> {
    let (name, shape) = (op.name(), x.shape());
    axes.iter().try_for_each(|&axis| check_axis(name, x, axis))?;
    if x.element() == Element::Bool && !matches!(op, ReduceOp::Max | ReduceOp::Min) {
        return Err(Error::Element { op: name, got: Element::Bool, expected: "numbers" });
    }
    let kept: Vec<usize> = (0..shape.len()).filter(|d| !axes.contains(d)).collect();
    let gone: Vec<usize> = (0..shape.len()).filter(|d| axes.contains(d)).collect();
    let rows = product(name, &kept.iter().map(|&d| shape[d]).collect::<Vec<_>>())?;
    // Beside a dimension of 0 the others may be of any size.
    let n = x.len().checked_div(rows).unwrap_or(0);
    let turned = x.permuted(&[&kept[..], &gone].concat())?;
    let each = |d: usize| (!axes.contains(&d)).then_some(shape[d]).or(keep.then_some(1));
    let to: Vec<usize> = (0..shape.len()).filter_map(each).collect();
    let row = |r: usize| r * n..(r + 1) * n;
    match widen(&turned) {
        Wide::Float(v) => {
            let all = (0..rows).map(|r| reduce_floats(op, &v[row(r)])).collect();
            narrow_floats(to, x.element(), all)
        }
        Wide::Int(v) => {
            let limits = limits(x.element());
            let all = (0..rows).map(|r| reduce_ints(op, &v[row(r)], limits)).collect();
            narrow_ints(to, x.element(), all)
        }
    }
}

/// The index of the largest or smallest, as I64: of equals the first, or the last. NaN comes before any number.
///
/// # Errors
/// [`Error::Shape`] where there is no such axis, or nothing along it.
pub fn arg_reduce(x: &Tensor, axis: usize, keep: bool, max: bool, last: bool) -> Result<Tensor> {
    const OP: &str = "arg_reduce";
    let [outer, n, inner] = around(OP, x, axis)?;
    if x.shape()[axis] == 0 {
        return Err(Error::Shape { op: OP, detail: format!("axis {axis} of {:?} is empty", x.shape()) });
    }
    fn best<T: Copy>(
        v: &[T],
        [outer, n, inner]: [usize; 3],
        last: bool,
        better: impl Fn(T, T) -> Option<bool>,
    ) -> Vec<i64> {
        let mut all = Vec::with_capacity(outer * inner);
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |k: usize| v[(o * n + k) * inner + i];
            let found = (1..n).fold(0, |b, k| if better(at(k), at(b)).unwrap_or(last) { k } else { b });
            all.push(found as i64);
        }
        all
    }
    // Whether a replaces b; `None` for equals.
    let order = |o: std::cmp::Ordering| if max { o.is_gt() } else { o.is_lt() };
    let all = match widen(x) {
        Wide::Float(v) => {
            best(&v, [outer, n, inner], last, |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
                (true, true) => None,
                (a, b) if a != b => Some(a),
                _ if a == b => None,
                _ => a.partial_cmp(&b).map(order),
            })
        }
        Wide::Int(v) => {
            best(&v, [outer, n, inner], last, |a: i64, b: i64| (a != b).then(|| order(a.cmp(&b))))
        }
    };
    let mut shape = x.shape().to_vec();
    if keep {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    Tensor::new(shape, Data::I64(all))
}

/// Sums up to each element.
///
/// # Errors
/// [`Error::Shape`] where there is no such axis, [`Error::Element`] for truth values.
pub fn cumulative_sum(x: &Tensor, axis: usize, exclusive: bool, reverse: bool) -> Result<Tensor> {
    const OP: &str = "cumsum";
    if x.element() == Element::Bool {
        return Err(Error::Element { op: OP, got: Element::Bool, expected: "numbers" });
    }
    let sizes = around(OP, x, axis)?;
    fn scan<T: Copy>(
        v: &mut [T],
        [outer, n, inner]: [usize; 3],
        (exclusive, reverse): (bool, bool),
        zero: T,
        add: impl Fn(T, T) -> T,
    ) {
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let mut sum = zero;
            for k in 0..n {
                let k = if reverse { n - 1 - k } else { k };
                let x = &mut v[(o * n + k) * inner + i];
                let with = add(sum, *x);
                *x = if exclusive { sum } else { with };
                sum = with;
            }
        }
    }
    match widen(x) {
        Wide::Float(mut v) => {
            scan(&mut v, sizes, (exclusive, reverse), 0.0, |a, b| a + b);
            narrow_floats(x.shape().to_vec(), x.element(), v)
        }
        Wide::Int(mut v) => {
            scan(&mut v, sizes, (exclusive, reverse), 0, i64::wrapping_add);
            narrow_ints(x.shape().to_vec(), x.element(), v)
        }
    }
}

/// Softmax along an axis, or its logarithm. Where all is minus infinity, all is NaN.
///
/// # Errors
/// [`Error::Shape`] where there is no such axis, [`Error::Element`] for other than floats.
pub fn softmax(x: &Tensor, axis: usize, log: bool) -> Result<Tensor> {
    const OP: &str = "softmax";
    let [outer, n, inner] = around(OP, x, axis)?;
    let mut v = floats(OP, x)?;
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * n + k) * inner + i;
        let max = (0..n).fold(f64::NEG_INFINITY, |a, k| nan_or(a, v[at(k)], f64::max));
        let sum: f64 = (0..n).map(|k| (v[at(k)] - max).exp()).sum();
        for k in 0..n {
            let x = v[at(k)] - max;
            v[at(k)] = if log { x - sum.ln() } else { x.exp() / sum };
        }
    }
    narrow_floats(x.shape().to_vec(), x.element(), v)
}

/// The values of a scale or bias at each index of `shape`, to which it is broadcast.
fn broadcast(op: &'static str, name: &str, t: &Tensor, shape: &[usize]) -> Result<Vec<f64>> {
    let v = floats(op, t)?;
    let own = t.shape();
    let skip = shape.len().checked_sub(own.len());
    let fits = skip.is_some_and(|skip| own.iter().zip(&shape[skip..]).all(|(&a, &b)| a == b || a == 1));
    let Some(skip) = skip.filter(|_| fits) else {
        return Err(Error::Shape { op, detail: format!("{name} is {own:?}, expected {shape:?}") });
    };
    let index = |mut i: usize| {
        let (mut at, mut step) = (0, 1);
        for (&a, &b) in own.iter().zip(&shape[skip..]).rev() {
            at += if a == 1 { 0 } else { i % b * step };
            (i, step) = (i / b, step * a);
        }
        v[at]
    };
    Ok((0..product(op, shape)?).map(index).collect())
}

/// A row less its mean and divided by its root of variance (biased) and epsilon; the mean square instead where `rms`.
fn normalize(row: &mut [f64], epsilon: f32, rms: bool) {
    let n = row.len() as f64;
    let mean = if rms { 0.0 } else { row.iter().sum::<f64>() / n };
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let root = (variance + f64::from(epsilon)).sqrt();
    row.iter_mut().for_each(|x| *x = (*x - mean) / root);
}

/// Layer or RMS normalization over `axis` and all after it.
///
/// # Errors
/// [`Error::Shape`] where there is no such axis or the scale or bias is not of the normalized shape,
/// [`Error::Element`] for other than floats.
pub fn layer_norm(
    x: &Tensor,
    scale: Option<&Tensor>,
    bias: Option<&Tensor>,
    axis: usize,
    epsilon: f32,
    rms: bool,
) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    check_axis(OP, x, axis)?;
    let mut v = floats(OP, x)?;
    if !v.is_empty() {
        let shape = &x.shape()[axis..];
        let scale = scale.map(|t| broadcast(OP, "scale", t, shape)).transpose()?;
        let bias = bias.map(|t| broadcast(OP, "bias", t, shape)).transpose()?;
        for row in v.chunks_mut(product(OP, shape)?) {
            normalize(row, epsilon, rms);
            for (i, x) in row.iter_mut().enumerate() {
                *x = *x * scale.as_ref().map_or(1.0, |s| s[i]) + bias.as_ref().map_or(0.0, |b| b[i]);
            }
        }
    }
    narrow_floats(x.shape().to_vec(), x.element(), v)
}

/// Normalization over groups of channels.
///
/// # Errors
/// [`Error::Shape`] where there are no channels, they do not divide into the groups, or the scale or bias is not one
/// for each; [`Error::Element`] for other than floats.
pub fn group_norm(x: &Tensor, scale: &Tensor, bias: &Tensor, groups: usize, epsilon: f32) -> Result<Tensor> {
    const OP: &str = "group_norm";
    check_axis(OP, x, 1)?;
    let channels = x.shape()[1];
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Error::Shape { op: OP, detail: format!("{channels} channels in {groups} groups") });
    }
    let (s, b) = (floats(OP, scale)?, floats(OP, bias)?);
    for (name, v) in [("scale", &s), ("bias", &b)] {
        super::check_len(OP, name, v.len(), &[channels])?;
    }
    let mut v = floats(OP, x)?;
    if !v.is_empty() {
        let space = product(OP, &x.shape()[2..])?;
        for row in v.chunks_mut(channels / groups * space) {
            normalize(row, epsilon, false);
        }
        for (i, x) in v.iter_mut().enumerate() {
            let channel = i / space % channels;
            *x = *x * s[channel] + b[channel];
        }
    }
    narrow_floats(x.shape().to_vec(), x.element(), v)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(shape: &[usize], v: &[f32]) -> Tensor {
        Tensor::f32(shape, v).unwrap()
    }

    #[test]
    fn reductions_over_any_axes() {
        let x = f32s(&[2, 2, 2], &[1., 2., 3., 4., -5., 6., 7., -8.]);
        let all = |op, axes: &[usize]| reduce(op, &x, axes, false).unwrap().as_f32().unwrap().to_vec();
        assert_eq!(all(ReduceOp::Sum, &[0, 2]), [4., 6.]);
        assert_eq!(all(ReduceOp::Mean, &[1]), [2., 3., 1., -1.]);
        assert_eq!(all(ReduceOp::Max, &[0, 1, 2]), [7.]);
        assert_eq!(all(ReduceOp::Min, &[2]), [1., 3., -5., -8.]);
        assert_eq!(all(ReduceOp::Prod, &[2]), [2., 12., -30., -56.]);
        assert_eq!(all(ReduceOp::L1, &[1, 2]), [10., 26.]);
        assert_eq!(all(ReduceOp::SumSquare, &[1, 2]), [30., 174.]);
        assert_eq!(all(ReduceOp::L2, &[1, 2]), [30f32.sqrt(), 174f32.sqrt()]);
        assert_eq!(all(ReduceOp::LogSum, &[0, 1, 2]), [10f32.ln()]);
        let big = f32s(&[2], &[1000., 1000.]);
        let lse = reduce(ReduceOp::LogSumExp, &big, &[0], true).unwrap();
        assert_eq!((lse.shape(), lse.as_f32().unwrap()[0]), (&[1][..], (1000.0 + 2f64.ln()) as f32));
        assert!(reduce(ReduceOp::Sum, &x, &[3], false).is_err());
    }

    #[test]
    fn reductions_of_nothing_of_nan_and_of_integers() {
        let none = f32s(&[2, 0], &[]);
        let of = |op| reduce(op, &none, &[1], false).unwrap().as_f32().unwrap()[1];
        assert_eq!([of(ReduceOp::Sum), of(ReduceOp::Prod)], [0., 1.]);
        assert_eq!([of(ReduceOp::Max), of(ReduceOp::Min)], [f32::NEG_INFINITY, f32::INFINITY]);
        let nan = f32s(&[3], &[1., f32::NAN, 2.]);
        for op in [ReduceOp::Max, ReduceOp::Min] {
            assert!(reduce(op, &nan, &[0], false).unwrap().as_f32().unwrap()[0].is_nan());
        }
        let ints = Tensor::new([3], Data::I32(vec![-1, -2, -4])).unwrap();
        assert_eq!(reduce(ReduceOp::Mean, &ints, &[0], false).unwrap().data(), &Data::I32(vec![-2]));
        let bytes = Tensor::new([2], Data::U8(vec![200, 100])).unwrap();
        assert_eq!(reduce(ReduceOp::Sum, &bytes, &[0], false).unwrap().data(), &Data::U8(vec![44]));
        let truth = Tensor::new([2], Data::Bool(vec![false, true])).unwrap();
        assert_eq!(reduce(ReduceOp::Max, &truth, &[0], false).unwrap().data(), &Data::Bool(vec![true]));
        assert!(reduce(ReduceOp::Sum, &truth, &[0], false).is_err());
        let least = Tensor::new([0], Data::I8(vec![])).unwrap();
        assert_eq!(reduce(ReduceOp::Max, &least, &[0], false).unwrap().data(), &Data::I8(vec![-128]));
    }

    #[test]
    fn places_and_running_sums() {
        let x = f32s(&[2, 3], &[1., 3., 3., f32::NAN, 0., f32::NAN]);
        let at = |max, last| arg_reduce(&x, 1, false, max, last).unwrap().data().clone();
        assert_eq!(at(true, false), Data::I64(vec![1, 0]));
        assert_eq!(at(true, true), Data::I64(vec![2, 2]));
        assert_eq!(at(false, false), Data::I64(vec![0, 0]));
        let x = f32s(&[3, 1], &[1., 2., 3.]);
        let sum = |e, r| cumulative_sum(&x, 0, e, r).unwrap().as_f32().unwrap().to_vec();
        assert_eq!(sum(false, false), [1., 3., 6.]);
        assert_eq!(sum(true, false), [0., 1., 3.]);
        assert_eq!(sum(false, true), [6., 5., 3.]);
        assert_eq!(sum(true, true), [5., 3., 0.]);
    }

    #[test]
    fn normalized_rows() {
        let x = f32s(&[2, 2], &[0., 0., f32::NEG_INFINITY, f32::NEG_INFINITY]);
        let y = softmax(&x, 1, false).unwrap();
        assert_eq!(y.as_f32().unwrap()[..2], [0.5, 0.5]);
        assert!(y.as_f32().unwrap()[3].is_nan());
        assert_eq!(softmax(&x, 1, true).unwrap().as_f32().unwrap()[0], -std::f32::consts::LN_2);
        let x = f32s(&[1, 2, 2], &[1., 3., 5., 9.]);
        let (scale, bias) = (f32s(&[2], &[2., 3.]), f32s(&[1], &[1.]));
        let y = layer_norm(&x, Some(&scale), Some(&bias), 2, 0.0, false).unwrap();
        assert_eq!(y.as_f32().unwrap(), [-1., 4., -1., 4.]);
        let y = layer_norm(&x, None, None, 2, 0.0, true).unwrap();
        assert_eq!(y.as_f32().unwrap()[0], (1.0 / 5f64.sqrt()) as f32);
        assert!(layer_norm(&x, Some(&f32s(&[3], &[1.; 3])), None, 2, 0.0, false).is_err());
        let y = group_norm(&x, &scale, &f32s(&[2], &[0., 1.]), 2, 0.0).unwrap();
        assert_eq!(y.as_f32().unwrap(), [-2., 2., -2., 4.]);
        assert!(group_norm(&x, &scale, &scale, 3, 0.0).is_err());
    }
}
