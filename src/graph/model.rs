//! Reading and building a [`Model`].

use super::{
    Activation, Deferred, Dim, Interpolation, Model, Node, Op, PoolKind, Quant, Value, ValueId, Window, shape,
};
use crate::error::{Error, Result};
use crate::tensor::{Element, Tensor};
use std::sync::Arc;

impl ValueId {
    /// Position in [`Model::values`], and in what [`Model::infer_shapes`] returns.
    pub fn index(self) -> usize {
        self.0
    }
}

impl Dim {
    /// The size, where it is known.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(*n),
            Dim::Symbol(_) => None,
        }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Dim::Fixed(n)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Dim::Symbol(name.into())
    }
}

impl Window {
    /// A window without padding or dilation.
    pub fn new(kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { kernel, stride, pad_begin: [0; 2], pad_end: [0; 2], dilation: [1; 2], ceil: false }
    }

    /// The same window with `pad` rows and columns on every side.
    pub fn padded(self, pad: [usize; 2]) -> Self {
        Self { pad_begin: pad, pad_end: pad, ..self }
    }
}

impl Op {
    /// The name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "Conv",
            Op::Linear { .. } => "Linear",
            Op::MatMul => "MatMul",
            Op::Activation(Activation::Identity) => "Identity",
            Op::Activation(Activation::Relu) => "Relu",
            Op::Activation(Activation::Clip { .. }) => "Clip",
            Op::Activation(Activation::Function(op)) => op.name(),
            Op::Add { .. } => "Add",
            Op::Pool { kind: PoolKind::Max, .. } => "MaxPool",
            Op::Pool { kind: PoolKind::Average { .. }, .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Reshape { .. } => "Reshape",
            Op::Flatten { .. } => "Flatten",
            Op::Transpose { .. } => "Transpose",
            Op::Quantize => "Quantize",
            Op::Dequantize => "Dequantize",
            Op::Cast => "Cast",
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Where => "Where",
            Op::Reduce { op, .. } | Op::Deferred(Deferred::Reduce { op, .. }) => op.name(),
            Op::ArgReduce { max: true, .. } => "ArgMax",
            Op::ArgReduce { max: false, .. } => "ArgMin",
            Op::CumSum { .. } | Op::Deferred(Deferred::CumSum { .. }) => "CumSum",
            Op::Softmax { log: false, .. } => "Softmax",
            Op::Softmax { log: true, .. } => "LogSoftmax",
            Op::LayerNorm { rms: false, .. } => "LayerNormalization",
            Op::LayerNorm { rms: true, .. } => "RMSNormalization",
            Op::GroupNorm { .. } => "GroupNormalization",
            Op::Gather { .. } => "Gather",
            Op::Concat { .. } => "Concat",
            Op::Slice { .. } | Op::Deferred(Deferred::Slice) => "Slice",
            Op::Pad { .. } | Op::Deferred(Deferred::Pad { .. }) => "Pad",
            Op::Expand { .. } | Op::Deferred(Deferred::Expand) => "Expand",
            Op::Tile { .. } | Op::Deferred(Deferred::Tile) => "Tile",
            Op::Resize(_) | Op::Deferred(Deferred::Resize { .. }) => "Resize",
            Op::Squeeze { .. } | Op::Deferred(Deferred::Squeeze) => "Squeeze",
            Op::Unsqueeze { .. } | Op::Deferred(Deferred::Unsqueeze) => "Unsqueeze",
            Op::ConvTranspose { .. } => "ConvTranspose",
            Op::Attention { .. } => "Attention",
            Op::Deferred(Deferred::Shape { .. }) => "Shape",
            Op::Deferred(Deferred::Size) => "Size",
            Op::Deferred(Deferred::Reshape { .. }) => "Reshape",
            Op::Deferred(Deferred::ConstantOfShape { .. }) => "ConstantOfShape",
            Op::Deferred(Deferred::Range) => "Range",
            Op::Deferred(Deferred::Split { .. } | Deferred::Part { .. }) => "Split",
        }
    }

    /// Whether each output element is one of the input's elements, so that both have the same quantization.
    pub fn passes_values(&self) -> bool {
        match self {
            Op::Resize(geometry) => geometry.interpolation != Interpolation::Linear,
            Op::Deferred(Deferred::Resize { interpolation, .. }) => *interpolation != Interpolation::Linear,
            _ => matches!(
                self,
                Op::Pool { kind: PoolKind::Max, .. }
                    | Op::Reshape { .. }
                    | Op::Flatten { .. }
                    | Op::Transpose { .. }
                    | Op::Squeeze { .. }
                    | Op::Unsqueeze { .. }
                    | Op::Slice { .. }
                    | Op::Expand { .. }
                    | Op::Tile { .. }
                    | Op::Deferred(
                        Deferred::Reshape { .. }
                            | Deferred::Expand
                            | Deferred::Tile
                            | Deferred::Slice
                            | Deferred::Squeeze
                            | Deferred::Unsqueeze
                            | Deferred::Split { .. }
                            | Deferred::Part { .. }
                    )
            ),
        }
    }

    /// What is applied last; `None` for ops that have no such thing.
    pub fn activation(&self) -> Option<Activation> {
        match self {
            Op::Conv { activation, .. } | Op::Linear { activation } | Op::Add { activation } => {
                Some(*activation)
            }
            _ => None,
        }
    }
}

