//! From an ONNX file to a [`Model`], node for node.

use super::proto::{Attribute, DimensionValue, ModelProto, NodeProto, TensorProto, TensorType, ValueInfo};
use super::{external, integer, nodes, tensor};
use crate::error::{Error, Result};
use crate::graph::weights::dequantized;
use crate::graph::{Deferred, Dim, Known, Model, Op, Output, Quant, Value, ValueId};
use crate::quant::QuantParams;
use crate::tensor::{Element, Tensor};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Elements that a file may make of a few numbers, all in all: more would be a way to fill memory.
const MOST_MADE: usize = 1 << 28;

/// What a name of the file stands for.
#[derive(Clone)]
pub(super) enum Found {
    /// A value of the model.
    Value(ValueId),
    /// What DequantizeLinear makes of an int8 constant: a weight, or a value once something reads it as reals.
    Dequantized(ValueId),
    /// What DequantizeLinear makes, by blocks, of a constant that is held as `[n, k]`: of its transpose, or of itself.
    Grouped {
        /// The constant.
        weight: ValueId,
        /// Whether the file has it as `[k, n]`.
        transposed: bool,
    },
    /// The scale that DynamicQuantizeLinear made beside this value.
    Scale(ValueId),
    /// Its zero point.
    ZeroPoint(ValueId),
    /// That scale times a weight's.
    ScaleProduct(ValueId, Arc<Tensor>),
    /// An integer product that waits for its scale.
    Sum(Box<Sum>),
}

/// MatMulInteger or ConvInteger.
#[derive(Clone)]
pub(super) struct Sum {
    /// The product's own node name, for the op it becomes.
    pub name: String,
    pub op: Op,
    pub x: ValueId,
    pub weight: Tensor,
    pub weight_name: String,
    pub zero_point: i32,
}

pub(super) struct Importer<'a> {
    pub model: Model,
    pub found: HashMap<String, Found>,
    /// Names that the file uses anywhere: names made up here must be others.
    taken: HashSet<String>,
    /// How often each name is read.
    uses: HashMap<String, usize>,
    /// What was made of constants that others read too.
    derived: HashMap<(ValueId, &'static str), ValueId>,
    /// Quantized values that are unsigned in the file: a zero point left out is 0 there, -128 here.
    pub unsigned: HashSet<ValueId>,
    /// Where tensors' data may be that is not in the file.
    directory: Option<&'a Path>,
    /// What is known of shapes that the graph computes.
    known: Known,
    /// Elements of constants that the graph computes, beyond those that it computes them of.
    made: usize,
}

/// A node being translated, with its attributes by name.
pub(super) struct At<'a> {
    pub node: &'a NodeProto,
    pub opset: i64,
}

