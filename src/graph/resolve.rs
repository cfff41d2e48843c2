//! From what waits for values to plain ops and constants.
//!
//! Exported files compute shapes in the graph: Shape, Gather, Concat, Reshape. When a model is made, what follows from
//! constants is settled, and of the rest the symbols are kept where they can be. When the shapes of the inputs are
//! known, all of it is: [`Model::specialize`].

use super::op::{Deferred, Fit, PadMode, Resize, SliceAxis};
use super::shape::{self, shape_range};
use super::{Activation, BinaryOp, Dim, Model, Node, Op, Value, ValueId};
use crate::error::{Error, Result};
use crate::reference;
use crate::tensor::{Data, Element, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// The most elements of a constant that the graph computes.
const MAX_FOLDED: usize = 1 << 26;

/// An element of a shape that the graph computes: a number, or a symbol.
type Extents = Vec<Dim>;

/// What is known of the values of shapes while some of their elements are symbols.
#[derive(Default)]
pub(crate) struct Known {
    extents: HashMap<ValueId, Extents>,
}

enum Resolved {
    /// The op on the first input.
    Op(Op),
    Constant(Tensor),
    Later,
}

impl Model {
    /// The same network for inputs of these shapes: every shape is known, nothing waits for values, and what does not
    /// depend on the inputs' elements is constant. Values keep their ids.
    ///
    /// # Errors
    /// [`Error::Model`] where an input is missing, unknown, or disagrees with the model or with another input about a
    /// dimension; [`Error::Node`] where the shapes do not fit an op, or depend on the inputs' elements.
    pub fn specialize(&self, inputs: &[(&str, Vec<usize>)]) -> Result<Model> {
        let mut model = self.clone();
        for (id, shape) in self.bind_inputs(inputs)? {
            model.values[id.0].shape = shape.into_iter().map(Dim::Fixed).collect();
        }
        let mut known = Known::default();
        let nodes = std::mem::take(&mut model.nodes);
        let mut kept = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            model.check_arity(&node)?;
            if !model.settle(&mut node, &mut known)? {
                kept.push(node);
            }
        }
        model.nodes = kept;
        model.drop_unused();
        Ok(model)
    }

    /// About a value whose shape no input's shape decides: [`Error::Node`] naming the node that makes it.
    pub(super) fn unknown_shape(&self, value: &Value) -> Error {
        let detail = format!("the shape of `{}` depends on the elements of the inputs", value.name);
        let makes = |n: &&Node| n.outputs.iter().any(|o| self.values[o.0].name == value.name);
        match self.nodes.iter().find(makes) {
            Some(node) => self.node_error(node, detail),
            None => Error::Model(detail),
        }
    }

    /// Settles every node as far as constants and symbols allow.
    pub(crate) fn settle_all(&mut self) -> Result<()> {
        let mut known = Known::default();
        let mut kept = Vec::with_capacity(self.nodes.len());
        let nodes = std::mem::take(&mut self.nodes);
        let mut nodes = nodes.into_iter();
        while let Some(mut node) = nodes.next() {
            // The arity is `validate`'s to refuse, which sees all nodes.
            let arity = self.check_arity(&node);
            match arity.and_then(|()| self.settle(&mut node, &mut known)) {
                Ok(true) => {}
                Ok(false) => kept.push(node),
                Err(error) => {
                    kept.push(node);
                    kept.extend(nodes);
                    self.nodes = kept;
                    return Err(error);
                }
            }
        }
        self.nodes = kept;
        Ok(())
    }

    /// Resolves what the node waits for and infers its output's shape. True where the output is a constant now, and the
    /// node no longer needed.
    pub(crate) fn settle(&mut self, node: &mut Node, known: &mut Known) -> Result<bool> {
        let output = node.outputs[0];
        let fail = |model: &Model, node: &Node, detail: String| model.node_error(node, detail);
        if let Op::Deferred(deferred) = &node.op {
            match self.resolve(deferred, node).map_err(|d| fail(self, node, d))? {
                Resolved::Op(op) => {
                    node.op = op;
                    node.inputs.truncate(1);
                }
                Resolved::Constant(tensor) => {
                    self.make_constant(output, tensor);
                    return Ok(true);
                }
                Resolved::Later => {}
            }
        }
        let shapes: Vec<_> =
            node.inputs.iter().map(|i| i.map(|i| self.values[i.0].shape.as_slice())).collect();
        let name = &self.values[output.0].name;
        let mut shape = shape::infer(&node.op, &shapes, name).map_err(|d| fail(self, node, d))?;
        if let Some(tensor) = self.fold(node, &shape).map_err(|e| fail(self, node, e.to_string()))? {
            self.make_constant(output, tensor);
            return Ok(true);
        }
        self.refine(node, known, &mut shape);
        self.values[output.0].shape = shape;
        if let Some(extents) = self.extents_made(node, known) {
            known.extents.insert(output, extents);
        }
        Ok(false)
    }

    fn make_constant(&mut self, id: ValueId, tensor: Tensor) {
        let value = &mut self.values[id.0];
        value.shape = tensor.shape().iter().map(|&n| Dim::Fixed(n)).collect();
        value.constant = Some(Arc::new(tensor));
    }

    /// Removes nodes that no output needs. Values keep their ids.
    pub(super) fn drop_unused(&mut self) {
        let mut used = vec![false; self.values.len()];
        self.outputs.iter().for_each(|id| used[id.0] = true);
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().any(|o| used[o.0]) {
                node.inputs.iter().flatten().for_each(|id| used[id.0] = true);
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
    }

    /// What the node makes, where its inputs are constants and that is worth having as one.
    fn fold(&self, node: &Node, shape: &[Dim]) -> Result<Option<Tensor>> {
        let inputs: Option<Vec<Option<&Tensor>>> = node
            .inputs
            .iter()
            .map(|id| match id {
                None => Some(None),
                Some(id) => {
                    let value = &self.values[id.0];
                    value.constant.as_deref().filter(|_| value.quant.is_none()).map(Some)
                }
            })
            .collect();
        let Some(inputs) = inputs.filter(|_| self.values[node.outputs[0].0].quant.is_none()) else {
            return Ok(None);
        };
        let fixed: Option<Vec<usize>> = shape.iter().map(Dim::fixed).collect();
        let Some((x, fixed)) = inputs.first().copied().flatten().zip(fixed) else { return Ok(None) };
        let count = fixed.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let read = inputs.iter().flatten().map(|t| t.len()).sum::<usize>();
        // Something small that is spread over much is better spread by the device.
        if count.is_none_or(|n| n > MAX_FOLDED || n > (8 * read).max(1 << 16)) {
            return Ok(None);
        }
        let element = self.values[node.outputs[0].0].element;
        match &node.op {
            Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                x.clone().reshape(fixed).map(Some)
            }
            Op::Activation(Activation::Identity) => Ok(Some(x.clone())),
            Op::Activation(activation) => {
                let made = reference::activate(&x.to_f32(), *activation);
                Ok(super::passes::floats(element, x.shape(), made))
            }
            Op::Add { activation: Activation::Identity } => {
                let Some(b) = inputs[1] else { return Ok(None) };
                reference::binary(BinaryOp::Add, x, b).map(Some)
            }
            op => reference::evaluate(op, &inputs, element),
        }
    }

    /// The plain op that a deferred one has become, or what is wrong with its numbers.
    fn resolve(&self, op: &Deferred, node: &Node) -> Result<Resolved, String> {
        let operand = |i: usize| node.inputs.get(i).copied().flatten();
        let tensor = |i: usize| operand(i).and_then(|id| self.constant(id));
        let x = &self.values[operand(0).ok_or("input 0 is left out")?.0].shape;
        let numbers = |i: usize| tensor(i).map(|t| integers(t, i)).transpose();
        let axis = |a: i64, rank: usize| {
            let rank_i = i64::try_from(rank).unwrap_or(i64::MAX);
            let from_end = if a < 0 { a.saturating_add(rank_i) } else { a };
            let place = usize::try_from(from_end).ok().filter(|&p| p < rank);
            place.ok_or(format!("axis {a} of {rank} dimensions"))
        };
        let fixed: Option<Vec<usize>> = x.iter().map(Dim::fixed).collect();
        let later = Ok(Resolved::Later);
        let plain = |op: Op| Ok(Resolved::Op(op));
        match op {
            Deferred::Shape { start, end } => {
                let (start, end) = shape_range(*start, *end, x.len());
                let dims: Option<Vec<i64>> =
                    x[start..end].iter().map(|d| d.fixed().map(|n| n as i64)).collect();
                dims.map_or(later, |dims| constant(&[end - start], Data::I64(dims)))
            }
            Deferred::Size => fixed.map_or(Ok(Resolved::Later), |d| {
                constant(&[], Data::I64(vec![d.iter().product::<usize>() as i64]))
            }),
            Deferred::Reshape { allow_zero } => {
                let Some(target) = numbers(1)? else { return later };
                if !(*allow_zero && target.contains(&0)) {
                    return plain(Op::Reshape { target });
                }
                let shape: Option<Vec<usize>> = target.iter().map(|&n| usize::try_from(n).ok()).collect();
                match (shape, fixed) {
                    (Some(shape), Some(x)) if x.contains(&0) => {
                        let element = operand(0).map(|id| self.values[id.0].element).unwrap_or_default();
                        Tensor::new(shape, empty(element)).map(Resolved::Constant).map_err(|e| e.to_string())
                    }
                    (Some(_), None) => later,
                    _ => Err(format!("cannot reshape {x:?} to {target:?}")),
                }
            }
            Deferred::Expand => match numbers(1)? {
                Some(shape) => plain(Op::Expand { shape: sizes(&shape)? }),
                None => later,
            },
            Deferred::Tile => match numbers(1)? {
                Some(repeats) => plain(Op::Tile { repeats: sizes(&repeats)? }),
                None => later,
            },
            Deferred::Slice => {
                let (Some(starts), Some(ends)) = (numbers(1)?, numbers(2)?) else { return later };
                let (axes, steps) = (numbers(3)?, numbers(4)?);
                if (operand(3).is_some() && axes.is_none()) || (operand(4).is_some() && steps.is_none()) {
                    return later;
                }
                let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
                let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
                if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
                    let counts = [starts.len(), ends.len(), axes.len(), steps.len()];
                    return Err(format!("starts, ends, axes and steps have {counts:?} elements"));
                }
                let mut parts: Vec<SliceAxis> = Vec::with_capacity(axes.len());
                for i in 0..axes.len() {
                    let part = SliceAxis {
                        axis: axis(axes[i], x.len())?,
                        start: starts[i],
                        end: ends[i],
                        step: steps[i],
                    };
                    if part.step == 0 || parts.iter().any(|p| p.axis == part.axis) {
                        return Err(format!("axes {axes:?} in steps of {steps:?}"));
                    }
                    parts.push(part);
                }
                plain(Op::Slice { axes: parts })
            }
            Deferred::Pad { mode } => {
                let (pads, axes) = (numbers(1)?, numbers(3)?);
                let waits = |i: usize| operand(i).is_some() && tensor(i).is_none();
                let Some(pads) = pads.filter(|_| !waits(2) && !waits(3)) else { return later };
                let axes = axes.unwrap_or_else(|| (0..x.len() as i64).collect());
                if pads.len() != 2 * axes.len() {
                    return Err(format!("{} pads of {} axes", pads.len(), axes.len()));
                }
                let (mut begin, mut end) = (vec![0; x.len()], vec![0; x.len()]);
                for (i, &a) in axes.iter().enumerate() {
                    let a = axis(a, x.len())?;
                    (begin[a], end[a]) = (pads[i], pads[axes.len() + i]);
                }
                let mode = match (mode, tensor(2)) {
                    (PadMode::Constant(_), Some(value)) => {
                        PadMode::Constant(*value.to_f32().first().ok_or("the value is empty")?)
                    }
                    (mode, _) => *mode,
                };
                plain(Op::Pad { begin, end, mode })
            }
            Deferred::Resize { coordinates, interpolation, axes, fit } => {
                let waits = |i: usize| operand(i).is_some() && tensor(i).is_none();
                let Some(x) = fixed.filter(|_| !waits(1) && !waits(2)) else { return later };
                let axes: Vec<usize> = if axes.is_empty() { (0..x.len()).collect() } else { axes.clone() };
                let given = tensor(1).filter(|t| !t.is_empty()).map(Tensor::to_f32);
                let (sizes, scales) = resized(&x, &axes, given, numbers(2)?, *fit)?;
                let (coordinates, interpolation) = (*coordinates, *interpolation);
                plain(Op::Resize(Resize { sizes, scales, coordinates, interpolation }))
            }
            Deferred::ConstantOfShape { value } => {
                let Some(shape) = numbers(0)? else { return later };
                let shape = sizes(&shape)?;
                let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
                let count = count.filter(|&n| n <= MAX_FOLDED);
                let count = count.ok_or(format!("{shape:?} is more than {MAX_FOLDED} elements"))?;
                let data = repeated(value.data(), count).ok_or("its value is empty")?;
                constant(&shape, data)
            }
            Deferred::Range => {
                let (Some(start), Some(limit), Some(delta)) = (tensor(0), tensor(1), tensor(2)) else {
                    return later;
                };
                range(start, limit, delta).map(Resolved::Constant)
            }
            Deferred::Squeeze => match (operand(1), numbers(1)?, fixed) {
                (Some(_), Some(axes), _) => {
                    let axes = axes.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>, _>>()?;
                    plain(Op::Squeeze { axes: sorted(axes) })
                }
                (None, _, Some(x)) => {
                    plain(Op::Squeeze { axes: (0..x.len()).filter(|&i| x[i] == 1).collect() })
                }
                _ => later,
            },
            Deferred::Unsqueeze => {
                let Some(axes) = numbers(1)? else { return later };
                let rank = x.len() + axes.len();
                let axes = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
                plain(Op::Unsqueeze { axes: sorted(axes) })
            }
            Deferred::Reduce { op, keep, none_without_axes } => {
                let axes = match (operand(1), numbers(1)?) {
                    (Some(_), None) => return later,
                    (_, axes) => axes.unwrap_or_default(),
                };
                if axes.is_empty() && *none_without_axes {
                    return plain(Op::Activation(Activation::Identity));
                }
                let axes = axes.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>, _>>()?;
                let axes = if axes.is_empty() { (0..x.len()).collect() } else { sorted(axes) };
                plain(Op::Reduce { op: *op, axes, keep: *keep })
            }
            Deferred::Split { axis, index } => {
                let Some(parts) = numbers(1)? else { return later };
                let before = parts.iter().take(*index).try_fold(0i64, |n, &p| n.checked_add(p));
                let (Some(start), Some(&size)) = (before, parts.get(*index)) else {
                    return Err(format!("part {index} of {parts:?}"));
                };
                let total = parts.iter().try_fold(0i64, |n, &p| n.checked_add(p).filter(|_| p >= 0));
                let n = x.get(*axis).and_then(Dim::fixed);
                if total.is_none() || n.is_some_and(|n| total != i64::try_from(n).ok()) {
                    return Err(format!("parts {parts:?} of axis {axis} of {x:?}"));
                }
                plain(part(*axis, start, size))
            }
            Deferred::Part { axis, parts, index } => {
                let Some(n) = x.get(*axis).and_then(Dim::fixed) else { return later };
                let size = n.div_ceil((*parts).max(1));
                let start = size.checked_mul(*index).filter(|&s| s <= n).unwrap_or(n);
                plain(part(*axis, start as i64, (n - start).min(size) as i64))
            }
            Deferred::CumSum { exclusive, reverse } => match numbers(1)?.as_deref() {
                Some(&[a]) => {
                    let axis = axis(a, x.len())?;
                    plain(Op::CumSum { axis, exclusive: *exclusive, reverse: *reverse })
                }
                Some(other) => Err(format!("the axis is {other:?}")),
                None => later,
            },
        }
    }

    /// Replaces new symbols in a shape by those that the graph's own arithmetic on shapes tells.
    fn refine(&self, node: &Node, known: &Known, shape: &mut [Dim]) {
        let Op::Deferred(deferred) = &node.op else { return };
        let extents = |i: usize| self.extents(*node.inputs.get(i)?.as_ref()?, known);
        let x = |i: usize| node.inputs[0].and_then(|id| self.values[id.0].shape.get(i).cloned());
        let told: Option<Vec<Option<Dim>>> = match deferred {
            Deferred::Reshape { allow_zero } => extents(1).map(|dims| {
                let each = |(i, d): (usize, Option<Dim>)| match d {
                    Some(Dim::Fixed(0)) if !allow_zero => x(i),
                    d => d,
                };
                dims.into_iter().enumerate().map(each).collect()
            }),
            Deferred::ConstantOfShape { .. } => extents(0),
            _ => None,
        };
        for (dim, told) in shape.iter_mut().zip(told.into_iter().flatten()) {
            if let Some(told) = told {
                *dim = told;
            }
        }
    }

    /// The elements of a shape; `None` for one that is neither a size nor a symbol.
    fn extents(&self, id: ValueId, known: &Known) -> Option<Vec<Option<Dim>>> {
        if let Some(tensor) = self.constant(id) {
            let numbers = integers(tensor, 0).ok().filter(|n| n.len() <= shape::MAX_RANK)?;
            return Some(numbers.iter().map(|&n| usize::try_from(n).ok().map(Dim::Fixed)).collect());
        }
        known.extents.get(&id).map(|dims| dims.iter().cloned().map(Some).collect())
    }

    /// The elements that a node of the graph's arithmetic on shapes makes, where all are sizes or symbols.
    fn extents_made(&self, node: &Node, known: &Known) -> Option<Extents> {
        let element = self.values[node.outputs[0].0].element;
        if !matches!(element, Element::I64 | Element::I32) {
            return None;
        }
        let all = |i: usize| -> Option<Extents> {
            self.extents(*node.inputs.get(i)?.as_ref()?, known)?.into_iter().collect()
        };
        match &node.op {
            Op::Deferred(Deferred::Shape { start, end }) => {
                let x = &self.values[node.inputs[0]?.0].shape;
                let (start, end) = shape_range(*start, *end, x.len());
                Some(x[start..end].to_vec())
            }
            Op::Gather { axis: 0 } => {
                let (x, indices) = (all(0)?, integers(self.constant(node.inputs[1]?)?, 1).ok()?);
                let n = i64::try_from(x.len()).ok()?;
                let pick = |&i: &i64| x.get(usize::try_from(if i < 0 { i + n } else { i }).ok()?).cloned();
                indices.iter().map(pick).collect()
            }
            Op::Slice { axes } => match axes.as_slice() {
                [part] if part.step == 1 => {
                    let x = all(0)?;
                    let (start, count) = part.range(x.len());
                    x.get(start..start.checked_add(count)?).map(<[Dim]>::to_vec)
                }
                _ => None,
            },
            Op::Concat { axis: 0 } => {
                let mut made = Vec::new();
                for i in 0..node.inputs.len() {
                    made.extend(all(i)?);
                }
                Some(made)
            }
            Op::Squeeze { .. } | Op::Unsqueeze { .. } | Op::Cast | Op::Activation(_) | Op::Reshape { .. } => {
                all(0)
            }
            _ => None,
        }
    }
}

