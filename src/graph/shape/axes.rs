//! Shapes of what is computed along axes, moved, or waits for values.

use super::{MAX_RANK, broadcast, fresh, rank_4};
use crate::graph::{Deferred, Dim, Op, ReduceOp, Window};

type Inferred = Result<Vec<Dim>, String>;

/// The shapes that `shape::infer` does not know. `x` is the first input's.
pub(super) fn infer(op: &Op, x: &[Dim], inputs: &[Option<&[Dim]>], output: &str) -> Inferred {
    let input =
        |i: usize| inputs.get(i).copied().flatten().ok_or(format!("the shape of input {i} is not known"));
    let axis_of = |axis: usize| match x.get(axis) {
        Some(_) => Ok(()),
        None => Err(format!("axis {axis} of a shape {x:?}")),
    };
    Ok(match op {
        Op::Unary(_) => x.to_vec(),
        Op::Binary(_) => broadcast(x, input(1)?)?,
        Op::Where => broadcast(&broadcast(x, input(1)?)?, input(2)?)?,
        Op::Reduce { axes, keep, .. } => {
            axes.iter().try_for_each(|&a| axis_of(a))?;
            let dims = x.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), keep) {
                (true, true) => Some(Dim::Fixed(1)),
                (true, false) => None,
                (false, _) => Some(d.clone()),
            });
            dims.collect()
        }
        Op::ArgReduce { axis, keep, .. } => {
            axis_of(*axis)?;
            if x[*axis] == Dim::Fixed(0) {
                return Err(format!("axis {axis} of {x:?} is empty"));
            }
            return infer(
                &Op::Reduce { op: ReduceOp::Max, axes: vec![*axis], keep: *keep },
                x,
                inputs,
                output,
            );
        }
        Op::CumSum { axis, .. } | Op::Softmax { axis, .. } => {
            axis_of(*axis)?;
            x.to_vec()
        }
        Op::LayerNorm { axis, .. } => {
            axis_of(*axis)?;
            for (i, scale) in inputs.iter().enumerate().skip(1) {
                let Some(scale) = scale else { continue };
                let normalized = &x[*axis..];
                if broadcast(normalized, scale)?.len() != normalized.len() {
                    return Err(format!("input {i} is {scale:?}, but {normalized:?} is normalized"));
                }
            }
            x.to_vec()
        }
        Op::GroupNorm { groups, .. } => {
            let Some(channels) = x.get(1) else { return Err(format!("shape {x:?} has no channels")) };
            if *groups == 0 || channels.fixed().is_some_and(|c| c % groups != 0) {
                return Err(format!("{channels:?} channels in {groups} groups"));
            }
            for i in 1..3 {
                match input(i)? {
                    [n] if n.fixed().is_none() || channels.fixed().is_none() || n == channels => {}
                    other => {
                        return Err(format!("input {i} is {other:?}, but there are {channels:?} channels"));
                    }
                }
            }
            x.to_vec()
        }
        Op::Gather { axis } => {
            axis_of(*axis)?;
            let (before, after) = (&x[..*axis], &x[*axis + 1..]);
            before.iter().chain(input(1)?).chain(after).cloned().collect()
        }
        Op::Concat { axis } => concat(*axis, x, inputs, output)?,
        Op::Slice { axes } => {
            let mut shape = x.to_vec();
            for part in axes {
                axis_of(part.axis)?;
                if part.step == 0 {
                    return Err(format!("axis {} is cut in steps of 0", part.axis));
                }
                shape[part.axis] = match &x[part.axis] {
                    Dim::Fixed(n) => Dim::Fixed(part.range(*n).1),
                    symbol if part.start == 0 && part.step == 1 && part.end >= i64::from(i32::MAX) => {
                        symbol.clone()
                    }
                    _ => fresh(output, part.axis),
                };
            }
            shape
        }
        Op::Pad { begin, end, .. } => {
            if begin.len() != x.len() || end.len() != x.len() {
                return Err(format!("{begin:?} and {end:?} around {x:?}"));
            }
            let each = |(axis, dim): (usize, &Dim)| match (dim, begin[axis].checked_add(end[axis])) {
                (dim, Some(0)) => Ok(dim.clone()),
                (Dim::Fixed(n), Some(more)) => {
                    let n = i64::try_from(*n).ok().and_then(|n| n.checked_add(more));
                    let n = n.and_then(|n| usize::try_from(n).ok());
                    n.map(Dim::Fixed).ok_or(format!("{begin:?} and {end:?} around {x:?}"))
                }
                _ => Ok(fresh(output, axis)),
            };
            x.iter().enumerate().map(each).collect::<Inferred>()?
        }
        Op::Expand { shape } => {
            check_rank(shape.len())?;
            let shape: Vec<Dim> = shape.iter().map(|&n| Dim::Fixed(n)).collect();
            broadcast(x, &shape)?
        }
        Op::Tile { repeats } => {
            if repeats.len() != x.len() {
                return Err(format!("{x:?} repeated {repeats:?} times"));
            }
            let each = |(axis, (dim, &r)): (usize, (&Dim, &usize))| match (dim, r) {
                (dim, 1) => Ok(dim.clone()),
                (Dim::Fixed(n), r) => {
                    n.checked_mul(r).map(Dim::Fixed).ok_or(format!("{x:?} repeated {repeats:?} times"))
                }
                _ => Ok(fresh(output, axis)),
            };
            x.iter().zip(repeats).enumerate().map(each).collect::<Inferred>()?
        }
        Op::Resize(r) => {
            if r.sizes.len() != x.len() || r.scales.len() != x.len() {
                return Err(format!("{x:?} resized to {:?}", r.sizes));
            }
            r.sizes.iter().map(|&n| Dim::Fixed(n)).collect()
        }
        Op::Squeeze { axes } => {
            for &axis in axes {
                axis_of(axis)?;
                if x[axis].fixed().is_some_and(|n| n != 1) {
                    return Err(format!("axis {axis} of {x:?} is not 1"));
                }
            }
            x.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect()
        }
        Op::Unsqueeze { axes } => {
            let rank = x.len() + axes.len();
            check_rank(rank)?;
            if axes.iter().any(|&a| a >= rank) || (1..axes.len()).any(|i| axes[i] <= axes[i - 1]) {
                return Err(format!("axes {axes:?} of {rank} dimensions"));
            }
            let mut old = x.iter();
            let each = |i| if axes.contains(&i) { Some(Dim::Fixed(1)) } else { old.next().cloned() };
            (0..rank).map_while(each).collect()
        }
        Op::ConvTranspose { window, groups, output_padding } => {
            let [n, c, h, w] = rank_4(x)?;
            let [i, o, kh, kw] = rank_4(input(1)?)?;
            let (Dim::Fixed(channels), Dim::Fixed(outputs)) = (i, o) else {
                return Err(format!("the weight's shape {:?} is not fixed", input(1)?));
            };
            if c.fixed().is_some_and(|c| c != *channels) || *groups == 0 || channels % groups != 0 {
                return Err(format!("{x:?} by the weight {:?} in {groups} groups", input(1)?));
            }
            if [kh, kw] != [&Dim::Fixed(window.kernel[0]), &Dim::Fixed(window.kernel[1])] {
                return Err(format!("weight {:?} does not have the window {window:?}", input(1)?));
            }
            let outputs = outputs.checked_mul(*groups).ok_or("too many outputs to count")?;
            super::check_bias(inputs, outputs)?;
            let height = spread(h, window, output_padding, 0, output)?;
            let width = spread(w, window, output_padding, 1, output)?;
            vec![n.clone(), Dim::Fixed(outputs), height, width]
        }
        Op::Attention { .. } => {
            let (k, v) = (input(1)?, input(2)?);
            let ([a @ .., m, d], [b @ .., d2, n], [c @ .., n2, e]) = (x, k, v) else {
                return Err(format!("{x:?}, {k:?} and {v:?}: all must have at least 2 dimensions"));
            };
            let differ = |a: &Dim, b: &Dim| matches!((a, b), (Dim::Fixed(a), Dim::Fixed(b)) if a != b);
            if differ(d, d2) || differ(n, n2) {
                return Err(format!("{x:?}, {k:?} and {v:?} do not fit"));
            }
            let mut shape = broadcast(&broadcast(a, b)?, c)?;
            if let Some(mask) = inputs.get(3).copied().flatten() {
                let scores: Vec<Dim> = shape.iter().chain([m, n]).cloned().collect();
                if broadcast(&scores, mask)?.len() != scores.len() {
                    return Err(format!("the mask {mask:?} has more dimensions than the scores {scores:?}"));
                }
            }
            shape.extend([m.clone(), e.clone()]);
            shape
        }
        Op::Deferred(deferred) => self::deferred(deferred, x, inputs, output)?,
        _ => return Err("its shape is not known".into()),
    })
}