pub(super) fn import(bytes: &[u8], directory: Option<&Path>) -> Result<Model> {
    let format = |detail: String| Error::Format { what: "ONNX model".into(), detail };
    let proto = ModelProto::decode(bytes).map_err(|e| format(e.to_string()))?;
    let graph = proto.graph.ok_or_else(|| format("it has no graph".into()))?;
    let main = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = proto.opset_import.iter().find(|o| main(&o.domain)).and_then(|o| o.version).unwrap_or(1);
    // Later sets add element types, which are refused one by one, and attributes, which are too.
    if !(1..=28).contains(&opset) {
        return Err(format(format!("operator set {opset} is not supported, 10 to 28 are")));
    }
    if let Some(node) = graph.node.iter().find(|n| opset < first_set(&n.op_type)) {
        let detail = format!("its form in operator set {opset} is not supported, that of 10 or later is");
        return Err(At { node, opset }.fail(detail));
    }
    // An element type that is not known is the problem of the node that reads it.
    let known = |name: &str, data_type: i32| {
        if tensor::element(data_type).is_some() {
            return Ok(());
        }
        match graph.node.iter().find(|n| n.input.iter().any(|i| i == name)) {
            Some(node) => Err(At { node, opset }
                .fail(format!("reads `{name}`, whose data type {data_type} is not supported"))),
            None => Ok(()),
        }
    };
    let mut model = Model::new(graph.name);
    model.opset = opset;
    let mut importer = Importer::new(model, &graph.node, &graph.output, directory);
    for initializer in &graph.initializer {
        known(&initializer.name, initializer.data_type)?;
        let tensor = importer.read_tensor(initializer, &initializer.name)?;
        let id = importer.model.add_constant(&initializer.name, tensor)?;
        importer.found.insert(initializer.name.clone(), Found::Value(id));
    }
    for input in &graph.input {
        // Older files list initializers among the inputs.
        if !importer.found.contains_key(&input.name) {
            let r#type = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
            r#type.map_or(Ok(()), |t| known(&input.name, t.elem_type))?;
            let (element, shape) = describe(input)?;
            let id = importer.model.add_input(&input.name, element, shape)?;
            importer.found.insert(input.name.clone(), Found::Value(id));
        }
    }
    for node in &graph.node {
        let at = At { node, opset };
        if !main(&node.domain) {
            return Err(at.fail(format!("operators of domain `{}` are not supported", node.domain)));
        }
        nodes::translate(&mut importer, &at)?;
    }
    let mut outputs = Vec::with_capacity(graph.output.len());
    for output in &graph.output {
        let found = importer.found.get(&output.name).cloned();
        let missing = || Error::Model(format!("output `{}` is made by no node", output.name));
        let maker = graph.node.iter().find(|n| n.output.contains(&output.name));
        let fail = |detail: &str| match maker {
            Some(node) => At { node, opset }.fail(format!("output `{}` {detail}", output.name)),
            None => Error::Model(format!("output `{}` {detail}", output.name)),
        };
        outputs.push(match found.ok_or_else(missing)? {
            // In memory it is shifted by 128, and nothing says so.
            Found::Value(id) if importer.unsigned.contains(&id) => {
                let made = integer::unsigned_output(&mut importer, &output.name, id)?;
                made.ok_or_else(|| fail("is the uint8 of a value whose range is measured"))?
            }
            Found::Value(id) => id,
            Found::Dequantized(id) => importer.dequantize(&output.name, id)?,
            Found::Grouped { weight, transposed } => importer.widen(&output.name, weight, transposed)?,
            _ => return Err(fail("is part of a quantized product")),
        });
    }
    importer.model.set_outputs(&outputs)?;
    Ok(importer.model)
}

/// The first operator set whose form of an operator is read: 10 as a rule, but for those that had it long before, or that
/// set 11 gave other inputs.
fn first_set(op_type: &str) -> i64 {
    match op_type {
        "Not" => 1,
        "Abs" | "Neg" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Floor" | "Ceil" | "Sigmoid" | "Tanh" => 6,
        "Relu" | "Elu" | "Selu" | "LeakyRelu" | "HardSigmoid" | "Identity" => 6,
        "And" | "Or" | "Xor" | "Add" | "Sub" | "Mul" | "Div" => 7,
        "Clip" | "Pad" | "Resize" => 11,
        _ => 10,
    }
}

/// The element and shape of an input.
fn describe(input: &ValueInfo) -> Result<(Element, Vec<Dim>)> {
    let fail = |detail: String| Error::Model(format!("input `{}` {detail}", input.name));
    let r#type = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let TensorType { elem_type, shape } = r#type.ok_or_else(|| fail("is not a tensor".into()))?;
    let element = tensor::element(*elem_type)
        .ok_or_else(|| fail(format!("has the unsupported data type {elem_type}")))?;
    let shape = shape.as_ref().ok_or_else(|| fail("has no shape".into()))?;
    let dim = |(i, d): (usize, &super::proto::Dimension)| match &d.value {
        Some(DimensionValue::Value(n)) => {
            usize::try_from(*n).map(Dim::Fixed).map_err(|_| fail(format!("has the dimension {n}")))
        }
        Some(DimensionValue::Param(name)) if !name.is_empty() => Ok(Dim::Symbol(name.clone())),
        _ => Ok(Dim::Symbol(format!("{}.{i}", input.name))),
    };
    Ok((element, shape.dim.iter().enumerate().map(dim).collect::<Result<_>>()?))
}

