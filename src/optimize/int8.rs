//! Static and dynamic int8.

use super::policy::Policy;
use super::rewrite::{Rewrite, require_f32};
use super::weights::quantize_weight;
use crate::calibrate::Ranges;
use crate::error::Result;
use crate::graph::{Model, Node, Op, Output, PoolKind, Quant, ValueId};
use crate::quant::{Range, Scheme};
use crate::tensor::Element;

/// How [`static_int8`] quantizes.
#[derive(Clone, Debug)]
pub struct StaticOptions {
    /// From a weight's range to its parameters. Symmetric, -128..=127, by default.
    pub weights: Scheme,
    /// From an activation's range to its parameters. Affine, -128..=127, by default.
    pub activations: Scheme,
    /// Parameters for each output channel of a weight, else one for the whole. On by default.
    pub per_channel: bool,
    /// Which nodes are quantized.
    pub policy: Policy,
}

impl Default for StaticOptions {
    fn default() -> Self {
        let (weights, activations) = (Scheme::int8_symmetric(), Scheme::int8_affine());
        Self { weights, activations, per_channel: true, policy: Policy::default() }
    }
}

/// How [`dynamic_int8`] quantizes.
#[derive(Clone, Debug)]
pub struct DynamicOptions {
    /// From a weight's range to its parameters. Symmetric, -128..=127, by default.
    pub weights: Scheme,
    /// From an activation's range, measured when the model runs, to its parameters. Affine, -128..=127, by default.
    pub activations: Scheme,
    /// Parameters for each output channel of a weight, else one for the whole. On by default.
    pub per_channel: bool,
    /// A range for each row of what a Linear reads, else one for the tensor. Per row a result does not depend on what
    /// else is in the batch. On by default; a Conv's input has one range.
    pub per_row: bool,
    /// Whether convolutions are quantized too. On by default (PyTorch leaves them float).
    pub convs: bool,
    /// Which nodes are quantized.
    pub policy: Policy,
}

impl Default for DynamicOptions {
    fn default() -> Self {
        Self {
            weights: Scheme::int8_symmetric(),
            activations: Scheme::int8_affine(),
            per_channel: true,
            per_row: true,
            convs: true,
            policy: Policy::default(),
        }
    }
}

fn is_product(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::Linear { .. })
}

/// Ops that have an int8 form and make new numbers.
fn computes_in_int8(op: &Op) -> bool {
    is_product(op)
        || matches!(
            op,
            Op::Add { .. }
                | Op::Activation(_)
                | Op::GlobalAveragePool
                | Op::Pool { kind: PoolKind::Average { .. }, .. }
        )
}

/// Whether a node puts values beside each other, which in int8 have the same parameters.
fn joins(model: &Model, node: &Node) -> bool {
    let constant = |id: &ValueId| model.constant(*id).is_some();
    matches!(node.op, Op::Concat { .. }) && !node.inputs.iter().flatten().any(constant)
}

/// The constant table that a node gathers from, where that is to be quantized: by default one that is large, an
/// embedding.
fn embedding(model: &Model, policy: &Policy, node: &Node) -> Option<ValueId> {
    const LARGE: usize = 1 << 16;
    let id = node.inputs[0].filter(|_| node.op == Op::Gather { axis: 0 })?;
    let table = model.constant(id).filter(|t| t.element() == Element::F32 && t.shape().len() > 1)?;
    policy.decide(node, table.len() >= LARGE).then_some(id)
}

/// Whether a node that has an int8 form, or passes values on, runs in it. Sums, pools and activations do so by default
/// between convolutions, not beside a transformer's residual stream; without a policy, wherever they could.
fn may_be_int8(model: &Model, policy: Option<&Policy>, node: &Node) -> bool {
    let image = || node.outputs.first().is_some_and(|y| model.value(*y).shape.len() == 4);
    let reals = || node.inputs[0].is_some_and(|x| model.value(x).element == Element::F32);
    let joins = joins(model, node);
    let has_form = (computes_in_int8(&node.op) || node.op.passes_values() || joins) && reals();
    let default = || is_product(&node.op) || node.op.passes_values() || image();
    has_form && policy.is_none_or(|policy| policy.decide(node, default()))
}

/// For each value, whether some op reads it as int8, perhaps through ops that pass values on.
fn wanted_as_int8(model: &Model, policy: Option<&Policy>) -> Vec<bool> {
    let mut wanted = vec![false; model.values().len()];
    for node in model.nodes().iter().rev().filter(|n| may_be_int8(model, policy, n)) {
        let passes = node.op.passes_values();
        let operands = if is_product(&node.op) || passes { 1 } else { node.inputs.len() };
        if !(passes || joins(model, node)) || wanted[node.outputs[0].index()] {
            node.inputs[..operands].iter().flatten().for_each(|id| wanted[id.index()] = true);
        }
    }
    wanted
}