impl Value {
    /// A value that is neither constant nor quantized.
    pub fn new(name: impl Into<String>, element: Element, shape: impl Into<Vec<Dim>>) -> Self {
        Self { name: name.into(), element, shape: shape.into(), constant: None, quant: None }
    }

    /// The shape, where every dimension is known.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::fixed).collect()
    }
}

/// The value that a new node makes, for [`Model::add_node_as`]. Its shape is inferred.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Unique within the model.
    pub name: String,
    /// Type of the elements.
    pub element: Element,
    /// Set where `element` is `I8` and stands for reals.
    pub quant: Option<Quant>,
}

/// # Reading
impl Model {
    /// All values, by [`ValueId::index`].
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The nodes, each after those whose outputs it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The values that the caller gives.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The values that the caller gets.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// One value.
    ///
    /// # Panics
    /// Where `id` is another model's and this one has fewer values.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The value of that name.
    pub fn value_by_name(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The ids of all values, in order.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// All constants: weights, biases, operands.
    pub fn constants(&self) -> impl Iterator<Item = (ValueId, &Arc<Tensor>)> {
        self.value_ids().zip(&self.values).filter_map(|(id, v)| v.constant.as_ref().map(|c| (id, c)))
    }

    /// The elements of a constant, `None` where the value is none.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.values.get(id.0)?.constant.as_deref()
    }

    /// For each value, the index of the node that makes it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for output in &node.outputs {
                producers[output.0] = Some(i);
            }
        }
        producers
    }

    /// For each value, the indices of the nodes that read it, once for each time they do.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in node.inputs.iter().flatten() {
                consumers[input.0].push(i);
            }
        }
        consumers
    }

    /// Bytes of all constants, with 16 more for each [`crate::quant::QuantParams`] of a constant.
    pub fn constant_bytes(&self) -> usize {
        let params = |v: &Value| match &v.quant {
            Some(Quant::Static { params, .. } | Quant::Grouped { params, .. }) => {
                size_of_val(params.as_slice())
            }
            _ => 0,
        };
        self.constants().map(|(id, t)| t.len() * t.element().size() + params(self.value(id))).sum()
    }

    /// [`Error::Node`] about one of this model's nodes.
    pub(crate) fn node_error(&self, node: &Node, detail: impl Into<String>) -> Error {
        let unnamed = || node.outputs.first().and_then(|o| self.values.get(o.0)).map(|v| v.name.clone());
        let name = Some(node.name.clone()).filter(|n| !n.is_empty()).or_else(unnamed);
        Error::Node {
            node: name.unwrap_or_default(),
            op: node.op.name().into(),
            opset: self.opset,
            detail: detail.into(),
        }
    }
}

