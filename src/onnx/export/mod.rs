//! From a [`Model`] to an ONNX file.

mod ops;

use super::proto::{
    Attribute, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto,
    TensorShape, TensorType, TypeProto, ValueInfo, attribute,
};
use super::tensor;
use crate::error::Result;
use crate::graph::{Activation, Dim, Model, Node, Op, Quant, Value, ValueId, Window, passes};
use crate::quant::QuantParams;
use crate::tensor::{Data, Element, Tensor};
use prost::Message;
use std::collections::{HashMap, HashSet};

pub(super) fn export(model: &Model) -> Result<Vec<u8>> {
    model.validate()?;
    let mut exporter = Exporter {
        model,
        nodes: Vec::new(),
        initializers: Vec::new(),
        written: HashMap::new(),
        real: HashMap::new(),
        taken: model.values().iter().map(|v| v.name.clone()).collect(),
        node_names: HashSet::new(),
        opset: ops::operator_set(model),
    };
    for node in model.nodes() {
        exporter.node(node)?;
    }
    let info = |id: &ValueId| describe(model.value(*id));
    let graph = GraphProto {
        node: exporter.nodes,
        name: if model.name.is_empty() { "model".into() } else { model.name.clone() },
        initializer: exporter.initializers,
        input: model.inputs().iter().map(info).collect(),
        output: model.outputs().iter().map(info).collect(),
    };
    let file = ModelProto {
        // The version of the format that came with the operator set.
        ir_version: match exporter.opset {
            ..=18 => 8,
            19 | 20 => 9,
            21 | 22 => 10,
            _ => 11,
        },
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetId { domain: String::new(), version: Some(exporter.opset) }],
    };
    Ok(file.encode_to_vec())
}

fn describe(value: &Value) -> ValueInfo {
    let dim = |d: &Dim| Dimension {
        value: Some(match d {
            Dim::Fixed(n) => DimensionValue::Value(*n as i64),
            Dim::Symbol(s) => DimensionValue::Param(s.clone()),
        }),
    };
    let shape = TensorShape { dim: value.shape.iter().map(dim).collect() };
    let tensor = TensorType { elem_type: tensor::data_type_of(value.element), shape: Some(shape) };
    ValueInfo { name: value.name.clone(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i: Some(i), kind: attribute::INT, ..Attribute::default() }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&v| v as i64).collect();
    Attribute { name: name.into(), ints, kind: attribute::INTS, ..Attribute::default() }
}

fn geometry(window: &Window) -> Vec<Attribute> {
    let Window { kernel, stride, pad_begin: [top, left], pad_end: [bottom, right], dilation, .. } = *window;
    let mut attributes = vec![
        ints("kernel_shape", &kernel),
        ints("strides", &stride),
        ints("pads", &[top, left, bottom, right]),
    ];
    if dilation != [1, 1] {
        attributes.push(ints("dilations", &dilation));
    }
    if window.ceil {
        attributes.push(int("ceil_mode", 1));
    }
    attributes
}

/// How a constant is written.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    AsIs,
    /// `[n, k]` as `[k, n]`.
    Transposed,
    /// Under another shape or type.
    As(Vec<usize>, Element),
}

struct Exporter<'m> {
    model: &'m Model,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Initializers by the constant and its form.
    written: HashMap<(ValueId, Form), String>,
    /// What DequantizeLinear makes of a value.
    real: HashMap<(ValueId, Form), String>,
    taken: HashSet<String>,
    node_names: HashSet<String>,
    opset: i64,
}

