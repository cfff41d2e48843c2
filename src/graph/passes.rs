//! Rewrites that make a model smaller without changing what it computes.

use super::{Activation, Dim, Model, Node, Op, Quant, ValueId, Window};
use crate::error::Result;
use crate::tensor::{Data, Element, Tensor};
use half::f16;

impl Model {
    /// The same network with fewer nodes: identities and pairs of opposite reshapes are dropped; per-channel scaling
    /// (a batch normalization), constant biases and activations go into the Conv, Linear or Add before them, and
    /// functions into the Conv or Linear; GELU, norms and attention that are written out become one op each; ops between
    /// Dequantize and Quantize become int8 ops; int8 weights become floats beside a float input, where no kernel reads
    /// them there; what no output needs is removed. Outputs keep their names.
    ///
    /// # Errors
    /// As [`Model::validate`], before and after.
    pub fn simplify(mut self) -> Result<Self> {
        self.settle_all()?;
        self.compact();
        self.validate()?;
        Rewriter::new(&mut self).run(false)?;
        self.fuse();
        // Only now: a function may have been part of a pattern, or be one.
        Rewriter::new(&mut self).run(true)?;
        self.compact();
        fold_quantization(&mut self);
        self.widen_weights()?;
        self.compact();
        self.validate()?;
        Ok(self)
    }

    /// Removes nodes that no output needs, then values that nothing names.
    pub(crate) fn compact(&mut self) {
        self.drop_unused();
        let mut used = vec![false; self.values.len()];
        let named = self.nodes.iter().flat_map(|n| n.inputs.iter().flatten().chain(&n.outputs));
        named.chain(&self.inputs).chain(&self.outputs).for_each(|id| used[id.0] = true);
        let mut moved = vec![None; self.values.len()];
        let values = std::mem::take(&mut self.values);
        for (old, value) in values.into_iter().enumerate().filter(|(old, _)| used[*old]) {
            moved[old] = Some(ValueId(self.values.len()));
            self.values.push(value);
        }
        // Whatever is named was marked as used above, so each has a new place.
        let place = |id: &mut ValueId| *id = moved[id.0].unwrap_or(*id);
        self.nodes.iter_mut().for_each(|node| {
            node.inputs.iter_mut().flatten().for_each(place);
            node.outputs.iter_mut().for_each(place);
        });
        self.inputs.iter_mut().for_each(place);
        self.outputs.iter_mut().for_each(place);
        self.names = self.value_ids().zip(&self.values).map(|(id, v)| (v.name.clone(), id)).collect();
    }
}

/// A tensor of either float.
pub(crate) fn floats(element: Element, shape: &[usize], data: Vec<f32>) -> Option<Tensor> {
    let data = match element {
        Element::F32 => Data::F32(data),
        Element::F16 => Data::F16(data.into_iter().map(f16::from_f32).collect()),
        _ => return None,
    };
    Tensor::new(shape, data).ok()
}

/// One walk over the nodes in order. A node that is merged into an earlier one is marked in `removed`; later nodes find
/// what to read instead of its output in `alias`.
struct Rewriter<'m> {
    model: &'m mut Model,
    producer: Vec<Option<usize>>,
    /// Readers of each value, the caller counting as one where it is an output.
    uses: Vec<usize>,
    alias: Vec<ValueId>,
    removed: Vec<bool>,
}

impl<'m> Rewriter<'m> {
    fn new(model: &'m mut Model) -> Self {
        let mut uses: Vec<usize> = model.consumers().iter().map(Vec::len).collect();
        model.outputs.iter().for_each(|o| uses[o.0] += 1);
        Self {
            producer: model.producers(),
            uses,
            alias: model.value_ids().collect(),
            removed: vec![false; model.nodes.len()],
            model,
        }
    }

    fn run(mut self, functions: bool) -> Result<()> {
        for i in 0..self.model.nodes.len() {
            for input in self.model.nodes[i].inputs.iter_mut().flatten() {
                *input = self.alias[input.0];
            }
            match self.model.nodes[i].op {
                Op::Activation(Activation::Identity) => {
                    let x = self.input(i, 0);
                    self.forward(i, x);
                }
                Op::Reshape { .. } | Op::Flatten { .. } => self.drop_reshape(i),
                Op::Transpose { ref order } if order.is_sorted() => {
                    let x = self.input(i, 0);
                    self.forward(i, x);
                }
                Op::Conv { .. } => self.fold_scale(i)?,
                Op::Add { .. } => self.fold_bias(i)?,
                Op::Activation(activation) => self.fuse_activation(i, activation),
                Op::Unary(f) if functions && !f.is_predicate() => {
                    self.fuse_activation(i, Activation::Function(f));
                }
                _ => {}
            }
        }
        let removed = self.removed;
        let mut i = 0;
        self.model.nodes.retain(|_| {
            i += 1;
            !removed[i - 1]
        });
        Ok(())
    }