/// # Building
impl Model {
    /// A model without nodes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds an input.
    ///
    /// # Errors
    /// [`Error::Model`] where the name is taken or the rank is more than 8.
    pub fn add_input(
        &mut self,
        name: impl Into<String>,
        element: Element,
        shape: impl Into<Vec<Dim>>,
    ) -> Result<ValueId> {
        let id = self.add_value(Value::new(name, element, shape))?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a constant.
    ///
    /// # Errors
    /// [`Error::Model`] where the name is taken or the rank is more than 8.
    pub fn add_constant(
        &mut self,
        name: impl Into<String>,
        tensor: impl Into<Arc<Tensor>>,
    ) -> Result<ValueId> {
        self.add_constant_as(name, tensor, None)
    }

    /// Adds a constant that is quantized: `tensor` is `I8` where `quant` is given.
    ///
    /// # Errors
    /// [`Error::Model`] where the name is taken or the rank is more than 8.
    pub fn add_constant_as(
        &mut self,
        name: impl Into<String>,
        tensor: impl Into<Arc<Tensor>>,
        quant: Option<Quant>,
    ) -> Result<ValueId> {
        let tensor = tensor.into();
        let shape: Vec<Dim> = tensor.shape().iter().map(|&n| Dim::Fixed(n)).collect();
        let value =
            Value { constant: Some(tensor.clone()), quant, ..Value::new(name, tensor.element(), shape) };
        self.add_value(value)
    }

    /// Adds a node whose output is named like it. The output is of the first input's element and quantization, but:
    /// a Conv or Linear of int8 and a Dequantize make f32, a Cast makes the other float.
    ///
    /// # Errors
    /// [`Error::Model`] where the name is taken; [`Error::Node`] where the inputs do not fit the op, and for Quantize,
    /// whose output must be described: use [`Model::add_node_as`].
    pub fn add_node(&mut self, name: impl Into<String>, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let name = name.into();
        let (element, quant) = self.usual_output(&op, inputs);
        let output = Output { name: name.clone(), element, quant };
        self.add_node_as(name, op, inputs, output)
    }

    /// Adds a node with a described output, whose shape is inferred as far as it can be known. The inputs are ids, or
    /// options of ids where one may be left out.
    ///
    /// # Errors
    /// [`Error::Model`] where the output's name is taken; [`Error::Node`] where the inputs do not fit the op.
    pub fn add_node_as(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[impl Copy + Into<Option<ValueId>>],
        output: Output,
    ) -> Result<ValueId> {
        let id = ValueId(self.values.len());
        let inputs = inputs.iter().map(|&i| i.into()).collect();
        let node = Node { name: name.into(), op, inputs, outputs: vec![id], fused: Vec::new() };
        self.check_arity(&node)?;
        let shapes: Vec<_> =
            node.inputs.iter().map(|i| i.map(|i| self.values[i.0].shape.as_slice())).collect();
        let shape =
            shape::infer(&node.op, &shapes, &output.name).map_err(|detail| self.node_error(&node, detail))?;
        self.add_value(Value { quant: output.quant, ..Value::new(output.name, output.element, shape) })?;
        if let Err(error) = self.check_elements(&node) {
            self.values.pop();
            self.names.retain(|_, v| *v != id);
            return Err(error);
        }
        self.nodes.push(node);
        Ok(id)
    }

    /// Says which values are the outputs.
    ///
    /// # Errors
    /// [`Error::Model`] where there is no such value.
    pub fn set_outputs(&mut self, outputs: &[ValueId]) -> Result<()> {
        if let Some(id) = outputs.iter().find(|o| o.0 >= self.values.len()) {
            return Err(Error::Model(format!("output {} of {} values", id.0, self.values.len())));
        }
        self.outputs = outputs.to_vec();
        Ok(())
    }

    /// The element and quantization that [`Model::add_node`] gives an output.
    pub(crate) fn usual_output(&self, op: &Op, inputs: &[ValueId]) -> (Element, Option<Quant>) {
        let first = inputs.first().and_then(|i| self.values.get(i.0));
        let (element, quant) = first.map(|v| (v.element, v.quant.clone())).unwrap_or_default();
        match (op, element) {
            (Op::Dequantize, _) | (Op::Conv { .. } | Op::Linear { .. }, Element::I8) => (Element::F32, None),
            (Op::Cast, Element::F32) => (Element::F16, None),
            (Op::Cast, _) => (Element::F32, None),
            (_, element) => (element, quant),
        }
    }

    /// A name that no value has yet, beginning with `base`.
    pub(crate) fn free_name(&self, base: &str) -> String {
        let numbered = (1usize..).map(|i| format!("{base}.{i}"));
        let mut candidates = std::iter::once(base.to_owned()).chain(numbered);
        candidates.find(|name| !self.names.contains_key(name)).unwrap_or_default()
    }

    pub(crate) fn add_value(&mut self, value: Value) -> Result<ValueId> {
        if value.shape.len() > shape::MAX_RANK {
            return Err(Error::Model(format!(
                "value `{}` has {} dimensions, more than {}",
                value.name,
                value.shape.len(),
                shape::MAX_RANK
            )));
        }
        if self.names.contains_key(&value.name) {
            return Err(Error::Model(format!("two values are named `{}`", value.name)));
        }
        let id = ValueId(self.values.len());
        self.names.insert(value.name.clone(), id);
        self.values.push(value);
        Ok(id)
    }
}