fn constant(shape: &[usize], data: Data) -> Result<Resolved, String> {
    Tensor::new(shape, data).map(Resolved::Constant).map_err(|e| e.to_string())
}

fn sorted(mut axes: Vec<usize>) -> Vec<usize> {
    axes.sort_unstable();
    axes.dedup();
    axes
}

fn part(axis: usize, start: i64, size: i64) -> Op {
    Op::Slice { axes: vec![SliceAxis { axis, start, end: start.saturating_add(size), step: 1 }] }
}

/// The elements of a tensor of integers.
fn integers(tensor: &Tensor, input: usize) -> Result<Vec<i64>, String> {
    match tensor.data() {
        Data::I64(v) => Ok(v.clone()),
        Data::I32(v) => Ok(v.iter().map(|&x| x.into()).collect()),
        _ => Err(format!("input {input} is of {:?}, not of integers", tensor.element())),
    }
}

fn sizes(numbers: &[i64]) -> Result<Vec<usize>, String> {
    let all: Option<Vec<usize>> = numbers.iter().map(|&n| usize::try_from(n).ok()).collect();
    all.ok_or(format!("{numbers:?} has a negative number"))
}

fn empty(element: Element) -> Data {
    match element {
        Element::F32 => Data::F32(vec![]),
        Element::F16 => Data::F16(vec![]),
        Element::I8 => Data::I8(vec![]),
        Element::U8 => Data::U8(vec![]),
        Element::I32 => Data::I32(vec![]),
        Element::I64 => Data::I64(vec![]),
        Element::Bool => Data::Bool(vec![]),
    }
}

