//! Shape inference. One set of rules serves symbolic shapes when a model is made and concrete ones when it is run:
//! arithmetic on fixed dimensions gives a fixed one, anything else a symbol.

mod axes;

pub(super) use axes::shape_range;

use super::{Dim, Model, Op, ValueId, Window};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// More dimensions than any op here means, and few enough that a hostile file cannot fill memory with shapes.
pub(in crate::graph) const MAX_RANK: usize = 8;

/// As many dimensions as the kernel that transposes can tell apart.
const MAX_TRANSPOSED: usize = 6;

impl Model {
    /// The concrete shape of every value, by [`super::ValueId::index`], given the inputs' shapes by name.
    ///
    /// # Errors
    /// As [`Model::specialize`].
    pub fn infer_shapes(&self, inputs: &[(&str, Vec<usize>)]) -> Result<Vec<Vec<usize>>> {
        self.specialize(inputs)?.fixed_shapes()
    }

    /// The shapes of all values of a model that is specialized.
    pub(crate) fn fixed_shapes(&self) -> Result<Vec<Vec<usize>>> {
        let fixed = |value: &super::Value| {
            let shape = value.fixed_shape();
            let shape = shape.filter(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_some());
            shape.ok_or_else(|| self.unknown_shape(value))
        };
        self.values.iter().map(fixed).collect()
    }

    /// The shape of each input, which must fit the model's.
    pub(super) fn bind_inputs(&self, inputs: &[(&str, Vec<usize>)]) -> Result<Vec<(ValueId, Vec<usize>)>> {
        let fail = |detail: String| Err(Error::Model(detail));
        if let Some((name, _)) =
            inputs.iter().find(|(n, _)| !self.inputs.iter().any(|i| self.value(*i).name == *n))
        {
            let names: Vec<&str> = self.inputs.iter().map(|&i| self.value(i).name.as_str()).collect();
            return fail(format!("there is no input `{name}`; the inputs are {names:?}"));
        }
        let mut bound: HashMap<&str, (usize, &str)> = HashMap::new();
        let mut shapes = Vec::with_capacity(self.inputs.len());
        for id in &self.inputs {
            let value = self.value(*id);
            let Some((_, shape)) = inputs.iter().find(|(n, _)| *n == value.name) else {
                return fail(format!("input `{}` is missing", value.name));
            };
            if shape.len() != value.shape.len() {
                return fail(format!("input `{}` is {shape:?}, expected {:?}", value.name, value.shape));
            }
            for (axis, (&got, dim)) in shape.iter().zip(&value.shape).enumerate() {
                let (expected, who) = match dim {
                    Dim::Fixed(n) => (*n, "the model"),
                    Dim::Symbol(s) => *bound.entry(s).or_insert((got, &value.name)),
                };
                if got != expected {
                    return fail(format!(
                        "input `{}` is {shape:?}, but dimension {axis} ({dim:?}) is {expected} in `{who}`",
                        value.name
                    ));
                }
            }
            shapes.push((*id, shape.clone()));
        }
        Ok(shapes)
    }
}

