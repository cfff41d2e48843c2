//! How each op that is neither a product nor a quantization is written.

use super::{Exporter, geometry, int, ints, tensor};
use crate::error::Result;
use crate::graph::{
    Activation, BinaryOp, Coordinates, Deferred, Fit, Interpolation, Model, Nearest, Node, Op, PadMode,
    PoolKind, Quant, ReduceOp, Resize, UnaryOp,
};
use crate::onnx::proto::{Attribute, attribute};
use crate::tensor::{Data, Element, Tensor};

/// An op of the file: its name and attributes. Its inputs may have been added to.
type Written = (&'static str, Vec<Attribute>);

/// The least operator set that has what the model needs: 17, but for newer ops, and 21 for weights in groups.
pub(super) fn operator_set(model: &Model) -> i64 {
    let grouped = model.values().iter().any(|v| matches!(v.quant, Some(Quant::Grouped { .. })));
    let of_values = if grouped { 21 } else { 17 };
    model.nodes().iter().map(|n| least(&n.op)).max().unwrap_or(0).max(of_values)
}

fn least(op: &Op) -> i64 {
    if let Some(Activation::Function(f)) = op.activation() {
        return least(&Op::Unary(f));
    }
    match op {
        Op::Unary(UnaryOp::Mish) => 18,
        Op::Unary(UnaryOp::Gelu { .. }) => 20,
        Op::Pad { mode: PadMode::Wrap, .. } | Op::Deferred(Deferred::Pad { mode: PadMode::Wrap }) => 19,
        // Axes of Resize and Pad as inputs or attributes, reductions' axes as inputs.
        Op::Resize(_)
        | Op::Deferred(Deferred::Resize { .. } | Deferred::Reduce { .. } | Deferred::Part { .. }) => 18,
        // The first whose AveragePool has dilations.
        Op::Pool { kind: PoolKind::Average { .. }, window } if window.dilation != [1, 1] => 19,
        Op::GroupNorm { .. } => 21,
        Op::LayerNorm { rms: true, .. } => 23,
        _ => 17,
    }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.into(), f: Some(f), kind: attribute::FLOAT, ..Attribute::default() }
}

fn string(name: &str, s: &str) -> Attribute {
    Attribute { name: name.into(), s: Some(s.into()), kind: attribute::STRING, ..Attribute::default() }
}

fn numbers(all: impl IntoIterator<Item = i64>) -> Result<Tensor> {
    let all: Vec<i64> = all.into_iter().collect();
    Tensor::new([all.len()], Data::I64(all))
}

fn sizes(all: &[usize]) -> Result<Tensor> {
    numbers(all.iter().map(|&n| n as i64))
}