fn repeated(one: &Data, n: usize) -> Option<Data> {
    Some(match one {
        Data::F32(v) => Data::F32(vec![*v.first()?; n]),
        Data::F16(v) => Data::F16(vec![*v.first()?; n]),
        Data::I8(v) => Data::I8(vec![*v.first()?; n]),
        Data::U8(v) => Data::U8(vec![*v.first()?; n]),
        Data::I32(v) => Data::I32(vec![*v.first()?; n]),
        Data::I64(v) => Data::I64(vec![*v.first()?; n]),
        Data::Bool(v) => Data::Bool(vec![*v.first()?; n]),
    })
}

/// ONNX's Range: `max(ceil((limit - start) / delta), 0)` numbers.
fn range(start: &Tensor, limit: &Tensor, delta: &Tensor) -> Result<Tensor, String> {
    let bounded = |n: f64| {
        let n = n.ceil().max(0.0);
        if n <= MAX_FOLDED as f64 {
            Ok(n as usize)
        } else {
            Err(format!("{n} elements, more than {MAX_FOLDED}"))
        }
    };
    let data = match (start.data(), limit.data(), delta.data()) {
        (Data::F32(_), Data::F32(_), Data::F32(_)) | (Data::F16(_), Data::F16(_), Data::F16(_)) => {
            let [s, l, d] = [start, limit, delta].map(Tensor::to_f32);
            let (&[s], &[l], &[d]) = (&s[..], &l[..], &d[..]) else { return Err("it takes scalars".into()) };
            let n = bounded((f64::from(l) - f64::from(s)) / f64::from(d))?;
            let all: Vec<f32> = (0..n).map(|i| s + i as f32 * d).collect();
            match start.element() {
                Element::F16 => Data::F16(all.into_iter().map(half::f16::from_f32).collect()),
                _ => Data::F32(all),
            }
        }
        _ => {
            let [s, l, d] = [integers(start, 0)?, integers(limit, 1)?, integers(delta, 2)?];
            let (&[s], &[l], &[d]) = (&s[..], &l[..], &d[..]) else { return Err("it takes scalars".into()) };
            if d == 0 {
                return Err("its delta is 0".into());
            }
            let n = bounded((l as f64 - s as f64) / d as f64)?;
            let each = (0..n as i64).map(|i| s.wrapping_add(i.wrapping_mul(d)));
            match start.element() {
                Element::I32 => Data::I32(each.map(|x| x as i32).collect()),
                _ => Data::I64(each.collect()),
            }
        }
    };
    Tensor::new([data.len()], data).map_err(|e| e.to_string())
}

