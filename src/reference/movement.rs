//! Copies of elements to other places.

use crate::error::{Error, Result};
use crate::graph::{PadMode, SliceAxis};
use crate::tensor::{Data, Tensor};
use half::f16;

fn shape_error<T>(op: &'static str, detail: String) -> Result<T> {
    Err(Error::Shape { op, detail })
}

/// A tensor of the elements at `places` of `data`, or `fill` (converted to the element) where there is no place.
fn take(shape: Vec<usize>, data: &Data, places: &[Option<usize>], fill: f32) -> Result<Tensor> {
    fn each<T: Copy>(v: &[T], places: &[Option<usize>], fill: T) -> Vec<T> {
        places.iter().map(|p| p.map_or(fill, |i| v[i])).collect()
    }
    let data = match data {
        Data::F32(v) => Data::F32(each(v, places, fill)),
        Data::F16(v) => Data::F16(each(v, places, f16::from_f32(fill))),
        Data::I8(v) => Data::I8(each(v, places, fill as i8)),
        Data::U8(v) => Data::U8(each(v, places, fill as u8)),
        Data::I32(v) => Data::I32(each(v, places, fill as i32)),
        Data::I64(v) => Data::I64(each(v, places, fill as i64)),
        Data::Bool(v) => Data::Bool(each(v, places, fill != 0.0)),
    };
    Tensor::new(shape, data)
}

/// How many elements a shape has.
fn count(op: &'static str, shape: &[usize]) -> Result<usize> {
    let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match len {
        Some(len) => Ok(len),
        None => shape_error(op, format!("{shape:?} has too many elements to count")),
    }
}

/// The places in a tensor of shape `from` of each element of one of shape `to` with as many dimensions, where the index
/// along each dimension is found alone: `index(dimension, index in to)`.
fn each_place(
    op: &'static str,
    from: &[usize],
    to: &[usize],
    index: impl Fn(usize, usize) -> Option<usize>,
) -> Result<Vec<Option<usize>>> {
    let len = count(op, to)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut places = vec![Some(0)];
    for (d, (&n, &m)) in from.iter().zip(to).enumerate() {
        let along: Vec<_> = (0..m).map(|i| index(d, i)).collect();
        let longer = places
            .iter()
            .flat_map(|p: &Option<usize>| along.iter().map(move |i| p.zip(*i).map(|(p, i)| p * n + i)));
        places = longer.collect();
    }
    Ok(places)
}

/// ONNX's Gather: the elements of `x` at `indices` along `axis`, whose dimension becomes the indices' shape. Negative
/// indices count from the end.
///
/// # Errors
/// [`Error::Shape`] for an axis that is not there, [`Error::Element`] for indices that are not integers,
/// [`Error::Argument`] for one out of range.
pub fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor> {
    let op = "gather";
    let Some(&n) = x.shape().get(axis) else {
        return shape_error(op, format!("axis {axis} of {:?}", x.shape()));
    };
    let all: Vec<i64> = match indices.data() {
        Data::I32(v) => v.iter().map(|&i| i.into()).collect(),
        Data::I64(v) => v.clone(),
        _ => return Err(Error::Element { op, got: indices.element(), expected: "I32 or I64" }),
    };
    let (before, after) = (&x.shape()[..axis], &x.shape()[axis + 1..]);
    let (outer, inner) = (count(op, before)?, count(op, after)?);
    let shape: Vec<usize> = before.iter().chain(indices.shape()).chain(after).copied().collect();
    let mut at = Vec::with_capacity(all.len());
    for &i in &all {
        let place = if i < 0 { i.checked_add_unsigned(n as u64) } else { Some(i) };
        match place.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < n) {
            Some(i) => at.push(i),
            None => {
                return Err(Error::Argument { op, detail: format!("index {i} of an axis of {n}") });
            }
        }
    }
    let mut places = Vec::with_capacity(count(op, &shape)?);
    for o in 0..outer {
        for &i in &at {
            places.extend((0..inner).map(|k| Some((o * n + i) * inner + k)));
        }
    }
    take(shape, x.data(), &places, 0.0)
}

