//! What makes a [`Model`] well-formed.

use super::{Activation, Deferred, Dim, Model, Node, Op, PadMode, PoolKind, Quant, Value, ValueId};
use crate::error::{Error, Result};
use crate::tensor::Element;

fn is_float(element: Element) -> bool {
    matches!(element, Element::F32 | Element::F16)
}

impl Model {
    /// Checks that names are unique, every node comes after those whose outputs it reads, and the numbers, shapes and
    /// element types of its inputs and outputs fit its op.
    ///
    /// # Errors
    /// [`Error::Node`] naming the node, else [`Error::Model`].
    pub fn validate(&self) -> Result<()> {
        let mut known = vec![false; self.values.len()];
        for (id, value) in self.value_ids().zip(&self.values) {
            if self.names.get(&value.name) != Some(&id) {
                return Err(Error::Model(format!("two values are named `{}`", value.name)));
            }
            known[id.0] = value.constant.is_some();
            check_value(value)?;
        }
        for input in &self.inputs {
            match known.get_mut(input.0) {
                Some(k @ false) => *k = true,
                Some(_) => {
                    return Err(Error::Model(format!("input {} is given twice, or constant", input.0)));
                }
                None => {
                    return Err(Error::Model(format!("input {} of {} values", input.0, self.values.len())));
                }
            }
        }
        for node in &self.nodes {
            self.check_arity(node)?;
            for input in node.inputs.iter().flatten() {
                if !known[input.0] {
                    let detail = format!("reads `{}` before it is made", self.values[input.0].name);
                    return Err(self.node_error(node, detail));
                }
            }
            self.check_shapes(node)?;
            self.check_elements(node)?;
            for output in &node.outputs {
                if std::mem::replace(&mut known[output.0], true) {
                    let detail = format!("makes `{}` a second time", self.values[output.0].name);
                    return Err(self.node_error(node, detail));
                }
            }
        }
        match self.outputs.iter().find(|o| !known.get(o.0).copied().unwrap_or(false)) {
            Some(o) => Err(Error::Model(format!("nothing makes output {}", o.0))),
            None => Ok(()),
        }
    }

    /// Numbers of inputs and outputs; that they exist; that weights are constant.
    pub(super) fn check_arity(&self, node: &Node) -> Result<()> {
        let (least, most) = match node.op {
            Op::Conv { .. } | Op::Linear { .. } => (2, 3),
            Op::MatMul | Op::Add { .. } | Op::Binary(_) | Op::Gather { .. } => (2, 2),
            Op::Where | Op::GroupNorm { .. } => (3, 3),
            Op::LayerNorm { .. } => (1, 3),
            Op::ConvTranspose { .. } => (2, 3),
            Op::Concat { .. } => (1, usize::MAX),
            Op::Attention { .. } => (3, 4),
            Op::Deferred(ref deferred) => deferred.arity(),
            _ => (1, 1),
        };
        if !(least..=most).contains(&node.inputs.len()) || node.outputs.len() != 1 {
            let (inputs, outputs) = (node.inputs.len(), node.outputs.len());
            return Err(self.node_error(
                node,
                format!("{inputs} inputs and {outputs} outputs, but it takes {least} to {most} and 1"),
            ));
        }
        let required = if matches!(node.op, Op::Concat { .. }) { node.inputs.len() } else { least };
        if let Some(i) = node.inputs[..required].iter().position(Option::is_none) {
            return Err(self.node_error(node, format!("input {i} is left out")));
        }
        if let Some(id) = node.inputs.iter().flatten().find(|i| i.0 >= self.values.len()) {
            let detail = format!("reads value {} of {}", id.0, self.values.len());
            return Err(self.node_error(node, detail));
        }
        if matches!(node.op, Op::Conv { .. } | Op::Linear { .. } | Op::ConvTranspose { .. }) {
            for id in node.inputs[1..].iter().flatten() {
                let value = &self.values[id.0];
                if value.constant.is_none() {
                    let detail = format!("weight or bias `{}` is not a constant", value.name);
                    return Err(self.node_error(node, detail));
                }
            }
        }
        Ok(())
    }