    fn input(&self, node: usize, i: usize) -> ValueId {
        // Arity was checked by `validate`: required inputs are there.
        self.model.nodes[node].inputs[i].unwrap_or(ValueId(0))
    }

    fn output(&self, node: usize) -> ValueId {
        self.model.nodes[node].outputs[0]
    }

    /// The node that makes `x`, where nothing but the node at hand reads it.
    fn sole_producer(&self, x: ValueId) -> Option<usize> {
        self.producer[x.0].filter(|_| self.uses[x.0] == 1)
    }

    /// [`Rewriter::sole_producer`], seen through reshapes that `pass` lets through.
    fn behind_reshapes(&self, mut x: ValueId, pass: impl Fn(&[Dim], &[Dim]) -> bool) -> Option<usize> {
        loop {
            let p = self.sole_producer(x)?;
            if !matches!(self.model.nodes[p].op, Op::Reshape { .. } | Op::Flatten { .. }) {
                return Some(p);
            }
            let before = self.input(p, 0);
            if !pass(&self.model.value(before).shape, &self.model.value(x).shape) {
                return None;
            }
            x = before;
        }
    }

    /// Removes node `i`, whose one used input `x` equals its output: whatever made `x` makes the output instead.
    fn splice(&mut self, i: usize, x: ValueId) {
        let y = self.output(i);
        if let Some(p) = self.producer[x.0] {
            let name = self.model.nodes[i].name.clone();
            self.model.nodes[p].fused.push(name);
            self.model.nodes[p].outputs[0] = y;
            self.producer[y.0] = Some(p);
            self.uses[x.0] = 0;
            self.removed[i] = true;
        }
    }

    /// Removes node `i`, whose output equals `x`, which others may read too.
    fn forward(&mut self, i: usize, x: ValueId) {
        let (y, read) = (self.output(i), self.input(i, 0));
        if !self.model.outputs.contains(&y) {
            self.alias[y.0] = x;
            self.uses[x.0] += self.uses[y.0];
            self.uses[read.0] -= 1;
            self.removed[i] = true;
        } else if self.uses[x.0] == 1 && read == x {
            // An input or a constant has no producer: then the node stays, to give the output its name.
            self.splice(i, x);
        }
    }

    fn drop_reshape(&mut self, i: usize) {
        let (x, y) = (self.input(i, 0), self.output(i));
        let same = |a: ValueId, b: ValueId| self.model.value(a).shape == self.model.value(b).shape;
        if same(x, y) {
            return self.forward(i, x);
        }
        let Some(p) = self.producer[x.0] else { return };
        if matches!(self.model.nodes[p].op, Op::Reshape { .. } | Op::Flatten { .. }) {
            let before = self.input(p, 0);
            if same(before, y) {
                let only = self.uses[x.0] == 1 && self.uses[before.0] == 1;
                if only && self.producer[before.0].is_some() {
                    self.splice(i, before);
                    self.removed[p] = true;
                } else {
                    self.forward(i, before);
                }
            }
        }
    }