/// The value whose numbers these are: ops that pass values on are looked through.
fn origins(model: &Model) -> Vec<ValueId> {
    let mut origins: Vec<ValueId> = model.value_ids().collect();
    for node in model.nodes().iter().filter(|n| n.op.passes_values()) {
        if let Some(x) = node.inputs[0] {
            origins[node.outputs[0].index()] = origins[x.index()];
        }
    }
    origins
}

/// Which values have the same parameters, since they end up side by side.
struct Joined {
    /// By the value: another of its group, or itself.
    next: Vec<usize>,
    /// By the value that stands for a group: what was put together there.
    made: Vec<Vec<ValueId>>,
}

impl Joined {
    /// By the nodes that join in int8.
    fn new<'m>(origins: &[ValueId], nodes: impl Iterator<Item = &'m Node>) -> Self {
        let mut joined = Self { next: (0..origins.len()).collect(), made: vec![Vec::new(); origins.len()] };
        for node in nodes {
            let y = node.outputs[0];
            joined.made[y.index()].push(y);
            for x in node.inputs.iter().flatten() {
                let (x, y) = (joined.find(origins[x.index()].index()), joined.find(y.index()));
                if x != y {
                    joined.next[x] = y;
                    let made = std::mem::take(&mut joined.made[x]);
                    joined.made[y].extend(made);
                }
            }
        }
        joined
    }

    fn find(&self, mut at: usize) -> usize {
        while self.next[at] != at {
            at = self.next[at];
        }
        at
    }

    /// The values whose ranges together are that of a value; none but its own where it is joined with nothing.
    fn ranges_of(&self, origin: ValueId) -> Vec<ValueId> {
        let made = &self.made[self.find(origin.index())];
        if made.is_empty() { vec![origin] } else { made.clone() }
    }
}

/// The values whose ranges [`static_int8`] needs, whatever the policy: inputs and results of ops that some int8 op
/// reads, and results that are made as int8. Constants, what passes values on, and the results of a Conv or Linear
/// that only leave the model are not among them.
pub fn observed_values(model: &Model) -> Vec<ValueId> {
    let (wanted, origins) = (wanted_as_int8(model, None), origins(model));
    let mut observed = vec![false; model.values().len()];
    for id in model.value_ids() {
        observed[origins[id.index()].index()] |= wanted[id.index()];
    }
    for node in model.nodes().iter().filter(|n| computes_in_int8(&n.op) && !is_product(&n.op)) {
        observed[node.outputs[0].index()] = true;
    }
    model.value_ids().filter(|id| observed[id.index()] && model.constant(*id).is_none()).collect()
}

/// Static int8, PyTorch's workflow (NUMERICS 5): Quantize at the inputs, int8 from op to op, float again where an op has
/// no int8 form, stays float by the policy, or the model ends. A Conv or Linear that nothing reads as int8 makes f32
/// directly.
///
/// Max pools, reshapes, flattens, transposes and nearest resizes have the parameters of what they read. What a Concat of
/// images puts side by side has the parameters of the whole, as PyTorch shares one observer there. Biases stay f32.
///
/// # Errors
/// [`crate::Error::Calibration`] where a range is missing or not finite (see [`observed_values`]);
/// [`crate::Error::Argument`] where the model is not f32 throughout, a weight is not finite, a scheme is none, or the
/// policy names what the model does not have.
pub fn static_int8(model: &Model, ranges: &Ranges, options: &StaticOptions) -> Result<Model> {
    require_f32(model, "static int8")?;
    options.policy.check(model, "static int8")?;
    let wanted = wanted_as_int8(model, Some(&options.policy));
    let origins = origins(model);
    let joining = model.nodes().iter().filter(|n| {
        joins(model, n) && wanted[n.outputs[0].index()] && may_be_int8(model, Some(&options.policy), n)
    });
    let mut int8 = Static {
        joined: Joined::new(&origins, joining),
        wanted,
        origins,
        int8: vec![None; model.values().len()],
        rewrite: Rewrite::new(model)?,
        ranges,
        options,
    };
    for node in model.nodes() {
        int8.node(node)?;
    }
    let outputs = model.outputs().iter().map(|id| int8.real(*id)).collect::<Result<Vec<_>>>()?;
    int8.rewrite.finish(&outputs)
}

struct Static<'m> {
    rewrite: Rewrite<'m>,
    ranges: &'m Ranges,
    options: &'m StaticOptions,
    wanted: Vec<bool>,
    origins: Vec<ValueId>,
    joined: Joined,
    /// By the old value: its int8 form in the new model.
    int8: Vec<Option<ValueId>>,
}