/// The output shape of `op` on inputs of these shapes, or what is wrong with them. `output` names new symbols.
pub(super) fn infer(op: &Op, inputs: &[Option<&[Dim]>], output: &str) -> Result<Vec<Dim>, String> {
    let input =
        |i: usize| inputs.get(i).copied().flatten().ok_or(format!("the shape of input {i} is not known"));
    let x = input(0)?;
    let shape = match op {
        Op::Conv { window, groups, .. } => {
            let [n, c, h, w] = rank_4(x)?;
            let [o, group, kh, kw] = rank_4(input(1)?)?;
            let (Dim::Fixed(outputs), Dim::Fixed(group)) = (o, group) else {
                return Err(format!("the weight's shape {:?} is not fixed", input(1)?));
            };
            let channels =
                group.checked_mul(*groups).filter(|&c| c > 0 && outputs % groups == 0 && *outputs > 0);
            let Some(channels) = channels else {
                return Err(format!("weight {:?} cannot be split into {groups} groups", input(1)?));
            };
            if [kh, kw] != [&Dim::Fixed(window.kernel[0]), &Dim::Fixed(window.kernel[1])] || window.ceil {
                return Err(format!("weight {:?} does not have the window {window:?}", input(1)?));
            }
            agree(c, channels, "channels")?;
            check_bias(inputs, *outputs)?;
            vec![n.clone(), o.clone(), slide(h, window, 0, output)?, slide(w, window, 1, output)?]
        }
        Op::Linear { .. } => {
            let [Dim::Fixed(n), Dim::Fixed(k)] = input(1)? else {
                return Err(format!("the weight's shape {:?} is not [n, k]", input(1)?));
            };
            let Some((last, outer)) = x.split_last() else {
                return Err("the input is a scalar".into());
            };
            if *n == 0 || *k == 0 {
                return Err(format!("the weight [{n}, {k}] is empty"));
            }
            agree(last, *k, "columns")?;
            check_bias(inputs, *n)?;
            outer.iter().cloned().chain([Dim::Fixed(*n)]).collect()
        }
        Op::MatMul => {
            let ([a @ .., m, k], [b @ .., k2, n]) = (x, input(1)?) else {
                return Err(format!("{x:?} by {:?}: both must have at least 2 dimensions", input(1)?));
            };
            if matches!((k, k2), (Dim::Fixed(k), Dim::Fixed(k2)) if k != k2) {
                return Err(format!("a has {k:?} columns but b has {k2:?} rows"));
            }
            let mut shape = broadcast(a, b)?;
            shape.extend([m.clone(), n.clone()]);
            shape
        }
        Op::Add { .. } => broadcast(x, input(1)?)?,
        Op::Pool { window, .. } => {
            let [n, c, h, w] = rank_4(x)?;
            vec![n.clone(), c.clone(), slide(h, window, 0, output)?, slide(w, window, 1, output)?]
        }
        Op::GlobalAveragePool => {
            let [n, c, ..] = rank_4(x)?;
            vec![n.clone(), c.clone(), Dim::Fixed(1), Dim::Fixed(1)]
        }
        Op::Reshape { target } => reshape(x, target, output)?,
        Op::Flatten { axis } => {
            if *axis > x.len() {
                return Err(format!("axis {axis} of a shape {x:?}"));
            }
            let (outer, inner) = x.split_at(*axis);
            vec![product(outer, output, 0)?, product(inner, output, 1)?]
        }
        Op::Transpose { order } => transpose(x, order)?,
        Op::Activation(_) | Op::Quantize | Op::Dequantize | Op::Cast => x.to_vec(),
        op => axes::infer(op, x, inputs, output)?,
    };
    let size = shape.iter().filter_map(Dim::fixed).try_fold(1usize, |n, d| n.checked_mul(d));
    size.ok_or(format!("the shape {shape:?} has too many elements to count"))?;
    Ok(shape)
}

/// A dimension of which nothing is known until the model is run.
fn fresh(output: &str, axis: usize) -> Dim {
    Dim::Symbol(format!("{output}.{axis}"))
}

fn rank_4(shape: &[Dim]) -> Result<&[Dim; 4], String> {
    shape.try_into().map_err(|_| format!("shape {shape:?} does not have 4 dimensions"))
}

fn agree(dim: &Dim, expected: usize, what: &str) -> Result<(), String> {
    match dim {
        Dim::Fixed(n) if *n != expected => {
            Err(format!("the input has {n} {what} but the weight has {expected}"))
        }
        _ => Ok(()),
    }
}

fn check_bias(inputs: &[Option<&[Dim]>], n: usize) -> Result<(), String> {
    match inputs.get(2).copied().flatten() {
        Some(bias) if bias != [Dim::Fixed(n)] => {
            Err(format!("the bias is {bias:?} but the weight has {n} outputs"))
        }
        _ => Ok(()),
    }
}