    /// A depthwise 1x1 convolution after a Conv or Linear: `w' = w * s[o]`, `b' = b * s + t` (NUMERICS 5.1).
    fn fold_scale(&mut self, i: usize) -> Result<()> {
        let node = &self.model.nodes[i];
        let Op::Conv { window, groups, activation } = node.op else { return Ok(()) };
        let (x, weight, bias) = (self.input(i, 0), self.input(i, 1), node.inputs.get(2).copied().flatten());
        let depthwise = [groups, 1, 1, 1].map(Dim::Fixed);
        if window != Window::new([1, 1], [1, 1]) || self.model.value(weight).shape != depthwise {
            return Ok(());
        }
        let channels = Dim::Fixed(groups);
        let keeps_channels = |a: &[Dim], b: &[Dim]| matches!((a, b), ([n, c, ..], [m, d, ..]) if n == m && *c == channels && *d == channels);
        let Some(p) = self.behind_reshapes(x, keeps_channels) else { return Ok(()) };
        let target = &self.model.nodes[p];
        let rows = match target.op {
            Op::Conv { .. } => true,
            Op::Linear { .. } => self.model.value(target.outputs[0]).shape.len() == 2,
            _ => false,
        };
        if !rows || target.op.activation() != Some(Activation::Identity) {
            return Ok(());
        }
        let (old_weight, old_bias) = (self.input(p, 1), target.inputs.get(2).copied().flatten());
        let element = self.model.value(old_weight).element;
        let Some((scale, shift)) = self.float(Some(weight)).zip(self.float(bias).or(Some(vec![0.0; groups])))
        else {
            return Ok(());
        };
        let (Some(mut w), Some(w_tensor)) = (self.float(Some(old_weight)), self.model.constant(old_weight))
        else {
            return Ok(());
        };
        let shape = w_tensor.shape().to_vec();
        let per_channel = w.len() / groups;
        for (row, s) in w.chunks_mut(per_channel.max(1)).zip(&scale) {
            row.iter_mut().for_each(|w| *w *= s);
        }
        let b = self.float(old_bias).unwrap_or(vec![0.0; groups]);
        let b = b.iter().zip(scale.iter().zip(&shift)).map(|(b, (s, t))| b * s + t).collect();
        let (Some(w), Some(b)) = (floats(element, &shape, w), floats(element, &[groups], b)) else {
            return Ok(());
        };
        self.set_constant(p, 1, w)?;
        self.set_constant(p, 2, b)?;
        set_activation(&mut self.model.nodes[p].op, activation);
        self.splice(i, x);
        Ok(())
    }

    /// The elements of a float constant.
    fn float(&self, id: Option<ValueId>) -> Option<Vec<f32>> {
        let tensor = self.model.constant(id?)?;
        matches!(tensor.element(), Element::F32 | Element::F16).then(|| tensor.to_f32())
    }

    /// Replaces input `i` of `node`, in place where it is the node's own.
    fn set_constant(&mut self, node: usize, i: usize, tensor: Tensor) -> Result<()> {
        let old = self.model.nodes[node].inputs.get(i).copied().flatten();
        let own =
            old.filter(|o| self.uses[o.0] == 1 && self.model.value(*o).shape.len() == tensor.shape().len());
        if let Some(id) = own {
            self.model.values[id.0].constant = Some(tensor.into());
            return Ok(());
        }
        let output = &self.model.value(self.output(node)).name;
        let base = old.map_or(format!("{output}.bias"), |o| format!("{}.folded", self.model.value(o).name));
        let id = self.model.add_constant(self.model.free_name(&base), tensor)?;
        self.replace_input(node, i, id);
        Ok(())
    }

    /// Lets `node` read `id`, a constant that may be new, as input `i`.
    fn replace_input(&mut self, node: usize, i: usize, id: ValueId) {
        for new in self.alias.len()..self.model.values.len() {
            self.alias.push(ValueId(new));
            self.producer.push(None);
            self.uses.push(0);
        }
        let inputs = &mut self.model.nodes[node].inputs;
        if inputs.len() <= i {
            inputs.resize(i + 1, None);
        }
        if let Some(old) = inputs[i].replace(id) {
            self.uses[old.0] -= 1;
        }
        self.uses[id.0] += 1;
    }

    /// A constant that is one number, or one for each output channel, added to a Conv or Linear: its bias.
    fn fold_bias(&mut self, i: usize) -> Result<()> {
        let (a, b) = (self.input(i, 0), self.input(i, 1));
        let (x, constant) = if self.model.constant(b).is_some() { (a, b) } else { (b, a) };
        let Some(p) = self.sole_producer(x) else { return Ok(()) };
        let (target, shape) = (&self.model.nodes[p], &self.model.value(x).shape);
        let axis = match target.op {
            Op::Conv { .. } => 1,
            Op::Linear { .. } => shape.len() - 1,
            _ => return Ok(()),
        };
        let Some(added) = self.float(Some(constant)) else { return Ok(()) };
        let Some(n) = shape[axis].fixed() else { return Ok(()) };
        let own = &self.model.value(constant).shape;
        // Aligned at the end, as numpy does: every dimension but the channels' must be 1.
        let aligned = own.len() <= shape.len()
            && own
                .iter()
                .rev()
                .zip((0..shape.len()).rev())
                .all(|(d, at)| *d == Dim::Fixed(1) || (at == axis && *d == Dim::Fixed(n)));
        let old = target.inputs.get(2).copied().flatten();
        let element = self.model.value(constant).element;
        if !aligned
            || element != self.model.value(x).element
            || target.op.activation() != Some(Activation::Identity)
            || old.is_some_and(|old| self.model.value(old).element != element)
        {
            return Ok(());
        }
        let read_here_only = self.uses[constant.0] == 1;
        if old.is_none() && added.len() == n && (read_here_only || own.len() == 1) {
            // It becomes the bias itself, and keeps its name.
            if let Some(tensor) = floats(element, &[n], added) {
                let value = &mut self.model.values[constant.0];
                (value.shape, value.constant) = (vec![Dim::Fixed(n)], Some(tensor.into()));
            }
            self.replace_input(p, 2, constant);
        } else {
            let old = self.float(old).unwrap_or(vec![0.0; n]);
            let sum = old.iter().zip(added.iter().cycle()).map(|(a, b)| a + b).collect();
            let Some(bias) = floats(element, &[n], sum) else { return Ok(()) };
            self.set_constant(p, 2, bias)?;
        }
        self.uses[constant.0] -= 1;
        let activation = self.model.nodes[i].op.activation().unwrap_or_default();
        set_activation(&mut self.model.nodes[p].op, activation);
        self.splice(i, x);
        Ok(())
    }