    fn check_shapes(&self, node: &Node) -> Result<()> {
        let shapes: Vec<_> =
            node.inputs.iter().map(|i| i.map(|i| self.values[i.0].shape.as_slice())).collect();
        let Some(output) = self.values.get(node.outputs[0].0) else {
            return Err(self.node_error(node, "makes a value that does not exist"));
        };
        let shape =
            super::shape::infer(&node.op, &shapes, &output.name).map_err(|d| self.node_error(node, d))?;
        let differ = |(a, b): (&Dim, &Dim)| matches!((a, b), (Dim::Fixed(a), Dim::Fixed(b)) if a != b);
        if shape.len() != output.shape.len() || shape.iter().zip(&output.shape).any(differ) {
            let detail = format!("`{}` has shape {:?}, but {shape:?} is made", output.name, output.shape);
            return Err(self.node_error(node, detail));
        }
        Ok(())
    }

    /// [`Model::check_elements`] for what computes along axes, moves, or waits for values.
    fn elements_fit(&self, op: &Op, inputs: &[Option<ValueId>], made: &Value) -> bool {
        let value = |i: usize| inputs.get(i).copied().flatten().map(|id| &self.values[id.0]);
        let Some(x) = value(0) else { return false };
        // One set of parameters for all elements moves with them, wherever they go.
        let one = |v: &Value| matches!(v.quant, None | Some(Quant::Static { axis: None, .. }));
        let same = |a: &Value, b: &Value| a.element == b.element && a.quant == b.quant;
        let plain = |v: &Value| v.quant.is_none();
        let integers = |v: &Value| matches!(v.element, Element::I64 | Element::I32) && plain(v);
        let floats = |v: &Value| is_float(v.element) && plain(v);
        let others = || (1..inputs.len()).filter_map(value);
        match op {
            Op::Unary(f) if f.is_predicate() => plain(x) && made.element == Element::Bool,
            Op::Unary(_) => plain(x) && same(x, made),
            Op::Binary(f) => {
                let out = if f.is_predicate() { made.element == Element::Bool } else { same(x, made) };
                plain(x) && others().all(|v| same(v, x)) && out
            }
            Op::Where => {
                let a = value(1);
                x.element == Element::Bool
                    && a.is_some_and(|a| plain(a) && same(a, made) && value(2).is_some_and(|b| same(a, b)))
            }
            Op::Reduce { .. } | Op::Deferred(Deferred::Reduce { .. }) => plain(x) && same(x, made),
            Op::ArgReduce { .. } => plain(x) && made.element == Element::I64,
            Op::CumSum { .. } | Op::Deferred(Deferred::CumSum { .. }) => plain(x) && same(x, made),
            Op::Softmax { .. } => floats(x) && same(x, made),
            Op::LayerNorm { .. } | Op::GroupNorm { .. } | Op::Attention { .. } => {
                floats(x) && same(x, made) && others().all(|v| same(v, x))
            }
            Op::ConvTranspose { .. } => floats(x) && same(x, made) && others().all(|v| same(v, x)),
            Op::Gather { .. } => {
                let table = x.constant.is_some() && x.element == Element::I8 && x.quant.is_some();
                let rows = matches!(x.quant, Some(Quant::Static { axis: None | Some(0), .. }));
                value(1).is_some_and(integers)
                    && ((one(x) && same(x, made)) || (table && rows && floats(made)))
            }
            Op::Concat { .. } => one(x) && same(x, made) && others().all(|v| same(v, x)),
            // What is filled in is a real, or interpolated, which the integers of reals are not.
            Op::Resize(_)
            | Op::Deferred(Deferred::Resize { .. } | Deferred::Pad { .. })
            | Op::Pad { mode: PadMode::Constant(_), .. }
                if !op.passes_values() =>
            {
                plain(x) && same(x, made)
            }
            Op::Deferred(Deferred::Shape { .. } | Deferred::Size) => made.element == Element::I64,
            Op::Deferred(Deferred::ConstantOfShape { value }) => {
                integers(x) && plain(made) && made.element == value.element()
            }
            // What is left moves elements, by numbers that the other inputs say.
            _ => one(x) && same(x, made),
        }
    }