fn check_rank(rank: usize) -> Result<(), String> {
    if rank > MAX_RANK { Err(format!("{rank} dimensions, more than {MAX_RANK}")) } else { Ok(()) }
}

fn concat(axis: usize, x: &[Dim], inputs: &[Option<&[Dim]>], output: &str) -> Inferred {
    if axis >= x.len() {
        return Err(format!("axis {axis} of a shape {x:?}"));
    }
    let mut shape = x.to_vec();
    for other in &inputs[1..] {
        let other = other.ok_or("the shape of an input is not known")?;
        if other.len() != x.len() {
            return Err(format!("{x:?} and {other:?} have different numbers of dimensions"));
        }
        for (i, (dim, more)) in shape.iter_mut().zip(other).enumerate() {
            match (&*dim, more) {
                (Dim::Fixed(a), Dim::Fixed(b)) if i == axis => {
                    *dim = Dim::Fixed(a.checked_add(*b).ok_or("too many elements to count")?);
                }
                _ if i == axis => *dim = fresh(output, axis),
                (Dim::Fixed(a), Dim::Fixed(b)) if a != b => {
                    return Err(format!("{x:?} and {other:?} differ in dimension {i}"));
                }
                (Dim::Symbol(_), Dim::Fixed(_)) => *dim = more.clone(),
                _ => {}
            }
        }
    }
    Ok(shape)
}