/// One after the other along an axis.
///
/// # Errors
/// [`Error::Shape`] where other dimensions differ, [`Error::Element`] where elements do.
pub fn concat(all: &[&Tensor], axis: usize) -> Result<Tensor> {
    let op = "concat";
    let Some(first) = all.first().filter(|t| axis < t.shape().len()) else {
        return shape_error(op, format!("{} tensors along axis {axis}", all.len()));
    };
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for t in all {
        let same = t.shape().len() == shape.len()
            && t.shape().iter().zip(&shape).enumerate().all(|(d, (a, b))| d == axis || a == b);
        if !same {
            return shape_error(op, format!("{:?} and {:?} along axis {axis}", first.shape(), t.shape()));
        }
        if t.element() != first.element() {
            return Err(Error::Element { op, got: t.element(), expected: "the element of the first" });
        }
        shape[axis] += t.shape()[axis];
    }
    let outer = count(op, &shape[..axis])?;
    let inner = count(op, &shape[axis + 1..])?;
    macro_rules! join {
        ($($kind:ident),*) => {
            match first.data() {
                $(Data::$kind(_) => {
                    let mut joined = Vec::with_capacity(count(op, &shape)?);
                    for o in 0..outer {
                        for t in all {
                            let row = t.shape()[axis] * inner;
                            if let Data::$kind(v) = t.data() {
                                joined.extend_from_slice(&v[o * row..(o + 1) * row]);
                            }
                        }
                    }
                    Data::$kind(joined)
                })*
            }
        };
    }
    let data = join!(F32, F16, I8, U8, I32, I64, Bool);
    Tensor::new(shape, data)
}

/// A part of some axes.
///
/// # Errors
/// [`Error::Shape`] for an axis that is not there, [`Error::Argument`] for a step of 0.
pub fn slice(x: &Tensor, axes: &[SliceAxis]) -> Result<Tensor> {
    let op = "slice";
    let mut shape = x.shape().to_vec();
    let mut parts = vec![(0, 1); shape.len()];
    for part in axes {
        let Some(&n) = x.shape().get(part.axis) else {
            return shape_error(op, format!("axis {} of {:?}", part.axis, x.shape()));
        };
        if part.step == 0 {
            return Err(Error::Argument { op, detail: format!("axis {} in steps of 0", part.axis) });
        }
        let (start, len) = part.range(n);
        shape[part.axis] = len;
        parts[part.axis] = (start, part.step);
    }
    let places = each_place(op, x.shape(), &shape, |d, i| {
        let (start, step) = parts[d];
        usize::try_from(start as i64 + i as i64 * step).ok()
    })?;
    take(shape, x.data(), &places, 0.0)
}

/// More around each dimension, or less where a number is negative: what is cut off is cut off first, and the modes see
/// what is left.
///
/// # Errors
/// [`Error::Shape`] where the numbers do not fit the shape, or where there is nothing to repeat.
pub fn pad(x: &Tensor, begin: &[i64], end: &[i64], mode: PadMode) -> Result<Tensor> {
    let op = "pad";
    let fail = || shape_error(op, format!("{begin:?} and {end:?} around {:?}", x.shape()));
    if begin.len() != x.shape().len() || end.len() != x.shape().len() {
        return fail();
    }
    let mut shape = Vec::new();
    // Of each dimension: where what is left begins, and how long it is.
    let mut left = Vec::new();
    for ((&n, &b), &e) in x.shape().iter().zip(begin).zip(end) {
        let kept = n as i64 + b.min(0) + e.min(0);
        let len = kept + b.max(0) + e.max(0);
        if kept < 0 || (kept == 0 && len > 0 && !matches!(mode, PadMode::Constant(_))) {
            return fail();
        }
        left.push(((-b).max(0), kept));
        shape.push(len as usize);
    }
    let fill = if let PadMode::Constant(value) = mode { value } else { 0.0 };
    let places = each_place(op, x.shape(), &shape, |d, i| {
        let (from, n) = left[d];
        let at = i as i64 - begin[d].max(0);
        let at = match mode {
            PadMode::Constant(_) => Some(at).filter(|at| (0..n).contains(at))?,
            PadMode::Edge => at.clamp(0, n - 1),
            PadMode::Wrap => at.rem_euclid(n),
            PadMode::Reflect => {
                let period = (2 * (n - 1)).max(1);
                let at = at.rem_euclid(period);
                at.min(period - at).min(n - 1)
            }
        };
        usize::try_from(from + at).ok()
    })?;
    take(shape, x.data(), &places, fill)
}

/// Broadcast to what both shapes make.
///
/// # Errors
/// [`Error::Shape`] where a dimension is neither 1 nor equal.
pub fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let op = "expand";
    let rank = shape.len().max(x.shape().len());
    let aligned = |s: &[usize]| [vec![1; rank - s.len()], s.to_vec()].concat();
    let (from, wanted) = (aligned(x.shape()), aligned(shape));
    let mut to = Vec::new();
    for (&a, &b) in from.iter().zip(&wanted) {
        match (a, b) {
            (1, n) | (n, 1) => to.push(n),
            (a, b) if a == b => to.push(a),
            _ => return shape_error(op, format!("{:?} to {shape:?}", x.shape())),
        }
    }
    let places = each_place(op, &from, &to, |d, i| Some(if from[d] == 1 { 0 } else { i }))?;
    take(to, x.data(), &places, 0.0)
}