impl Exporter<'_> {
    /// Adds a constant input, in the place of those that are left out.
    fn operand(&mut self, node: &Node, what: &str, tensor: &Tensor, inputs: &mut Vec<String>) {
        let y = self.model.value(node.outputs[0]).name.clone();
        inputs.push(self.initializer(format!("{y}.{what}"), tensor));
    }

    /// The op and its attributes; parameters that are inputs in ONNX are added to `inputs`.
    pub(super) fn write(&mut self, node: &Node, inputs: &mut Vec<String>) -> Result<Written> {
        let y = self.model.value(node.outputs[0]);
        let flag = |name: &str, b: bool| int(name, i64::from(b));
        Ok(match &node.op {
            Op::Pool { kind, window } => {
                let mut attributes = geometry(window);
                if let PoolKind::Average { include_pad } = kind {
                    attributes.push(flag("count_include_pad", *include_pad));
                }
                (node.op.name(), attributes)
            }
            Op::Reshape { target } => {
                self.operand(node, "shape", &numbers(target.iter().copied())?, inputs);
                ("Reshape", Vec::new())
            }
            Op::Flatten { axis } => ("Flatten", vec![int("axis", *axis as i64)]),
            Op::Transpose { order } => ("Transpose", vec![ints("perm", order)]),
            Op::Cast => ("Cast", vec![int("to", i64::from(tensor::data_type_of(y.element)))]),
            Op::Unary(f) => self.function(*f, y.element, &y.name, inputs),
            Op::Binary(f) => match f {
                BinaryOp::Mod { fmod } => ("Mod", vec![flag("fmod", *fmod)]),
                f => (f.name(), Vec::new()),
            },
            Op::Reduce { op, axes, keep } => self.reduce(node, *op, axes, *keep, inputs)?,
            Op::ArgReduce { axis, keep, last, .. } => {
                let axis = int("axis", *axis as i64);
                (node.op.name(), vec![axis, flag("keepdims", *keep), flag("select_last_index", *last)])
            }
            Op::CumSum { axis, exclusive, reverse } => {
                self.operand(node, "axis", &Tensor::new([], Data::I64(vec![*axis as i64]))?, inputs);
                ("CumSum", vec![flag("exclusive", *exclusive), flag("reverse", *reverse)])
            }
            Op::Softmax { axis, .. } => (node.op.name(), vec![int("axis", *axis as i64)]),
            Op::LayerNorm { axis, epsilon, .. } => {
                if inputs.len() == 1 || inputs[1].is_empty() {
                    self.ones(node, *axis, inputs)?;
                }
                (node.op.name(), vec![int("axis", *axis as i64), float("epsilon", *epsilon)])
            }
            Op::GroupNorm { groups, epsilon } => {
                ("GroupNormalization", vec![int("num_groups", *groups as i64), float("epsilon", *epsilon)])
            }
            Op::Gather { axis } => ("Gather", vec![int("axis", *axis as i64)]),
            Op::Concat { axis } => ("Concat", vec![int("axis", *axis as i64)]),
            Op::Slice { axes } => {
                self.operand(node, "starts", &numbers(axes.iter().map(|a| a.start))?, inputs);
                self.operand(node, "ends", &numbers(axes.iter().map(|a| a.end))?, inputs);
                self.operand(node, "axes", &numbers(axes.iter().map(|a| a.axis as i64))?, inputs);
                self.operand(node, "steps", &numbers(axes.iter().map(|a| a.step))?, inputs);
                ("Slice", Vec::new())
            }
            Op::Pad { begin, end, mode } => {
                let pads = numbers(begin.iter().chain(end).copied())?;
                self.operand(node, "pads", &pads, inputs);
                if let PadMode::Constant(value) = mode {
                    let value = of_element(y.element, *value)?;
                    self.operand(node, "value", &value, inputs);
                }
                ("Pad", vec![string("mode", pad_mode(*mode))])
            }
            Op::Expand { shape } => {
                self.operand(node, "shape", &sizes(shape)?, inputs);
                ("Expand", Vec::new())
            }
            Op::Tile { repeats } => {
                self.operand(node, "repeats", &sizes(repeats)?, inputs);
                ("Tile", Vec::new())
            }
            Op::Resize(r) => self.resize(node, r, inputs)?,
            Op::Squeeze { axes } | Op::Unsqueeze { axes } => {
                self.operand(node, "axes", &sizes(axes)?, inputs);
                (node.op.name(), Vec::new())
            }
            Op::ConvTranspose { window, groups, output_padding } => {
                let mut attributes = geometry(window);
                attributes.push(int("group", *groups as i64));
                attributes.push(ints("output_padding", output_padding));
                ("ConvTranspose", attributes)
            }
            Op::Attention { scale } => self.attention(node, *scale, inputs)?,
            Op::Deferred(deferred) => self.deferred(deferred, node, inputs)?,
            other => (other.name(), Vec::new()),
        })
    }

    pub(super) fn function(
        &mut self,
        f: UnaryOp,
        element: Element,
        y: &str,
        inputs: &mut Vec<String>,
    ) -> Written {
        let attributes = match f {
            UnaryOp::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
            UnaryOp::Gelu { tanh } => vec![string("approximate", if tanh { "tanh" } else { "none" })],
            UnaryOp::Elu { alpha } | UnaryOp::Celu { alpha } | UnaryOp::LeakyRelu { alpha } => {
                vec![float("alpha", alpha)]
            }
            UnaryOp::Selu { alpha, gamma } => vec![float("alpha", alpha), float("gamma", gamma)],
            UnaryOp::IsInf { negative, positive } => {
                let flag = |name: &str, b: bool| int(name, i64::from(b));
                vec![flag("detect_negative", negative), flag("detect_positive", positive)]
            }
            // An op of its own only from operator set 24 on.
            UnaryOp::Swish { alpha } => {
                let mut inner = inputs[0].clone();
                if let Some(alpha) = of_element(element, alpha).ok().filter(|_| alpha != 1.0) {
                    let factor = self.initializer(format!("{y}.alpha"), &alpha);
                    let scaled = self.fresh(format!("{y}.scaled"));
                    self.push("Mul", "", &[&inner, &factor], &scaled, Vec::new());
                    inner = scaled;
                }
                let gate = self.fresh(format!("{y}.gate"));
                self.push("Sigmoid", "", &[&inner], &gate, Vec::new());
                inputs.push(gate);
                return ("Mul", Vec::new());
            }
            _ => Vec::new(),
        };
        (f.name(), attributes)
    }

    fn reduce(
        &mut self,
        node: &Node,
        op: ReduceOp,
        axes: &[usize],
        keep: bool,
        inputs: &mut Vec<String>,
    ) -> Result<Written> {
        let mut attributes = vec![int("keepdims", i64::from(keep))];
        if axes.is_empty() {
            // No axes would mean all.
            return Err(self.model.node_error(node, "a reduction over no axes has no ONNX form"));
        }
        if op == ReduceOp::Sum || self.opset >= 18 {
            self.operand(node, "axes", &sizes(axes)?, inputs);
        } else {
            attributes.push(ints("axes", axes));
        }
        Ok((op.name(), attributes))
    }

    /// The scale that ONNX insists on: ones, of the normalized axes' shape.
    fn ones(&mut self, node: &Node, axis: usize, inputs: &mut Vec<String>) -> Result<()> {
        let y = self.model.value(node.outputs[0]);
        let shape: Option<Vec<usize>> =
            y.shape[axis.min(y.shape.len())..].iter().map(|d| d.fixed()).collect();
        let count = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        let (Some(shape), Some(count)) = (shape, count.filter(|&n| n <= 1 << 24)) else {
            let detail = format!("without a scale, its normalized axes must be known: {:?}", y.shape);
            return Err(self.model.node_error(node, detail));
        };
        let ones = crate::graph::passes::floats(y.element, &shape, vec![1.0; count]);
        let Some(ones) = ones else {
            return Err(self.model.node_error(node, format!("it is of {:?}", y.element)));
        };
        inputs.truncate(1);
        self.operand(node, "scale", &ones, inputs);
        Ok(())
    }

    fn resize(&mut self, node: &Node, r: &Resize, inputs: &mut Vec<String>) -> Result<Written> {
        inputs.push(String::new());
        let x = node.inputs[0].and_then(|x| self.model.value(x).fixed_shape()).unwrap_or_default();
        let from_scale =
            |((&n, &s), &size): ((&usize, &f32), &usize)| (n as f64 * f64::from(s)).floor() == size as f64;
        if x.len() == r.sizes.len() && x.iter().zip(&r.scales).zip(&r.sizes).all(from_scale) {
            self.operand(node, "scales", &Tensor::f32([r.scales.len()], r.scales.clone())?, inputs);
        } else {
            inputs.push(String::new());
            self.operand(node, "sizes", &sizes(&r.sizes)?, inputs);
        }
        Ok(("Resize", interpolation(r.coordinates, r.interpolation)))
    }

    /// Written out: not every reader has the fused op.
    fn attention(&mut self, node: &Node, scale: f32, inputs: &mut Vec<String>) -> Result<Written> {
        let y = self.model.value(node.outputs[0]);
        let (name, element, rank) = (y.name.clone(), y.element, y.shape.len());
        let mut scores = self.fresh(format!("{name}.scores"));
        self.push("MatMul", "", &[&inputs[0].clone(), &inputs[1].clone()], &scores, Vec::new());
        if scale != 1.0 {
            let factor = self.initializer(format!("{name}.scale"), &of_element(element, scale)?);
            let scaled = self.fresh(format!("{name}.scaled"));
            self.push("Mul", "", &[&scores, &factor], &scaled, Vec::new());
            scores = scaled;
        }
        if let Some(mask) = inputs.get(3).cloned() {
            let masked = self.fresh(format!("{name}.masked"));
            self.push("Add", "", &[&scores, &mask], &masked, Vec::new());
            scores = masked;
        }
        let weights = self.fresh(format!("{name}.weights"));
        let axis = int("axis", rank as i64 - 1);
        self.push("Softmax", "", &[&scores], &weights, vec![axis]);
        *inputs = vec![weights, inputs[2].clone()];
        Ok(("MatMul", Vec::new()))
    }

    fn deferred(&mut self, op: &Deferred, node: &Node, inputs: &mut Vec<String>) -> Result<Written> {
        let flag = |name: &str, b: bool| int(name, i64::from(b));
        let attributes = match op {
            Deferred::Shape { start, end } => {
                let end = end.map(|e| int("end", e));
                std::iter::once(int("start", *start)).chain(end).collect()
            }
            Deferred::Reshape { allow_zero } => vec![flag("allowzero", *allow_zero)],
            Deferred::Pad { mode } => {
                if let (PadMode::Constant(value), true) = (mode, inputs.get(2).is_none_or(String::is_empty)) {
                    let element = self.model.value(node.outputs[0]).element;
                    let rest = inputs.split_off(2.min(inputs.len()));
                    self.operand(node, "value", &of_element(element, *value)?, inputs);
                    inputs.extend(rest.into_iter().skip(1));
                }
                vec![string("mode", pad_mode(*mode))]
            }
            Deferred::Resize { coordinates, interpolation: between, axes, fit } => {
                inputs.insert(1, String::new());
                let mut attributes = interpolation(*coordinates, *between);
                if !axes.is_empty() {
                    attributes.push(ints("axes", axes));
                }
                let policy = match fit {
                    Fit::Stretch => "stretch",
                    Fit::NotLarger => "not_larger",
                    Fit::NotSmaller => "not_smaller",
                };
                attributes.push(string("keep_aspect_ratio_policy", policy));
                attributes
            }
            Deferred::ConstantOfShape { value } => {
                let t = tensor::write("", value);
                vec![Attribute {
                    name: "value".into(),
                    t: Some(t),
                    kind: attribute::TENSOR,
                    ..Default::default()
                }]
            }
            Deferred::Reduce { op, keep, none_without_axes } => {
                let flags = vec![flag("keepdims", *keep), flag("noop_with_empty_axes", *none_without_axes)];
                return Ok((op.name(), flags));
            }
            Deferred::CumSum { exclusive, reverse } => {
                vec![flag("exclusive", *exclusive), flag("reverse", *reverse)]
            }
            // One part of several: what follows from the sizes alone is written as a Slice.
            Deferred::Split { .. } | Deferred::Part { .. } => {
                return Err(self
                    .model
                    .node_error(node, "a Split of sizes that are not known has no ONNX form here"));
            }
            Deferred::Size | Deferred::Expand | Deferred::Tile | Deferred::Slice | Deferred::Range => {
                Vec::new()
            }
            Deferred::Squeeze | Deferred::Unsqueeze => Vec::new(),
        };
        Ok((node.op.name(), attributes))
    }

    /// A lone activation.
    pub(super) fn lone_activation(&mut self, node: &Node, activation: Activation, x: &str) -> Result<()> {
        let y = self.model.value(node.outputs[0]);
        let quantized = y.quant.is_some();
        let name = if quantized { self.fresh(format!("{}.float", y.name)) } else { y.name.clone() };
        let element = if quantized { Element::F32 } else { y.element };
        self.activation(activation, element, x, &name)?;
        if quantized { self.quantize(node, &name) } else { Ok(()) }
    }
}