/// How many windows there are along `axis` (0: height, 1: width).
fn slide(dim: &Dim, window: &Window, axis: usize, output: &str) -> Result<Dim, String> {
    if let Dim::Fixed(n) = dim {
        return window.out_len(axis, *n).map(Dim::Fixed);
    }
    let pads = window.pad_begin[axis].checked_add(window.pad_end[axis]);
    // As many windows as there were elements, whatever their number.
    let same = window.stride[axis] == 1 && pads.is_some_and(|p| p.checked_add(1) == window.span(axis));
    Ok(if same { dim.clone() } else { fresh(output, axis + 2) })
}

/// numpy's rule: shapes are aligned at their ends, and a 1 stretches.
fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let one = Dim::Fixed(1);
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(one.clone(), |i| s[i].clone());
    let pair = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y || y == one => Ok(x),
        (x, y) if x == one => Ok(y),
        (Dim::Fixed(_), Dim::Fixed(_)) => Err(format!("{a:?} and {b:?} cannot be broadcast")),
        // A symbol beside a number other than 1 can only be that number, or 1.
        (Dim::Symbol(_), fixed @ Dim::Fixed(_)) | (fixed, _) => Ok(fixed),
    };
    (0..rank).map(pair).collect()
}

/// Fixed factors, multiplied, and the symbols.
fn factors(dims: &[Dim]) -> Result<(usize, Vec<&str>), String> {
    let (mut fixed, mut symbols) = (1usize, Vec::new());
    for dim in dims {
        match dim {
            Dim::Fixed(n) => {
                fixed = fixed
                    .checked_mul(*n)
                    .ok_or(format!("the shape {dims:?} has too many elements to count"))?;
            }
            Dim::Symbol(s) => symbols.push(s.as_str()),
        }
    }
    Ok((fixed, symbols))
}

fn product(dims: &[Dim], output: &str, axis: usize) -> Result<Dim, String> {
    Ok(match factors(dims)? {
        (n, symbols) if symbols.is_empty() => Dim::Fixed(n),
        (1, symbols) if symbols.len() == 1 => Dim::Symbol(symbols[0].into()),
        _ => fresh(output, axis),
    })
}

fn transpose(x: &[Dim], order: &[usize]) -> Result<Vec<Dim>, String> {
    if x.len() > MAX_TRANSPOSED {
        return Err(format!("{} dimensions, more than {MAX_TRANSPOSED}", x.len()));
    }
    if order.len() != x.len() || !(0..x.len()).all(|d| order.contains(&d)) {
        return Err(format!("{order:?} is not an order of the dimensions of {x:?}"));
    }
    Ok(order.iter().map(|&d| x[d].clone()).collect())
}

fn reshape(x: &[Dim], target: &[i64], output: &str) -> Result<Vec<Dim>, String> {
    let fail = || format!("cannot reshape {x:?} to {target:?}");
    if target.len() > MAX_RANK {
        return Err(format!("{} dimensions, more than {MAX_RANK}", target.len()));
    }
    let mut shape = Vec::with_capacity(target.len());
    let mut inferred = None;
    for (axis, &t) in target.iter().enumerate() {
        shape.push(match t {
            // A placeholder of no effect on the product.
            -1 if inferred.replace(axis).is_none() => Dim::Fixed(1),
            0 => x.get(axis).ok_or_else(fail)?.clone(),
            1.. => Dim::Fixed(usize::try_from(t).map_err(|_| fail())?),
            _ => return Err(fail()),
        });
    }
    let (have, mut symbols) = factors(x)?;
    let (used, copied) = factors(&shape)?;
    for s in copied {
        if let Some(i) = symbols.iter().position(|have| *have == s) {
            symbols.swap_remove(i);
        }
    }
    match (inferred, symbols.as_slice()) {
        (None, []) if have != used => return Err(fail()),
        (None, _) => {}
        (Some(axis), []) => {
            let n = have.checked_div(used).filter(|n| n * used == have).ok_or_else(fail)?;
            shape[axis] = Dim::Fixed(n);
        }
        (Some(axis), [s]) if have == used => shape[axis] = Dim::Symbol((*s).into()),
        (Some(axis), _) => shape[axis] = fresh(output, axis),
    }
    Ok(shape)
}
