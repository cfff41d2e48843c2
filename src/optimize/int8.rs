//! Static and dynamic int8.

use super::rewrite::{Rewrite, check_skip, require_f32};
use super::weights::quantize_weight;
use crate::calibrate::Ranges;
use crate::error::Result;
use crate::graph::{Model, Node, Op, Output, PoolKind, Quant, ValueId};
use crate::quant::Scheme;
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
    /// Names of nodes that stay float.
    pub skip: Vec<String>,
}

impl Default for StaticOptions {
    fn default() -> Self {
        let (weights, activations) = (Scheme::int8_symmetric(), Scheme::int8_affine());
        Self { weights, activations, per_channel: true, skip: Vec::new() }
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
    /// Names of nodes that stay float.
    pub skip: Vec<String>,
}

impl Default for DynamicOptions {
    fn default() -> Self {
        Self {
            weights: Scheme::int8_symmetric(),
            activations: Scheme::int8_affine(),
            per_channel: true,
            per_row: true,
            convs: true,
            skip: Vec::new(),
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

/// For each value, whether some op reads it as int8, perhaps through ops that pass values on.
fn wanted_as_int8(model: &Model, skip: &[String]) -> Vec<bool> {
    let mut wanted = vec![false; model.values().len()];
    for node in model.nodes().iter().rev().filter(|n| !skip.contains(&n.name)) {
        let operands = if is_product(&node.op) { 1 } else { node.inputs.len() };
        let passes = node.op.passes_values() && wanted[node.outputs[0].index()];
        if passes || computes_in_int8(&node.op) {
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

/// The values whose ranges [`static_int8`] needs, whatever is skipped: inputs and results of ops that some int8 op
/// reads, and results that are made as int8. Constants, what passes values on, and the results of a Conv or Linear
/// that only leave the model are not among them.
pub fn observed_values(model: &Model) -> Vec<ValueId> {
    let (wanted, origins) = (wanted_as_int8(model, &[]), origins(model));
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
/// no int8 form, is skipped, or the model ends. A Conv or Linear that nothing reads as int8 makes f32 directly.
///
/// Max pools, reshapes, flattens and transposes have the parameters of what they read. Biases stay f32.
///
/// # Errors
/// [`crate::Error::Calibration`] where a range is missing or not finite (see [`observed_values`]);
/// [`crate::Error::Argument`] where the model is not f32 throughout, a weight is not finite, a scheme is none, or `skip`
/// names no node.
pub fn static_int8(model: &Model, ranges: &Ranges, options: &StaticOptions) -> Result<Model> {
    require_f32(model, "static int8")?;
    check_skip(model, &options.skip, "static int8")?;
    let mut int8 = Static {
        wanted: wanted_as_int8(model, &options.skip),
        origins: origins(model),
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
        let skipped = self.options.skip.contains(&node.name);
        !skipped && (computes_in_int8(&node.op) || node.op.passes_values())
    }

    fn output(&self, id: ValueId, name: String) -> Result<Output> {
        let origin = &self.rewrite.old.value(self.origins[id.index()]).name;
        let params = vec![self.options.activations.params(self.ranges.get(origin)?)?];
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
            let inputs = read.iter().map(|id| self.real(*id)).collect::<Result<Vec<_>>>()?;
            let name = &self.rewrite.old.value(y).name;
            let output = Output { name: name.clone(), element: Element::F32, quant: None };
            let new = self.rewrite.new.add_node_as(&node.name, node.op.clone(), &inputs, output)?;
            self.rewrite.real[y.index()] = Some(new);
            return Ok(());
        }
        let inputs = if is_product(&node.op) {
            let x = self.int8(read[0])?;
            product_inputs(&mut self.rewrite, x, &read, &self.options.weights, self.options.per_channel)?
        } else {
            read.iter().map(|id| self.int8(*id)).collect::<Result<Vec<_>>>()?
        };
        if is_product(&node.op) && !wanted {
            let output = Output { name: self.rewrite.old.value(y).name.clone(), ..Output::default() };
            let new = self.rewrite.new.add_node_as(&node.name, node.op.clone(), &inputs, output)?;
            self.rewrite.real[y.index()] = Some(new);
            return Ok(());
        }
        let name = self.int8_name(y);
        let output = if node.op.passes_values() {
            let quant = self.rewrite.new.value(inputs[0]).quant.clone();
            Output { name, element: Element::I8, quant }
        } else {
            self.output(y, name)?
        };
        let new = self.rewrite.new.add_node_as(&node.name, node.op.clone(), &inputs, output)?;
        self.int8[y.index()] = Some(new);
        Ok(())
    }
}

/// What an int8 Conv or Linear reads: `x`, its weight quantized, its bias as it was.
fn product_inputs(
    rewrite: &mut Rewrite,
    x: ValueId,
    read: &[ValueId],
    scheme: &Scheme,
    per_channel: bool,
) -> Result<Vec<ValueId>> {
    let old = rewrite.old.value(read[1]);
    // A weight that two nodes share is quantized once.
    let weight = match (rewrite.weights[read[1].index()], &old.constant) {
        (Some(id), _) => id,
        (None, Some(constant)) => {
            let (tensor, quant) = quantize_weight(&old.name, constant, scheme, per_channel)?;
            let name = rewrite.name_or(&old.name, "int8");
            rewrite.new.add_constant_as(name, tensor, Some(quant))?
        }
        (None, None) => rewrite.real(read[1])?,
    };
    rewrite.weights[read[1].index()] = Some(weight);
    let mut inputs = vec![x, weight];
    if let Some(bias) = read.get(2) {
        inputs.push(rewrite.real(*bias)?);
    }
    Ok(inputs)
}

/// Dynamic int8: each Conv and Linear reads int8 weights and an input that a Quantize before it measures and quantizes
/// when the model runs, and makes f32. Needs no calibration. Ops that read the same value share its Quantize.
///
/// # Errors
/// [`crate::Error::Argument`] where the model is not f32 throughout, a weight is not finite, a scheme is none, or `skip`
/// names no node.
pub fn dynamic_int8(model: &Model, options: &DynamicOptions) -> Result<Model> {
    require_f32(model, "dynamic int8")?;
    check_skip(model, &options.skip, "dynamic int8")?;
    let mut rewrite = Rewrite::new(model)?;
    // By the old value, for the whole tensor and for each row.
    let mut quantized = vec![[None; 2]; model.values().len()];
    for node in model.nodes() {
        let read: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let conv = matches!(node.op, Op::Conv { .. });
        let chosen = is_product(&node.op) && (options.convs || !conv) && !options.skip.contains(&node.name);
        let inputs = if chosen {
            let per_row = options.per_row && !conv;
            let cached = quantized[read[0].index()][usize::from(per_row)];
            let x = match cached {
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
            product_inputs(&mut rewrite, x, &read, &options.weights, options.per_channel)?
        } else {
            read.iter().map(|id| rewrite.real(*id)).collect::<Result<Vec<_>>>()?
        };
        let y = node.outputs[0];
        let output = Output { name: model.value(y).name.clone(), ..Output::default() };
        rewrite.real[y.index()] =
            Some(rewrite.new.add_node_as(&node.name, node.op.clone(), &inputs, output)?);
    }
    let outputs = model.outputs().iter().map(|id| rewrite.real(*id)).collect::<Result<Vec<_>>>()?;
    rewrite.finish(&outputs)
}