/// One number in an element's type.
fn of_element(element: Element, x: f32) -> Result<Tensor> {
    let data = match element {
        Element::F32 => Data::F32(vec![x]),
        Element::F16 => Data::F16(vec![half::f16::from_f32(x)]),
        Element::I8 => Data::I8(vec![x as i8]),
        Element::U8 => Data::U8(vec![x as u8]),
        Element::I32 => Data::I32(vec![x as i32]),
        Element::I64 => Data::I64(vec![x as i64]),
        Element::Bool => Data::Bool(vec![x != 0.0]),
    };
    Tensor::new([], data)
}

fn pad_mode(mode: PadMode) -> &'static str {
    match mode {
        PadMode::Constant(_) => "constant",
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
        PadMode::Wrap => "wrap",
    }
}

fn interpolation(coordinates: Coordinates, between: Interpolation) -> Vec<Attribute> {
    let coordinates = match coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::AlignCorners => "align_corners",
        Coordinates::Asymmetric => "asymmetric",
    };
    let mut attributes = vec![string("coordinate_transformation_mode", coordinates)];
    match between {
        Interpolation::Linear => attributes.push(string("mode", "linear")),
        Interpolation::Nearest(nearest) => {
            let nearest = match nearest {
                Nearest::RoundPreferFloor => "round_prefer_floor",
                Nearest::RoundPreferCeil => "round_prefer_ceil",
                Nearest::Floor => "floor",
                Nearest::Ceil => "ceil",
            };
            attributes.extend([string("mode", "nearest"), string("nearest_mode", nearest)]);
        }
    }
    attributes
}