/// The sizes and scales of all dimensions, from the scales or sizes of some.
fn resized(
    x: &[usize],
    axes: &[usize],
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
    fit: Fit,
) -> Result<(Vec<usize>, Vec<f32>), String> {
    let (mut out, mut all) = (x.to_vec(), vec![1.0; x.len()]);
    let count = scales.as_ref().map(Vec::len).or(sizes.as_ref().map(Vec::len)).unwrap_or(0);
    if count != axes.len() || axes.iter().any(|&a| a >= x.len()) {
        return Err(format!("{count} scales or sizes for the axes {axes:?} of {x:?}"));
    }
    if let Some(scales) = scales {
        for (&a, &s) in axes.iter().zip(&scales) {
            let size = (x[a] as f64 * f64::from(s)).floor();
            if !(s > 0.0 && size >= 0.0 && size < 2f64.powi(31)) {
                return Err(format!("scale {s} of axis {a} of {x:?}"));
            }
            (out[a], all[a]) = (size as usize, s);
        }
        return Ok((out, all));
    }
    let sizes = self::sizes(&sizes.unwrap_or_default())?;
    let ratio = |(&a, &n): (&usize, &usize)| n as f32 / x[a].max(1) as f32;
    let ratios = axes.iter().zip(&sizes).map(ratio);
    let one = match fit {
        Fit::Stretch => None,
        Fit::NotLarger => ratios.reduce(f32::min),
        Fit::NotSmaller => ratios.reduce(f32::max),
    };
    for (&a, &n) in axes.iter().zip(&sizes) {
        out[a] = one.map_or(n, |s| (s * x[a] as f32).round() as usize);
        all[a] = one.unwrap_or(out[a] as f32 / x[a].max(1) as f32);
    }
    Ok((out, all))
}