impl Static<'_> {
    /// The value's reals, dequantized where there is int8 only.
    fn real(&mut self, id: ValueId) -> Result<ValueId> {
        let made = self.rewrite.real[id.index()].is_some() || self.rewrite.old.constant(id).is_some();
        match self.int8[id.index()] {
            Some(q) if !made => {
                let name = self.rewrite.name_or(&self.rewrite.old.value(id).name, "f32");
                let y = self.rewrite.new.add_node(name, Op::Dequantize, &[q])?;
                self.rewrite.real[id.index()] = Some(y);
                Ok(y)
            }
            _ => self.rewrite.real(id),
        }
    }

    /// The value's int8 form, quantized where there are reals only.
    fn int8(&mut self, id: ValueId) -> Result<ValueId> {
        if let Some(q) = self.int8[id.index()] {
            return Ok(q);
        }
        let name = self.int8_name(id);
        let q = match &self.rewrite.old.value(id).constant {
            Some(constant) => {
                let (tensor, quant) = quantize_weight(&name, constant, &self.options.activations, false)?;
                self.rewrite.new.add_constant_as(name, tensor, Some(quant))?
            }
            None => {
                let x = self.rewrite.real(id)?;
                let output = self.output(id, name.clone())?;
                self.rewrite.new.add_node_as(name, Op::Quantize, &[x], output)?
            }
        };
        self.int8[id.index()] = Some(q);
        Ok(q)
    }

    /// The old name is the reals' where those exist or will.
    fn int8_name(&self, id: ValueId) -> String {
        let name = &self.rewrite.old.value(id).name;
        let leaves = self.rewrite.old.outputs().contains(&id) || self.rewrite.real[id.index()].is_some();
        let leaves = leaves || self.read_as_real(id) || self.rewrite.old.constant(id).is_some();
        if leaves { self.rewrite.free_name(&format!("{name}.int8")) } else { name.clone() }
    }

    fn read_as_real(&self, id: ValueId) -> bool {
        let reads = |n: &&Node| n.inputs.contains(&Some(id));
        self.rewrite.old.nodes().iter().filter(reads).any(|n| !self.may_be_int8(n))
    }

    /// Whether a node surely runs in int8 once its inputs do.
    fn may_be_int8(&self, node: &Node) -> bool {
        let old = self.rewrite.old;
        may_be_int8(old, Some(&self.options.policy), node)
            && (!joins(old, node) || self.wanted[node.outputs[0].index()])
    }

    fn output(&self, id: ValueId, name: String) -> Result<Output> {
        let mut range = Range::EMPTY;
        for of in self.joined.ranges_of(self.origins[id.index()]) {
            range = range.union(self.ranges.get(&self.rewrite.old.value(of).name)?);
        }
        let params = vec![self.options.activations.params(range)?];
        Ok(Output { name, element: Element::I8, quant: Some(Quant::Static { axis: None, params }) })
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        let y = node.outputs[0];
        let wanted = self.wanted[y.index()];
        let read: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let has_int8 =
            |s: &Self, id: &ValueId| s.int8[id.index()].is_some() || s.rewrite.old.constant(*id).is_some();
        let integer = self.may_be_int8(node)
            && match &node.op {
                op if is_product(op) => true,
                op if op.passes_values() => wanted || self.int8[read[0].index()].is_some(),
                // Quantizing only for these would cost precision and gain nothing.
                _ => wanted || read.iter().all(|id| has_int8(self, id)),
            };
        if !integer {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            let table = embedding(self.rewrite.old, &self.options.policy, node);
            for id in &node.inputs {
                inputs.push(match *id {
                    Some(id) if table == Some(id) => {
                        let (weights, per_channel) = (&self.options.weights, self.options.per_channel);
                        Some(quantized_weight(&mut self.rewrite, id, weights, per_channel)?)
                    }
                    id => id.map(|id| self.real(id)).transpose()?,
                });
            }
            return self.rewrite.copy(node, &inputs);
        }
        let inputs = if is_product(&node.op) {
            let x = self.int8(read[0])?;
            product_inputs(&mut self.rewrite, x, &read, &self.options.weights, self.options.per_channel)?
        } else {
            // What passes values on may read numbers that say how.
            let operands = if node.op.passes_values() { 1 } else { read.len() };
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (i, id) in node.inputs.iter().enumerate() {
                let new = |s: &mut Self, id| if i < operands { s.int8(id) } else { s.rewrite.real(id) };
                inputs.push(id.map(|id| new(self, id)).transpose()?);
            }
            inputs
        };
        if is_product(&node.op) && !wanted {
            let output = Output { name: self.rewrite.old.value(y).name.clone(), ..Output::default() };
            let new = self.rewrite.add(node, node.op.clone(), &inputs, output)?;
            self.rewrite.real[y.index()] = Some(new);
            return Ok(());
        }
        let name = self.int8_name(y);
        let output = if node.op.passes_values() {
            let x = inputs[0].map(|x| self.rewrite.new.value(x));
            let quant = x.and_then(|x| x.quant.clone());
            Output { name, element: Element::I8, quant }
        } else {
            self.output(y, name)?
        };
        let new = self.rewrite.add(node, node.op.clone(), &inputs, output)?;
        self.int8[y.index()] = Some(new);
        Ok(())
    }
}