impl At<'_> {
    /// The node's name, or its first output's.
    pub fn name(&self) -> &str {
        match (&self.node.name, self.node.output.first()) {
            (name, Some(output)) if name.is_empty() => output,
            (name, _) => name,
        }
    }

    /// [`Error::Node`] about this node.
    pub fn fail(&self, detail: impl Into<String>) -> Error {
        Error::Node {
            node: self.name().into(),
            op: self.node.op_type.clone(),
            opset: self.opset,
            detail: detail.into(),
        }
    }

    /// The name of the first output.
    pub fn output(&self) -> Result<&str> {
        let first = self.node.output.first().filter(|o| !o.is_empty());
        first.map(String::as_str).ok_or_else(|| self.fail("it has no output"))
    }

    /// The name of an input, `None` where it is left out.
    pub fn input(&self, i: usize) -> Option<&str> {
        self.node.input.get(i).map(String::as_str).filter(|n| !n.is_empty())
    }

    /// Refuses attributes other than these: what they mean would be lost.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.node.attribute.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(a) => Err(self.fail(format!("attribute `{}` is not supported", a.name))),
            None => Ok(()),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i.unwrap_or_default())
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f.unwrap_or_default())
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub fn string(&self, name: &str) -> Result<&str> {
        let bytes = self.attribute(name).and_then(|a| a.s.as_deref()).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| self.fail(format!("attribute `{name}` is not UTF-8")))
    }
}

impl<'a> Importer<'a> {
    fn new(model: Model, nodes: &[NodeProto], outputs: &[ValueInfo], directory: Option<&'a Path>) -> Self {
        let mut uses = HashMap::new();
        let read = nodes.iter().flat_map(|n| &n.input).chain(outputs.iter().map(|o| &o.name));
        read.for_each(|name| *uses.entry(name.clone()).or_default() += 1);
        let made = nodes.iter().flat_map(|n| &n.output);
        let taken = uses.keys().chain(made).cloned().collect();
        Self {
            model,
            found: HashMap::new(),
            taken,
            uses,
            derived: HashMap::new(),
            unsigned: HashSet::new(),
            directory,
            known: Known::default(),
            made: 0,
        }
    }

    /// Reads a tensor of the file.
    pub fn read_tensor(&self, proto: &TensorProto, name: &str) -> Result<Tensor> {
        external::read(proto, name, self.directory)
    }