    /// The element types and quantizations of what a node reads and makes.
    pub(super) fn check_elements(&self, node: &Node) -> Result<()> {
        let read: Vec<&Value> = node.inputs.iter().flatten().map(|i| &self.values[i.0]).collect();
        let made = &self.values[node.outputs[0].0];
        check_value(made)?;
        let x = read[0];
        let int8 = |v: &Value| v.element == Element::I8 && v.quant.is_some();
        // Bytes that stand for themselves: they have an order, and bounds.
        let bytes = |v: &Value| matches!(v.element, Element::I8 | Element::U8) && v.quant.is_none();
        let same = |v: &Value| v.element == x.element && v.quant.is_some() == x.quant.is_some();
        for (i, v) in read.iter().enumerate() {
            let grouped = matches!(v.quant, Some(Quant::Grouped { .. }));
            if grouped && !(i == 1 && is_float(x.element) && matches!(node.op, Op::Linear { .. })) {
                let detail =
                    format!("`{}` is quantized in groups, which only a Linear of floats can read", v.name);
                return Err(self.node_error(node, detail));
            }
        }
        let fits = match node.op {
            Op::Conv { .. } | Op::Linear { .. } => {
                let operands = match x.element {
                    Element::I8 => int8(x) && int8(read[1]) && (int8(made) || is_float(made.element)),
                    // Int8 weights beside a float input are dequantized as they are read.
                    element => {
                        is_float(element)
                            && (read[1].element == element || int8(read[1]))
                            && made.element == element
                    }
                };
                operands && read.get(2).is_none_or(|bias| is_float(bias.element))
            }
            Op::MatMul | Op::Add { .. } => {
                (is_float(x.element) || int8(x)) && same(read[1]) && (same(made) || is_float(made.element))
            }
            Op::Reshape { .. } | Op::Flatten { .. } => same(made),
            // Parameters along an axis, or of each row, would have to move with it.
            Op::Transpose { .. } => {
                let one = matches!(x.quant, None | Some(Quant::Static { axis: None, .. }));
                one && made.element == x.element && made.quant == x.quant
            }
            Op::Activation(_) | Op::Pool { kind: PoolKind::Max, .. } if bytes(x) => same(made),
            Op::Activation(_) | Op::Pool { .. } | Op::GlobalAveragePool => {
                (is_float(x.element) || int8(x)) && same(made)
            }
            Op::Quantize => is_float(x.element) && int8(made),
            Op::Dequantize => int8(x) && is_float(made.element),
            Op::Cast => x.quant.is_none() && made.quant.is_none(),
            ref op => self.elements_fit(op, &node.inputs, made),
        };
        if !fits {
            let describe =
                |v: &&Value| format!("{:?}{}", v.element, if v.quant.is_some() { " quantized" } else { "" });
            let inputs: Vec<String> = read.iter().map(describe).collect();
            let detail = format!("cannot make {} of {}", describe(&made), inputs.join(", "));
            return Err(self.node_error(node, detail));
        }
        let function = match node.op {
            Op::Activation(a) => Some(a),
            ref op => op.activation(),
        };
        if let Some(Activation::Function(f)) = function {
            let product = matches!(node.op, Op::Conv { .. } | Op::Linear { .. });
            if !product || f.is_predicate() {
                let detail =
                    format!("cannot end in {}: only Conv and Linear can, in functions of reals", f.name());
                return Err(self.node_error(node, detail));
            }
        }
        if matches!(made.quant, Some(Quant::Dynamic { .. })) && node.op != Op::Quantize {
            return Err(self.node_error(node, "only Quantize measures the range of what it makes"));
        }
        Ok(())
    }
}

/// That quantization is of int8, and has as many parameters as its axis is long.
fn check_value(value: &Value) -> Result<()> {
    let fail = |detail: String| Err(Error::Model(format!("value `{}`: {detail}", value.name)));
    if value.quant.is_some() && value.element != Element::I8 {
        return fail(format!("quantized, but of {:?}", value.element));
    }
    if let Some(Quant::Static { axis, params }) = &value.quant {
        let expected = match axis.map(|a| value.shape.get(a)) {
            None => 1,
            Some(Some(Dim::Fixed(n))) => *n,
            Some(_) => return fail(format!("quantized along axis {axis:?} of shape {:?}", value.shape)),
        };
        if params.len() != expected {
            return fail(format!("{} quantization parameters, but {expected} are needed", params.len()));
        }
    }
    if let Some(Quant::Grouped { group, params }) = &value.quant {
        let (true, &[Dim::Fixed(n), Dim::Fixed(k)]) = (value.constant.is_some(), &value.shape[..]) else {
            return fail(format!("quantized in groups, but no constant [n, k]: {:?}", value.shape));
        };
        if *group == 0 || !k.is_multiple_of(*group) {
            return fail(format!(
                "quantized in groups of {group} along a k of {k}, which they do not divide"
            ));
        }
        let expected = n * (k / group);
        if params.len() != expected {
            return fail(format!("{} quantization parameters, but {expected} are needed", params.len()));
        }
        if let Some(p) = params.iter().find(|p| p.zero_point != 0) {
            return fail(format!("groups are symmetric, but a zero point is {}", p.zero_point));
        }
    }
    Ok(())
}