    fn fuse_activation(&mut self, i: usize, activation: Activation) {
        let x = self.input(i, 0);
        // Elementwise, so it may as well come before any reshape.
        let Some(p) = self.behind_reshapes(x, |_, _| true) else { return };
        let op = &self.model.nodes[p].op;
        let takes = !matches!(activation, Activation::Function(_)) || !matches!(op, Op::Add { .. });
        if takes && op.activation() == Some(Activation::Identity) {
            set_activation(&mut self.model.nodes[p].op, activation);
            self.splice(i, x);
        }
    }
}

fn set_activation(op: &mut Op, new: Activation) {
    if let Op::Conv { activation, .. } | Op::Linear { activation } | Op::Add { activation } = op {
        *activation = new;
    }
}

/// Ops that read from Dequantize become int8 ops. Where a Quantize is all that reads the output, its output is made
/// directly; a Conv or Linear may make a real number otherwise. What does not fit is left as it is.
fn fold_quantization(model: &mut Model) {
    let (producers, consumers) = (model.producers(), model.consumers());
    let per_tensor = |model: &Model, id: ValueId| match &model.value(id).quant {
        Some(Quant::Static { axis: None, params }) => Some(params[0]),
        _ => None,
    };
    for i in 0..model.nodes.len() {
        let node = &model.nodes[i];
        let computes = matches!(node.op, Op::Conv { .. } | Op::Linear { .. });
        let operands = match node.op {
            Op::Conv { .. } | Op::Linear { .. } => 1,
            Op::Add { .. } => 2,
            Op::Pool { .. } | Op::GlobalAveragePool | Op::Activation(_) => 1,
            Op::Concat { .. } => node.inputs.len(),
            ref op if op.passes_values() => 1,
            _ => continue,
        };
        let keeps = node.op.passes_values() || matches!(node.op, Op::Concat { .. });
        let dequantized = |id: &Option<ValueId>| {
            let from: &Node = &model.nodes[producers[id.as_ref()?.0]?];
            let q = *from.inputs.first().filter(|_| from.op == Op::Dequantize)?;
            q.filter(|q| per_tensor(model, *q).is_some())
        };
        let read: Option<Vec<ValueId>> = node.inputs[..operands].iter().map(dequantized).collect();
        let Some(read) = read else { continue };
        if computes && node.inputs[1].is_none_or(|w| model.value(w).element != Element::I8) {
            continue;
        }
        let y = node.outputs[0];
        let quantize = match consumers[y.0].as_slice() {
            [q] if model.nodes[*q].op == Op::Quantize && !model.outputs.contains(&y) => {
                Some(model.nodes[*q].outputs[0])
            }
            _ => None,
        };
        let quantized = quantize.filter(|q| per_tensor(model, *q).is_some());
        match quantized {
            None if !computes => continue,
            Some(q) if keeps && read.iter().any(|x| per_tensor(model, q) != per_tensor(model, *x)) => {
                continue;
            }
            Some(q) => {
                let quantize = consumers[y.0][0];
                model.nodes[i].outputs[0] = q;
                // It makes a value of its own now, which nothing reads: the next compaction removes it.
                model.nodes[quantize].outputs[0] = y;
            }
            None => {}
        }
        for (input, q) in model.nodes[i].inputs.iter_mut().zip(read) {
            *input = Some(q);
        }
    }
}