    /// The name of output `i`, where something reads it.
    pub fn wanted<'n>(&self, at: &At<'n>, i: usize) -> Option<&'n str> {
        let name = at.node.output.get(i).map(String::as_str).filter(|n| !n.is_empty());
        name.filter(|n| self.uses.contains_key(*n))
    }

    /// What input `i` stands for, `None` where it is left out.
    pub fn find(&self, at: &At, i: usize) -> Result<Option<Found>> {
        let Some(name) = at.input(i) else { return Ok(None) };
        let missing = || {
            at.fail(format!("reads `{name}`, which nothing before it makes (a cycle or a dangling name?)"))
        };
        self.found.get(name).cloned().map(Some).ok_or_else(missing)
    }

    /// Input `i` as a value, `None` where it is left out.
    pub fn optional(&mut self, at: &At, i: usize) -> Result<Option<ValueId>> {
        Ok(match self.find(at, i)? {
            None => None,
            Some(Found::Value(id)) => Some(id),
            Some(Found::Dequantized(q)) => Some(self.dequantize(at.input(i).unwrap_or_default(), q)?),
            Some(Found::Grouped { weight, transposed }) => {
                Some(self.widen(at.input(i).unwrap_or_default(), weight, transposed)?)
            }
            Some(_) => {
                return Err(at.fail("reads a part of a quantized product in a way that is not supported"));
            }
        })
    }

    /// Input `i` as a value.
    pub fn value(&mut self, at: &At, i: usize) -> Result<ValueId> {
        self.optional(at, i)?.ok_or_else(|| at.fail(format!("input {i} is missing")))
    }

    /// Input `i` as a weight: a constant, still quantized where it is.
    pub fn weight(&mut self, at: &At, i: usize) -> Result<Option<ValueId>> {
        Ok(match self.find(at, i)? {
            Some(Found::Dequantized(q)) => Some(q),
            Some(Found::Value(id)) if self.model.constant(id).is_some() => Some(id),
            _ => None,
        })
    }

    /// The elements of input `i`, a constant; `None` where it is left out.
    pub fn constant(&self, at: &At, i: usize) -> Result<Option<Arc<Tensor>>> {
        match self.find(at, i)? {
            None => Ok(None),
            Some(Found::Value(id)) if self.model.constant(id).is_some() => {
                Ok(self.model.value(id).constant.clone())
            }
            Some(_) => {
                Err(at.fail(format!("input `{}` must be a constant", at.input(i).unwrap_or_default())))
            }
        }
    }

    /// A name that neither the file nor the model has.
    pub fn free_name(&self, base: &str) -> String {
        let taken = |name: &String| self.taken.contains(name) || self.model.value_by_name(name).is_some();
        let mut names = std::iter::once(base.to_owned()).chain((1usize..).map(|i| format!("{base}.{i}")));
        names.find(|name| !taken(name)).unwrap_or_default()
    }

    /// [`Importer::free_name`] that no other will be.
    pub fn reserve_name(&mut self, base: &str) -> String {
        let name = self.free_name(base);
        self.taken.insert(name.clone());
        name
    }

    /// Gives a value another name, so that a new one can have its.
    pub fn rename(&mut self, id: ValueId, name: String) {
        let old = std::mem::replace(&mut self.model.values[id.0].name, name.clone());
        self.model.names.remove(&old);
        self.model.names.insert(name, id);
    }

    /// Adds a node that makes the value `name`, a constant where it can be.
    pub fn emit(&mut self, at: &At, op: Op, inputs: &[ValueId], name: &str) -> Result<ValueId> {
        let of = |i: usize| inputs.get(i).map(|&id| self.model.value(id).element).unwrap_or_default();
        let (element, quant) = match &op {
            Op::Unary(f) if f.is_predicate() => (Element::Bool, None),
            Op::Binary(f) if f.is_predicate() => (Element::Bool, None),
            Op::Where => (of(1), None),
            Op::ArgReduce { .. } | Op::Deferred(Deferred::Shape { .. } | Deferred::Size) => {
                (Element::I64, None)
            }
            Op::Deferred(Deferred::ConstantOfShape { value }) => (value.element(), None),
            _ => self.model.usual_output(&op, inputs),
        };
        let id = self.emit_as(at, op, inputs, Output { name: name.into(), element, quant })?;
        if self.model.value(id).quant.is_some() && inputs.iter().any(|x| self.unsigned.contains(x)) {
            self.unsigned.insert(id);
        }
        Ok(id)
    }

    /// [`Importer::emit`] of what is not quantized, whatever the inputs are.
    pub fn emit_plain(
        &mut self,
        at: &At,
        op: Op,
        inputs: &[ValueId],
        element: Element,
        name: &str,
    ) -> Result<ValueId> {
        self.emit_as(at, op, inputs, Output { name: name.into(), element, quant: None })
    }

    /// [`Importer::emit`] with a described output.
    pub fn emit_as(&mut self, at: &At, op: Op, inputs: &[ValueId], output: Output) -> Result<ValueId> {
        let id = self.emit_node(at.name(), op, inputs, output)?;
        if let Some(made) = self.model.constant(id) {
            let read = inputs.iter().filter_map(|&x| self.model.constant(x)).map(Tensor::len).sum();
            self.made = self.made.saturating_add(made.len().saturating_sub(read));
            if self.made > MOST_MADE {
                let shape = made.shape();
                return Err(at.fail(format!(
                    "makes {shape:?} of a few numbers: a file may make {MOST_MADE} elements so"
                )));
            }
        }
        Ok(id)
    }

    /// A reshape that the file does not have, as the value `name`.
    pub fn emit_reshape(&mut self, target: &[i64], x: ValueId, name: &str) -> Result<ValueId> {
        let op = Op::Reshape { target: target.to_vec() };
        let (element, quant) = self.model.usual_output(&op, &[x]);
        self.emit_node(&format!("{name}.reshape"), op, &[x], Output { name: name.into(), element, quant })
    }

    fn emit_node(&mut self, node: &str, op: Op, inputs: &[ValueId], output: Output) -> Result<ValueId> {
        let id = self.model.add_node_as(node, op, inputs, output)?;
        // It was just added: what follows from constants is settled at once, since later nodes may want to know it.
        if let Some(mut node) = self.model.nodes.pop() {
            if !self.model.settle(&mut node, &mut self.known)? {
                let unsigned = inputs.first().is_some_and(|x| self.unsigned.contains(x));
                if unsigned && node.op.passes_values() {
                    self.unsigned.insert(id);
                }
                self.model.nodes.push(node);
            }
        }
        Ok(id)
    }

    /// Says what the first output's name stands for.
    pub fn define(&mut self, at: &At, found: Found) -> Result<()> {
        self.define_as(at, at.output()?, found)
    }

    /// Says that an output's name, not the first's, stands for a value.
    pub fn define_value(&mut self, at: &At, name: &str, id: ValueId) -> Result<()> {
        self.define_as(at, name, Found::Value(id))
    }

    pub fn define_as(&mut self, at: &At, name: &str, found: Found) -> Result<()> {
        match self.found.insert(name.into(), found) {
            None => Ok(()),
            Some(_) => Err(at.fail(format!("makes `{name}` a second time"))),
        }
    }

    /// A constant made from another: in its place where nothing else reads it, so that it keeps its name.
    pub fn derive(
        &mut self,
        old: ValueId,
        suffix: &'static str,
        tensor: Tensor,
        quant: Option<Quant>,
    ) -> Result<ValueId> {
        let name = self.model.value(old).name.clone();
        let shape: Vec<Dim> = tensor.shape().iter().map(|&n| Dim::Fixed(n)).collect();
        if self.uses.get(&name).copied().unwrap_or(0) <= 1 {
            let value = Value {
                constant: Some(tensor.clone().into()),
                quant,
                ..Value::new(name, tensor.element(), shape)
            };
            self.model.values[old.0] = value;
            return Ok(old);
        }
        // Weights that several nodes share stay shared.
        let same = |v: &Value| v.constant.as_deref() == Some(&tensor) && v.quant == quant;
        if let Some(&id) = self.derived.get(&(old, suffix)).filter(|id| same(self.model.value(**id))) {
            return Ok(id);
        }
        let name = self.free_name(&format!("{name}.{suffix}"));
        let id = self.model.add_constant_as(name, tensor, quant)?;
        self.derived.insert((old, suffix), id);
        Ok(id)
    }

    /// Counts the readers of `alias` as readers of the constant it stands for.
    pub fn share(&mut self, constant: &str, alias: &str) {
        let more = self.uses.get(alias).copied().unwrap_or(0).saturating_sub(1);
        *self.uses.entry(constant.into()).or_default() += more;
    }

    /// The reals of a constant that is quantized in groups, or of its transpose, as the constant `name`.
    fn widen(&mut self, name: &str, weight: ValueId, transposed: bool) -> Result<ValueId> {
        let value = self.model.value(weight);
        let reals = value.constant.as_deref().zip(value.quant.as_ref()).and_then(|(tensor, quant)| {
            let reals = dequantized(tensor, quant)?;
            Tensor::f32(tensor.shape(), reals).ok()
        });
        let missing = || Error::Model(format!("`{}` has no quantization that is known", value.name));
        let mut reals = reals.ok_or_else(missing)?;
        if transposed {
            reals = super::tensor::transpose(&reals)?;
        }
        let id = self.model.add_constant(name, reals)?;
        self.found.insert(name.into(), Found::Value(id));
        Ok(id)
    }

    /// The reals of an int8 constant, as the value `name`.
    fn dequantize(&mut self, name: &str, q: ValueId) -> Result<ValueId> {
        let id = self.model.add_node(name, Op::Dequantize, &[q])?;
        self.found.insert(name.into(), Found::Value(id));
        Ok(id)
    }
}

/// Parameters in the signed domain, over the whole range: a file does not say more.
pub(super) fn params(at: &At, scale: f32, zero_point: i32) -> Result<QuantParams> {
    QuantParams::new(scale, zero_point, -128, 127).map_err(|e| at.fail(e.to_string()))
}