/// Repeated along each dimension.
///
/// # Errors
/// [`Error::Shape`] where there is not a number for each dimension.
pub fn tile(x: &Tensor, repeats: &[usize]) -> Result<Tensor> {
    let op = "tile";
    if repeats.len() != x.shape().len() {
        return shape_error(op, format!("{:?} repeated {repeats:?} times", x.shape()));
    }
    let mut to = Vec::new();
    for (&n, &r) in x.shape().iter().zip(repeats) {
        to.push(count(op, &[n, r])?);
    }
    let places = each_place(op, x.shape(), &to, |d, i| Some(i % x.shape()[d]))?;
    take(to, x.data(), &places, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(shape: &[usize], v: &[i32]) -> Tensor {
        Tensor::new(shape, Data::I32(v.to_vec())).unwrap()
    }

    fn bytes(shape: &[usize]) -> Tensor {
        Tensor::new(shape, Data::U8((0..shape.iter().product::<usize>()).map(|i| i as u8).collect())).unwrap()
    }

    #[test]
    fn gathers_from_both_ends() {
        let x = bytes(&[3, 2]);
        let i = Tensor::new([2, 2], Data::I64(vec![0, -1, 1, 2])).unwrap();
        let y = gather(&x, &i, 0).unwrap();
        assert_eq!(y, Tensor::new([2, 2, 2], Data::U8(vec![0, 1, 4, 5, 2, 3, 4, 5])).unwrap());
        let y = gather(&x, &ints(&[], &[-1]), 1).unwrap();
        assert_eq!(y, Tensor::new([3], Data::U8(vec![1, 3, 5])).unwrap());
        for bad in [3, -4, i32::MIN] {
            assert!(matches!(gather(&x, &ints(&[1], &[bad]), 0), Err(Error::Argument { .. })), "{bad}");
        }
        assert!(gather(&x, &ints(&[0], &[]), 0).unwrap().is_empty());
        assert!(gather(&x, &x, 0).is_err());
    }

    #[test]
    fn joins_and_cuts() {
        let (a, b) = (ints(&[2, 1], &[1, 2]), ints(&[2, 2], &[3, 4, 5, 6]));
        assert_eq!(concat(&[&a, &b, &a], 1).unwrap(), ints(&[2, 4], &[1, 3, 4, 1, 2, 5, 6, 2]));
        assert!(concat(&[&a, &b], 0).is_err());
        let part = |axis, start, end, step| SliceAxis { axis, start, end, step };
        let x = ints(&[2, 4], &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(slice(&x, &[part(1, -1, -100, -2)]).unwrap(), ints(&[2, 2], &[3, 1, 7, 5]));
        assert_eq!(slice(&x, &[part(0, 1, 9, 1), part(1, 1, -1, 1)]).unwrap(), ints(&[1, 2], &[5, 6]));
        assert!(slice(&x, &[part(1, 3, 3, 1)]).unwrap().is_empty());
    }

    #[test]
    fn pads_as_numpy_does() {
        let x = ints(&[3], &[1, 2, 3]);
        let check = |mode, b, e, want: &[i32]| {
            assert_eq!(pad(&x, &[b], &[e], mode).unwrap(), ints(&[want.len()], want), "{mode:?}");
        };
        check(PadMode::Constant(7.0), 2, 1, &[7, 7, 1, 2, 3, 7]);
        check(PadMode::Reflect, 2, 5, &[3, 2, 1, 2, 3, 2, 1, 2, 3, 2]);
        check(PadMode::Edge, 2, 1, &[1, 1, 1, 2, 3, 3]);
        check(PadMode::Wrap, 4, 1, &[3, 1, 2, 3, 1, 2, 3, 1]);
        check(PadMode::Constant(0.0), -1, 1, &[2, 3, 0]);
        check(PadMode::Reflect, -1, 2, &[2, 3, 2, 3]);
        let one = ints(&[1], &[5]);
        assert_eq!(pad(&one, &[2], &[1], PadMode::Reflect).unwrap(), ints(&[4], &[5; 4]));
        let empty = ints(&[0], &[]);
        assert_eq!(pad(&empty, &[1], &[1], PadMode::Constant(2.0)).unwrap(), ints(&[2], &[2, 2]));
        assert!(pad(&empty, &[1], &[1], PadMode::Edge).is_err());
        assert!(pad(&x, &[-2], &[-2], PadMode::Edge).is_err());
    }

    #[test]
    fn repeats() {
        let x = ints(&[2, 1], &[1, 2]);
        assert_eq!(expand(&x, &[2, 1, 2]).unwrap(), ints(&[2, 2, 2], &[1, 1, 2, 2, 1, 1, 2, 2]));
        assert_eq!(expand(&x, &[1]).unwrap(), x);
        assert!(expand(&x, &[3, 1]).is_err());
        assert_eq!(tile(&x, &[2, 3]).unwrap(), ints(&[4, 3], &[1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]));
        assert!(tile(&x, &[0, 3]).unwrap().is_empty());
    }
}