/// How long one side of a ConvTranspose's output is.
fn spread(dim: &Dim, window: &Window, more: &[usize; 2], axis: usize, output: &str) -> Result<Dim, String> {
    let Dim::Fixed(n) = dim else { return Ok(fresh(output, axis + 2)) };
    let fail = || format!("{n} rows or columns by {window:?} with {more:?} more");
    let last = n.checked_sub(1).ok_or_else(fail)?.checked_mul(window.stride[axis]).ok_or_else(fail)?;
    let reach = window.span(axis).and_then(|s| s.checked_add(last)?.checked_add(more[axis]));
    let pads = window.pad_begin[axis].checked_add(window.pad_end[axis]);
    let size = reach.zip(pads).and_then(|(reach, pads)| reach.checked_sub(pads));
    size.map(Dim::Fixed).ok_or_else(fail)
}

/// What is known while values are not: the number of dimensions.
fn deferred(op: &Deferred, x: &[Dim], inputs: &[Option<&[Dim]>], output: &str) -> Inferred {
    let unknown = |rank: usize| -> Inferred {
        check_rank(rank)?;
        Ok((0..rank).map(|axis| fresh(output, axis)).collect())
    };
    // How many numbers an input has.
    let count = |i: usize| match inputs.get(i).copied().flatten() {
        Some([Dim::Fixed(n)]) => Ok(*n),
        Some([]) => Ok(1),
        Some(other) => Err(format!("input {i} is {other:?}: how many dimensions it stands for is not known")),
        None => Err(format!("input {i} is left out")),
    };
    match op {
        Deferred::Shape { start, end } => {
            let (start, end) = shape_range(*start, *end, x.len());
            Ok(vec![Dim::Fixed(end - start)])
        }
        Deferred::Size => Ok(vec![]),
        Deferred::Reshape { .. } => unknown(count(1)?),
        Deferred::Expand => unknown(count(1)?.max(x.len())),
        Deferred::ConstantOfShape { .. } => match x {
            [Dim::Fixed(n)] => unknown(*n),
            [] => unknown(1),
            _ => Err(format!("the shape is {x:?}: how many dimensions it has is not known")),
        },
        Deferred::Range => unknown(1),
        Deferred::Slice | Deferred::Pad { .. } | Deferred::Tile | Deferred::Resize { .. } => unknown(x.len()),
        Deferred::Squeeze => match inputs.get(1).copied().flatten() {
            Some(_) => {
                let axes = count(1)?;
                unknown(x.len().checked_sub(axes).ok_or(format!("{axes} axes of {x:?}"))?)
            }
            None => unknown(x.iter().filter(|d| **d != Dim::Fixed(1)).count()),
        },
        Deferred::Unsqueeze => unknown(x.len() + count(1)?.min(MAX_RANK + 1)),
        Deferred::Reduce { keep: true, .. } => unknown(x.len()),
        Deferred::Reduce { .. } => match inputs.get(1).copied().flatten() {
            Some(_) => {
                let axes = count(1)?;
                unknown(x.len().checked_sub(axes).ok_or(format!("{axes} axes of {x:?}"))?)
            }
            None => Ok(vec![]),
        },
        Deferred::Split { axis, .. } | Deferred::Part { axis, .. } => {
            let mut shape = x.to_vec();
            *shape.get_mut(*axis).ok_or(format!("axis {axis} of a shape {x:?}"))? = fresh(output, *axis);
            Ok(shape)
        }
        Deferred::CumSum { .. } => Ok(x.to_vec()),
    }
}

/// The axes that a Shape is of.
pub(in crate::graph) fn shape_range(start: i64, end: Option<i64>, rank: usize) -> (usize, usize) {
    let n = rank as i64;
    let place = |i: i64| (if i < 0 { i.saturating_add(n) } else { i }).clamp(0, n) as usize;
    let (start, end) = (place(start), place(end.unwrap_or(n)));
    (start, end.max(start))
}