/// What a node that stays float reads: reals, but an embedding table in int8.
pub(super) fn copied_inputs(
    rewrite: &mut Rewrite,
    node: &Node,
    policy: &Policy,
    scheme: &Scheme,
    per_channel: bool,
) -> Result<Vec<Option<ValueId>>> {
    let table = embedding(rewrite.old, policy, node);
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for id in &node.inputs {
        inputs.push(match *id {
            Some(id) if table == Some(id) => Some(quantized_weight(rewrite, id, scheme, per_channel)?),
            id => id.map(|id| rewrite.real(id)).transpose()?,
        });
    }
    Ok(inputs)
}

/// A constant in int8; one that two nodes share is quantized once.
pub(super) fn quantized_weight(
    rewrite: &mut Rewrite,
    id: ValueId,
    scheme: &Scheme,
    per_channel: bool,
) -> Result<ValueId> {
    let old = rewrite.old.value(id);
    let weight = match (rewrite.weights[id.index()], &old.constant) {
        (Some(id), _) => id,
        (None, Some(constant)) => {
            let (tensor, quant) = quantize_weight(&old.name, constant, scheme, per_channel)?;
            let name = rewrite.name_or(&old.name, "int8");
            rewrite.new.add_constant_as(name, tensor, Some(quant))?
        }
        (None, None) => rewrite.real(id)?,
    };
    rewrite.weights[id.index()] = Some(weight);
    Ok(weight)
}

/// What an int8 Conv or Linear reads: `x`, its weight quantized, its bias as it was.
fn product_inputs(
    rewrite: &mut Rewrite,
    x: ValueId,
    read: &[ValueId],
    scheme: &Scheme,
    per_channel: bool,
) -> Result<Vec<Option<ValueId>>> {
    let mut inputs = vec![Some(x), Some(quantized_weight(rewrite, read[1], scheme, per_channel)?)];
    if let Some(bias) = read.get(2) {
        inputs.push(Some(rewrite.real(*bias)?));
    }
    Ok(inputs)
}

/// Dynamic int8: each Conv and Linear reads int8 weights and an input that a Quantize before it measures and quantizes
/// when the model runs, and makes f32. Needs no calibration. Ops that read the same value share its Quantize.
///
/// # Errors
/// [`crate::Error::Argument`] where the model is not f32 throughout, a weight is not finite, a scheme is none, or the
/// policy names what the model does not have.
pub fn dynamic_int8(model: &Model, options: &DynamicOptions) -> Result<Model> {
    require_f32(model, "dynamic int8")?;
    options.policy.check(model, "dynamic int8")?;
    let mut rewrite = Rewrite::new(model)?;
    // By the old value, for the whole tensor and for each row.
    let mut quantized = vec![[None; 2]; model.values().len()];
    for node in model.nodes() {
        let read: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let conv = matches!(node.op, Op::Conv { .. });
        let by_default = is_product(&node.op) && (options.convs || !conv);
        let chosen = is_product(&node.op) && options.policy.decide(node, by_default);
        if !chosen {
            let DynamicOptions { policy, weights, per_channel, .. } = options;
            let inputs = copied_inputs(&mut rewrite, node, policy, weights, *per_channel)?;
            rewrite.copy(node, &inputs)?;
            continue;
        }
        let per_row = options.per_row && !conv;
        let x = match quantized[read[0].index()][usize::from(per_row)] {
            Some(x) => x,
            None => {
                let x = rewrite.real(read[0])?;
                let name = rewrite.free_name(&format!("{}.int8", model.value(read[0]).name));
                let quant = Some(Quant::Dynamic { scheme: options.activations, per_row });
                let output = Output { name: name.clone(), element: Element::I8, quant };
                rewrite.new.add_node_as(name, Op::Quantize, &[x], output)?
            }
        };
        quantized[read[0].index()][usize::from(per_row)] = Some(x);
        let inputs = product_inputs(&mut rewrite, x, &read, &options.weights, options.per_channel)?;
        let y = node.outputs[0];
        let output = Output { name: model.value(y).name.clone(), ..Output::default() };
        rewrite.real[y.index()] = Some(rewrite.add(node, node.op.clone(), &inputs, output)?);
    }
    let outputs = model.outputs().iter().map(|id| rewrite.real(*id)).collect::<Result<Vec<_>>>()?;
    rewrite.finish(&outputs)
}