impl Exporter<'_> {
    fn fresh(&mut self, base: String) -> String {
        let numbered = (1usize..).map(|i| format!("{base}.{i}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|n| !self.taken.contains(n));
        let name = name.unwrap_or(base);
        self.taken.insert(name.clone());
        name
    }

    fn push(&mut self, op: &str, name: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        // Names are for messages here, but ONNX Runtime wants them unique.
        let mut names = std::iter::once(name.to_owned()).chain((1usize..).map(|i| format!("{name}.{i}")));
        let free = names.find(|n| !self.node_names.contains(n)).filter(|_| !name.is_empty());
        let name = free.unwrap_or_default();
        self.node_names.insert(name.clone());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            name,
            op_type: op.into(),
            attribute: attributes,
            domain: String::new(),
        });
    }

    fn initializer(&mut self, base: String, tensor: &Tensor) -> String {
        let name = self.fresh(base);
        self.initializers.push(tensor::write(&name, tensor));
        name
    }

    /// The name of a value, written first where it is a constant.
    fn stored(&mut self, id: ValueId, form: Form) -> Result<String> {
        let value = self.model.value(id);
        let Some(constant) = &value.constant else { return Ok(value.name.clone()) };
        let key = (id, form);
        if let Some(name) = self.written.get(&key) {
            return Ok(name.clone());
        }
        let changed = match &key.1 {
            Form::AsIs => constant.as_ref().clone(),
            Form::Transposed => tensor::transpose(constant)?,
            Form::As(shape, element) if *element != constant.element() => {
                passes::floats(*element, shape, constant.to_f32())
                    .unwrap_or_else(|| constant.as_ref().clone())
            }
            Form::As(shape, _) => constant.as_ref().clone().reshape(shape.clone())?,
        };
        // The first form written has the constant's own name.
        let first = !self.written.keys().any(|(other, _)| *other == id);
        let name = if first { value.name.clone() } else { self.fresh(format!("{}.other", value.name)) };
        self.initializers.push(tensor::write(&name, &changed));
        self.written.insert(key, name.clone());
        Ok(name)
    }

    fn scales(&mut self, of: &str, axis: Option<usize>, params: &[QuantParams]) -> Result<String> {
        let shape: &[usize] = if axis.is_some() { &[params.len()] } else { &[] };
        let scales: Vec<f32> = params.iter().map(|p| p.scale).collect();
        Ok(self.initializer(format!("{of}.scale"), &Tensor::f32(shape, scales)?))
    }

    fn zero_points(&mut self, of: &str, axis: Option<usize>, params: &[QuantParams]) -> Result<String> {
        let shape: &[usize] = if axis.is_some() { &[params.len()] } else { &[] };
        // Within -128..=127, which `QuantParams::new` checks.
        let zero_points = params.iter().map(|p| p.zero_point as i8).collect();
        Ok(self.initializer(format!("{of}.zero_point"), &Tensor::new(shape, Data::I8(zero_points))?))
    }

    /// The name of a value's reals: itself, or what DequantizeLinear makes of it.
    fn real(&mut self, node: &Node, id: ValueId, form: Form) -> Result<String> {
        let value = self.model.value(id);
        match &value.quant {
            None => self.stored(id, form),
            Some(Quant::Dynamic { .. }) => {
                Err(self.model.node_error(node, "ONNX has no such op of a dynamically quantized value"))
            }
            Some(Quant::Static { .. } | Quant::Grouped { .. }) => {
                if let Some(name) = self.real.get(&(id, form.clone())) {
                    return Ok(name.clone());
                }
                let name = self.fresh(format!("{}.real", value.name));
                self.dequantize(id, form.clone(), &name)?;
                self.real.insert((id, form), name.clone());
                Ok(name)
            }
        }
    }

    fn dequantize(&mut self, id: ValueId, form: Form, output: &str) -> Result<()> {
        let value = self.model.value(id);
        let (axis, params) = match &value.quant {
            Some(Quant::Static { axis, params }) => (axis, params),
            Some(Quant::Grouped { group, params }) => {
                return self.dequantize_grouped(id, form, output, *group, params);
            }
            _ => return Ok(()),
        };
        let stored = self.stored(id, form.clone())?;
        // Zero points of 0 are written too: without VNNI, ONNX Runtime's exact integer kernels insist on them.
        let scale = self.scales(&value.name, *axis, params)?;
        let inputs = [stored, scale, self.zero_points(&value.name, *axis, params)?];
        let axis =
            axis.map(|a| int("axis", if form == Form::Transposed { 1 - (a as i64) } else { a as i64 }));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.push("DequantizeLinear", output, &inputs, output, axis.into_iter().collect());
        Ok(())
    }

    /// Of `[n, k]`, or its transpose, in groups along k.
    fn dequantize_grouped(
        &mut self,
        id: ValueId,
        form: Form,
        output: &str,
        group: usize,
        params: &[QuantParams],
    ) -> Result<()> {
        let value = self.model.value(id);
        let n = value.shape.first().and_then(Dim::fixed).unwrap_or(0);
        let shape = [n, params.len().checked_div(n).unwrap_or(0)];
        let mut scales = Tensor::f32(shape, params.iter().map(|p| p.scale).collect::<Vec<f32>>())?;
        let axis = if form == Form::Transposed {
            scales = tensor::transpose(&scales)?;
            0
        } else {
            1
        };
        let zero_points = Tensor::new(scales.shape(), Data::I8(vec![0; params.len()]))?;
        let stored = self.stored(id, form)?;
        let scale = self.initializer(format!("{}.scale", value.name), &scales);
        let zero_point = self.initializer(format!("{}.zero_point", value.name), &zero_points);
        let attributes = vec![int("axis", axis), int("block_size", group as i64)];
        self.push("DequantizeLinear", output, &[&stored, &scale, &zero_point], output, attributes);
        Ok(())
    }

    /// What a node's own result is called, before its activation and quantization.
    fn result(&mut self, node: &Node) -> String {
        let y = self.model.value(node.outputs[0]);
        let plain = node.op.activation().unwrap_or_default() == Activation::Identity;
        match (plain, &y.quant) {
            (true, None) => y.name.clone(),
            (true, Some(_)) => self.fresh(format!("{}.float", y.name)),
            (false, _) => self.fresh(format!("{}.linear", y.name)),
        }
    }

    /// Activation and quantization of a node's own result.
    fn finish(&mut self, node: &Node, result: &str) -> Result<()> {
        let y = self.model.value(node.outputs[0]);
        let activation = node.op.activation().unwrap_or_default();
        let mut real = result.to_owned();
        if activation != Activation::Identity {
            real = if y.quant.is_some() { self.fresh(format!("{}.float", y.name)) } else { y.name.clone() };
            let element = if y.quant.is_some() { Element::F32 } else { y.element };
            self.activation(activation, element, result, &real)?;
        }
        if y.quant.is_some() { self.quantize(node, &real) } else { Ok(()) }
    }

    fn activation(&mut self, activation: Activation, element: Element, x: &str, y: &str) -> Result<()> {
        match activation {
            Activation::Identity => self.push("Identity", y, &[x], y, Vec::new()),
            Activation::Relu => self.push("Relu", y, &[x], y, Vec::new()),
            Activation::Function(f) => {
                let mut inputs = vec![x.to_owned()];
                let (op, attributes) = self.function(f, element, y, &mut inputs);
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.push(op, y, &inputs, y, attributes);
            }
            Activation::Clip { lo, hi } => {
                let mut inputs = vec![x.to_owned()];
                for (bound, name) in [(lo, "min"), (hi, "max")] {
                    let tensor = match element {
                        Element::I8 => Tensor::new([], Data::I8(vec![bound as i8])).ok(),
                        Element::U8 => Tensor::new([], Data::U8(vec![bound as u8])).ok(),
                        _ => passes::floats(element, &[], vec![bound]),
                    };
                    let tensor = tensor.filter(|_| bound.is_finite());
                    inputs
                        .push(tensor.map_or(String::new(), |t| self.initializer(format!("{y}.{name}"), &t)));
                }
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.push("Clip", y, &inputs, y, Vec::new());
            }
        }
        Ok(())
    }

    fn quantize(&mut self, node: &Node, x: &str) -> Result<()> {
        let y = self.model.value(node.outputs[0]);
        match &y.quant {
            Some(Quant::Grouped { .. }) => {
                return Err(self.model.node_error(node, "only constants are quantized in groups"));
            }
            Some(Quant::Static { axis, params }) => {
                let scale = self.scales(&y.name, *axis, params)?;
                let zero_point = self.zero_points(&y.name, *axis, params)?;
                let axis = axis.map(|a| int("axis", a as i64)).into_iter().collect();
                self.push("QuantizeLinear", &y.name, &[x, &scale, &zero_point], &y.name, axis);
            }
            Some(Quant::Dynamic { .. }) => {
                let outputs = dynamic_names(&y.name);
                self.taken.extend(outputs.iter().cloned());
                self.push("DynamicQuantizeLinear", &node.name, &[x], &y.name, Vec::new());
                if let Some(last) = self.nodes.last_mut() {
                    last.output.extend(outputs);
                }
            }
            None => return Err(self.model.node_error(node, "its output has no quantization")),
        }
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        let y = self.model.value(node.outputs[0]);
        let Some(x) = node.inputs[0] else { return Err(self.model.node_error(node, "input 0 is left out")) };
        match &node.op {
            Op::Conv { .. } | Op::Linear { .. } => return self.product(node),
            Op::Quantize => {
                let x = self.real(node, x, Form::AsIs)?;
                return self.quantize(node, &x);
            }
            Op::Dequantize => {
                if !matches!(self.model.value(x).quant, Some(Quant::Static { .. })) {
                    return Err(self
                        .model
                        .node_error(node, "ONNX has no such op of a dynamically quantized value"));
                }
                return self.dequantize(x, Form::AsIs, &y.name);
            }
            Op::Activation(activation) => {
                let x = self.real(node, x, Form::AsIs)?;
                return self.lone_activation(node, *activation, &x);
            }
            _ => {}
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for id in &node.inputs {
            inputs.push(match id {
                Some(id) => self.real(node, *id, Form::AsIs)?,
                None => String::new(),
            });
        }
        let (op, attributes) = self.write(node, &mut inputs)?;
        let result = self.result(node);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.push(op, &node.name, &inputs, &result, attributes);
        self.finish(node, &result)
    }

    /// Conv and Linear.
    fn product(&mut self, node: &Node) -> Result<()> {
        let (Some(x), Some(weight)) = (node.inputs[0], node.inputs[1]) else { return Ok(()) };
        let bias = node.inputs.get(2).copied().flatten();
        if let Some(Quant::Dynamic { .. }) = self.model.value(x).quant {
            return self.dynamic_product(node, x, weight, bias);
        }
        if self.model.value(x).element == Element::F16 && self.model.value(weight).quant.is_some() {
            let detail =
                "its input is f16 and its weights are int8: ONNX dequantizes to the type of the scales, f32";
            return Err(self.model.node_error(node, detail));
        }
        let real_x = self.real(node, x, Form::AsIs)?;
        let mut attributes = Vec::new();
        // Gemm takes matrices only, MatMul any rank but the weight as [k, n] and no bias.
        let (op, form) = match &node.op {
            Op::Conv { window, groups, .. } => {
                attributes = geometry(window);
                attributes.push(int("group", *groups as i64));
                ("Conv", Form::AsIs)
            }
            _ if self.model.value(x).shape.len() == 2 => {
                attributes.push(int("transB", 1));
                ("Gemm", Form::AsIs)
            }
            _ => ("MatMul", Form::Transposed),
        };
        let real_weight = self.real(node, weight, form)?;
        let bias = match bias {
            Some(bias) => Some(self.bias(node, x, weight, bias)?),
            None => None,
        };
        let result = self.result(node);
        match bias {
            Some(bias) if op == "MatMul" => {
                let product = self.fresh(format!("{result}.product"));
                self.push(op, &node.name, &[&real_x, &real_weight], &product, attributes);
                self.push("Add", "", &[&product, &bias], &result, Vec::new());
            }
            Some(bias) => self.push(op, &node.name, &[&real_x, &real_weight, &bias], &result, attributes),
            None => self.push(op, &node.name, &[&real_x, &real_weight], &result, attributes),
        }
        self.finish(node, &result)
    }

    /// A bias in the type of the reals; where both operands are quantized, as int32 of scale `sa * sw`, which is what
    /// ONNX Runtime's integer kernels take.
    fn bias(&mut self, node: &Node, x: ValueId, weight: ValueId, bias: ValueId) -> Result<String> {
        let (x, weight, value) = (self.model.value(x), self.model.value(weight), self.model.value(bias));
        let Some(constant) = &value.constant else {
            return Err(self.model.node_error(node, "its bias is no constant"));
        };
        let element = if x.element == Element::F16 { Element::F16 } else { Element::F32 };
        let as_float = Form::As(constant.shape().to_vec(), element);
        let (Some(Quant::Static { params: a, .. }), Some(Quant::Static { params: w, axis })) =
            (&x.quant, &weight.quant)
        else {
            return self.stored(bias, as_float);
        };
        let scales: Vec<f32> = w.iter().map(|w| w.scale * a[0].scale).collect();
        let quantized: Option<Vec<i32>> = constant
            .to_f32()
            .iter()
            .zip(scales.iter().cycle())
            .map(|(&b, &s)| {
                let q = (f64::from(b) / f64::from(s)).round_ties_even();
                (q.abs() < f64::from(i32::MAX)).then_some(q as i32)
            })
            .collect();
        let Some(quantized) = quantized.filter(|_| scales.iter().all(|s| s.is_normal())) else {
            return self.stored(bias, as_float);
        };
        // Two nodes may share a bias but not its scale. What stands for the reals has the bias's name.
        let key = (bias, Form::AsIs);
        let real = match self.written.insert(key, value.name.clone()) {
            None => value.name.clone(),
            Some(_) => self.fresh(format!("{}.real", value.name)),
        };
        let q =
            self.initializer(format!("{real}.int32"), &Tensor::new(constant.shape(), Data::I32(quantized))?);
        let shape: &[usize] = if axis.is_some() { &[scales.len()] } else { &[] };
        let scale = self.initializer(format!("{real}.scale"), &Tensor::f32(shape, scales)?);
        let axis = axis.map(|_| int("axis", 0)).into_iter().collect();
        self.push("DequantizeLinear", &real, &[&q, &scale], &real, axis);
        Ok(real)
    }

    /// As ONNX Runtime's `quantize_dynamic` writes it: integer product, Cast, Mul by both scales, Add.
    fn dynamic_product(
        &mut self,
        node: &Node,
        x: ValueId,
        weight: ValueId,
        bias: Option<ValueId>,
    ) -> Result<()> {
        let w = self.model.value(weight);
        let Some(Quant::Static { axis, params }) = &w.quant else {
            return Err(self.model.node_error(node, "its weight is not quantized"));
        };
        let (x, y) = (self.model.value(x).name.clone(), self.model.value(node.outputs[0]).name.clone());
        let [x_scale, x_zero_point] = dynamic_names(&x);
        let (op, form, attributes) = match &node.op {
            Op::Conv { window, groups, .. } => {
                let mut attributes = geometry(window);
                attributes.push(int("group", *groups as i64));
                ("ConvInteger", Form::AsIs, attributes)
            }
            _ => ("MatMulInteger", Form::Transposed, Vec::new()),
        };
        let conv = op == "ConvInteger";
        let stored = self.stored(weight, form)?;
        let mut inputs = vec![x, stored, x_zero_point];
        match params.iter().map(|p| p.zero_point).collect::<HashSet<_>>().len() {
            1 if params[0].zero_point == 0 => {}
            1 => inputs.push(self.zero_points(&w.name, None, &params[..1])?),
            _ => return Err(self.model.node_error(node, "its weight has several zero points")),
        }
        // Broadcast against [n, o, oh, ow] or [.., n].
        let shape = match axis {
            None => vec![],
            Some(_) if conv => vec![1, params.len(), 1, 1],
            Some(_) => vec![params.len()],
        };
        let scales: Vec<f32> = params.iter().map(|p| p.scale).collect();
        let w_scale = self.initializer(format!("{}.scale", w.name), &Tensor::f32(shape, scales)?);
        let result = self.result(node);
        let names = ["sum", "sum_f32", "scale"].map(|n| format!("{result}.{n}"));
        let [sum, cast, scale] = names.map(|n| self.fresh(n));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.push(op, &node.name, &inputs, &sum, attributes);
        let float = i64::from(tensor::data_type_of(Element::F32));
        self.push("Cast", "", &[&sum], &cast, vec![int("to", float)]);
        self.push("Mul", "", &[&x_scale, &w_scale], &scale, Vec::new());
        let Some(bias) = bias else {
            self.push("Mul", &y, &[&cast, &scale], &result, Vec::new());
            return self.finish(node, &result);
        };
        let o = self.model.value(bias).shape.first().and_then(Dim::fixed).unwrap_or(0);
        let shape = if conv { vec![1, o, 1, 1] } else { vec![o] };
        let bias = self.stored(bias, Form::As(shape, Element::F32))?;
        let product = self.fresh(format!("{result}.product"));
        self.push("Mul", "", &[&cast, &scale], &product, Vec::new());
        self.push("Add", "", &[&product, &bias], &result, Vec::new());
        self.finish(node, &result)
    }
}

/// The scale and zero point that DynamicQuantizeLinear makes beside a value.
fn dynamic_names(value: &str) -> [String; 2] {
    [format!("{value}.scale"), format!("{value}.zero_point")]
}
