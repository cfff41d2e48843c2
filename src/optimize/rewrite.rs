//! What the optimizations share: a new model made node by node from an old one.

use crate::error::{Error, Result};
use crate::graph::{Model, Node, Op, Output, Value, ValueId};
use crate::tensor::Element;

/// The model being made, and where the old one's values are in it.
pub(super) struct Rewrite<'m> {
    pub old: &'m Model,
    pub new: Model,
    /// By the old value: its reals in the new model.
    pub real: Vec<Option<ValueId>>,
    /// By the old value, a weight: its int8 form in the new model.
    pub weights: Vec<Option<ValueId>>,
}

impl<'m> Rewrite<'m> {
    /// A new model with the old one's inputs.
    pub fn new(old: &'m Model) -> Result<Self> {
        old.validate()?;
        let mut new = Model::new(old.name.clone());
        new.opset = old.opset;
        let mut real = vec![None; old.values().len()];
        for id in old.inputs() {
            let value = old.value(*id);
            real[id.index()] = Some(new.add_input(&value.name, value.element, value.shape.clone())?);
        }
        Ok(Self { old, new, weights: vec![None; real.len()], real })
    }

    /// The value as it was in the old model, copied first where it is a constant.
    pub fn real(&mut self, id: ValueId) -> Result<ValueId> {
        if let Some(new) = self.real[id.index()] {
            return Ok(new);
        }
        let value = self.old.value(id);
        let Some(constant) = &value.constant else {
            return Err(Error::Model(format!("value `{}` is used before it is made", value.name)));
        };
        let new = self.new.add_constant_as(
            self.name_or(&value.name, "f32"),
            constant.clone(),
            value.quant.clone(),
        )?;
        self.real[id.index()] = Some(new);
        Ok(new)
    }

    /// A node as it was in the old model, on these inputs, which stands for the old output's reals.
    pub fn copy(&mut self, node: &Node, inputs: &[Option<ValueId>]) -> Result<()> {
        let y = node.outputs[0];
        let Value { name, element, .. } = self.old.value(y);
        let output = Output { name: name.clone(), element: *element, quant: None };
        let new = self.add(node, node.op.clone(), inputs, output)?;
        self.real[y.index()] = Some(new);
        Ok(())
    }

    /// A node that an old one becomes.
    pub fn add(
        &mut self,
        node: &Node,
        op: Op,
        inputs: &[Option<ValueId>],
        output: Output,
    ) -> Result<ValueId> {
        let id = self.new.add_node_as(&node.name, op, inputs, output)?;
        if let Some(new) = self.new.nodes.last_mut() {
            new.fused.clone_from(&node.fused);
        }
        Ok(id)
    }

    /// The old name, or one with a suffix where another form of the value has it.
    pub fn name_or(&self, name: &str, suffix: &str) -> String {
        match self.new.value_by_name(name) {
            None => name.to_owned(),
            Some(_) => self.free_name(&format!("{name}.{suffix}")),
        }
    }

    /// A name that neither model has.
    pub fn free_name(&self, base: &str) -> String {
        let taken = |n: &String| self.old.value_by_name(n).is_some() || self.new.value_by_name(n).is_some();
        let mut names = std::iter::once(base.to_owned()).chain((1usize..).map(|i| format!("{base}.{i}")));
        names.find(|n| !taken(n)).unwrap_or_default()
    }

    /// The new model, with these outputs.
    pub fn finish(mut self, outputs: &[ValueId]) -> Result<Model> {
        self.new.set_outputs(outputs)?;
        self.new.compact();
        self.new.validate()?;
        Ok(self.new)
    }
}

/// Refuses a model whose reals are not all f32, naming the value.
pub(super) fn require_f32(model: &Model, op: &'static str) -> Result<()> {
    match model.values().iter().find(|v| v.quant.is_some() || v.element == Element::F16) {
        Some(v) => {
            let how = if v.quant.is_some() { "already quantized" } else { "not f32" };
            Err(Error::Argument { op, detail: format!("value `{}` is {how} ({:?})", v.name, v.element) })
        }
        None => Ok(()),
    }
}
