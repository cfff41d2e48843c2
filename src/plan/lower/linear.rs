//! Linear layers. Those that read the same are one product, where all that read their results can take columns of it:
//! the queries, keys and values of an attention.

use super::beside::Target;
use super::products::{packed, why};
use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Activation, Node, Quant, ValueId};
use crate::ops::{
    Gemm, GemmBindings, GemmDescriptor, GemmI8, GemmI8Bindings, GemmI8Descriptor, GemmWeightOnly,
    GemmWeightOnlyBindings, GemmWeightOnlyDescriptor, Layout, Packed, PackedWeightOnly,
};
use crate::quant::QuantParams;
use crate::tensor::{Data, Element, Tensor};
use std::borrow::Cow;

/// Linears that read the same, their weights one below the other: `[n + .., k]`. Mostly a single one.
struct Stack<'m> {
    nodes: Vec<&'m Node>,
    ids: Vec<ValueId>,
    weights: Vec<&'m Tensor>,
    element: Element,
    /// The rows of each weight.
    widths: Vec<usize>,
    k: usize,
    /// Of all the rows.
    quant: Option<Quant>,
}

impl<'m> Stack<'m> {
    /// The weights as one tensor.
    fn tensor(&self) -> Result<Cow<'m, Tensor>> {
        if let [weights] = self.weights[..] {
            return Ok(Cow::Borrowed(weights));
        }
        fn all<T: Copy>(tensors: &[&Tensor], of: impl Fn(&Data) -> &[T]) -> Vec<T> {
            tensors.iter().flat_map(|t| of(t.data())).copied().collect()
        }
        macro_rules! below {
            ($($kind:ident),*) => {
                match self.element {
                    $(Element::$kind => Data::$kind(all(&self.weights, |d| match d {
                        Data::$kind(v) => v,
                        _ => &[],
                    })),)*
                    _ => Data::I8(Vec::new()),
                }
            };
        }
        let data = below!(F32, F16, I8);
        Ok(Cow::Owned(Tensor::new([self.widths.iter().sum(), self.k], data)?))
    }
}

/// Whether weights are quantized by the same rule, so that one product can take both.
fn same_rule(a: &Option<Quant>, b: &Option<Quant>) -> bool {
    match (a, b) {
        (None, None) => true,
        (
            Some(Quant::Static { axis: None | Some(0), .. }),
            Some(Quant::Static { axis: None | Some(0), .. }),
        ) => true,
        (Some(Quant::Grouped { group: a, .. }), Some(Quant::Grouped { group: b, .. })) => a == b,
        _ => false,
    }
}

impl<'m> Lowering<'m> {
    pub(super) fn linear(&mut self, node: &'m Node, activation: Activation) -> Result<()> {
        if !self.slots[node.outputs[0].index()].is_empty() {
            // In the product of another that reads the same.
            return Ok(());
        }
        let x_id = self.input(node, 0)?;
        let made = self.made(x_id)?;
        let stack = self.stack(node)?;
        let (n, k) = (stack.widths.iter().sum(), stack.k);
        if stack.element == Element::I8 && made.matrix.element != Element::I8 {
            return self.weight_only(node, activation, &stack);
        }
        // Asymmetric weights count every element of a row of x, so that padding within it would be counted too.
        let symmetric = match &stack.quant {
            Some(Quant::Static { params, .. }) => params.iter().all(|p| p.zero_point == 0),
            _ => true,
        };
        let image = match made.order {
            Order::Flat { channels, pixels }
                if channels * pixels == k && (symmetric || made.matrix.columns == k) =>
            {
                Some([channels, pixels])
            }
            _ => None,
        };
        let x = if image.is_some() { made } else { self.get(x_id, Order::Natural, &node.name)? };
        let element = x.matrix.element;
        if stack.element != element {
            let detail = format!("its input is {element:?}, but its weights are {:?}", stack.element);
            return Err(self.fail(node, detail));
        }
        let bias = self.bias(&stack.nodes, &stack.widths)?;
        let pack = || {
            let weights = stack.tensor()?;
            let made = match image {
                // [n, channels * pixels] -> [n, pixels, channels], whose rows are padded as x's pixels are.
                Some([channels, pixels]) => Packed::new(
                    &weights.into_owned().reshape([n, channels, pixels])?.permuted(&[0, 2, 1])?,
                    1,
                )?,
                None => Packed::new(&weights, 1)?,
            };
            Ok(packed(made, n))
        };
        let pixels = image.map_or(0, |[_, pixels]| pixels);
        let forms = self.form(&stack.ids, "linear", pixels, pack)?;
        let w = forms[0];
        let epilogue = self.epilogue(node, &x, stack.quant.as_ref(), forms.get(1).copied(), n, bias)?;
        let target = self.stack_target(&stack, element, x.matrix.rows);
        let out = target.matrix;
        let out_element = out.element;
        let shapes = format!("[{}, {k}] * [{n}, {k}] -> [{}, {n}]", x.matrix.rows, x.matrix.rows);
        let touched = Self::touched(x.matrix, w, out, epilogue.as_ref());
        let x_matrix = x.matrix;
        self.step(&node.name, "gemm", shapes, why(element, out_element), &touched, move |s| {
            let (a, b, out) = (s.view(&x_matrix), s.view(&w), s.view(&out));
            if let Some(e) = &epilogue {
                let d = GemmI8Descriptor {
                    out: out_element,
                    layout: Layout::Packed,
                    b_zero_point: e.b_zero_point,
                    activation,
                    ..Default::default()
                };
                let bindings = GemmI8Bindings { a, b, epilogue: e.bindings(s), out, batch: 1 };
                return GemmI8::with_kernels(s.kernels, &d)?.bind(&bindings);
            }
            let d = GemmDescriptor {
                element,
                out: out_element,
                layout: Layout::Packed,
                activation,
                ..Default::default()
            };
            let bias = bias.as_ref().map(|m| s.view(m));
            let out_params = target.params.as_ref().map(|m| s.view(m));
            let bindings = GemmBindings { a, b, bias, out, out_params, batch: 1 };
            Gemm::with_kernels(s.kernels, &d)?.bind(&bindings)
        });
        self.products(x_matrix.rows * n * k);
        let params = epilogue.and_then(|e| e.out_params).or(target.params);
        self.stack_done(&stack, Target { params, ..target });
        Ok(())
    }

    /// A float input by int8 weights.
    fn weight_only(&mut self, node: &'m Node, activation: Activation, stack: &Stack<'m>) -> Result<()> {
        let (n, k): (usize, usize) = (stack.widths.iter().sum(), stack.k);
        // The kernel takes weights in the model's order, an image too.
        let x = self.get(self.input(node, 0)?, Order::Natural, &node.name)?.matrix;
        let (params, group) = match &stack.quant {
            Some(Quant::Static { axis: None | Some(0), params }) => (params, None),
            Some(Quant::Grouped { group, params }) => (params, Some(*group)),
            other => {
                let detail =
                    format!("its input is {:?} and its weights are quantized as {other:?}", x.element);
                return Err(self.fail(node, detail));
            }
        };
        let make = || {
            let packed = PackedWeightOnly::new(&*stack.tensor()?, params, group, x.element)
                .map_err(|e| self.model.node_error(node, e.to_string()))?;
            let PackedWeightOnly { words, rows, pitch, scales } = packed;
            let columns = n.next_multiple_of(4);
            let groups = scales.len() / columns.max(1);
            let scales = scales.iter().map(|s| s.to_bits()).collect();
            Ok(vec![(words, Element::I32, rows, pitch), (scales, Element::F32, groups, columns)])
        };
        let forms = self.form(&stack.ids, "weight-only", x.element.per_word(), make)?;
        let (w, scales) = (forms[0], forms[1]);
        let bias = self.bias(&stack.nodes, &stack.widths)?;
        let target = self.stack_target(stack, x.element, x.rows);
        let out = target.matrix;
        let shapes = format!("[{}, {k}] * [{n}, {k}] -> [{}, {n}]", x.rows, x.rows);
        let why = match group {
            Some(_) => "int8 weights beside floats, a scale for each group: widened as they are read",
            None => "int8 weights beside floats: widened as they are read",
        };
        let d = GemmWeightOnlyDescriptor {
            element: x.element,
            out: out.element,
            group,
            activation,
            ..Default::default()
        };
        self.step(&node.name, "gemm", shapes, why, &[x, w, scales, out], move |s| {
            GemmWeightOnly::with_kernels(s.kernels, &d)?.bind(&GemmWeightOnlyBindings {
                a: s.view(&x),
                b: s.view(&w),
                scales: s.view(&scales),
                bias: bias.as_ref().map(|m| s.view(m)),
                out: s.view(&out),
                out_params: target.params.as_ref().map(|m| s.view(m)),
            })
        });
        self.products(x.rows * n * k);
        self.stack_done(stack, target);
        Ok(())
    }

    /// A Linear and those that one product can make with it.
    fn stack(&self, node: &'m Node) -> Result<Stack<'m>> {
        let mut nodes = vec![node];
        if self.may_be_columns[node.outputs[0].index()] {
            for other in self.model.nodes() {
                let beside = !std::ptr::eq(node, other)
                    && other.op == node.op
                    && self.may_be_columns[other.outputs[0].index()]
                    && nodes.iter().all(|n| self.alike(n, other));
                if beside {
                    nodes.push(other);
                }
            }
        }
        let (mut ids, mut weights, mut widths) = (Vec::new(), Vec::new(), Vec::new());
        let mut k = 0;
        for node in &nodes {
            let tensor = self.weight(node, 1)?;
            let [n, columns] = tensor.shape()[..] else {
                return Err(self.fail(node, format!("weights are {:?}, expected [n, k]", tensor.shape())));
            };
            k = columns;
            ids.push(self.input(node, 1)?);
            weights.push(tensor);
            widths.push(n);
        }
        let quant = |id: &ValueId| self.model.value(*id).quant.as_ref();
        let quant = match (&ids[..], quant(&ids[0])) {
            ([_], quant) => quant.cloned(),
            (_, None) => None,
            (_, Some(first)) => {
                let mut all: Vec<QuantParams> = Vec::new();
                for (id, &n) in ids.iter().zip(&widths) {
                    match quant(id) {
                        Some(Quant::Static { params, .. }) if params.len() == 1 => {
                            all.extend(std::iter::repeat_n(params[0], n));
                        }
                        Some(Quant::Static { params, .. } | Quant::Grouped { params, .. }) => {
                            all.extend(params)
                        }
                        _ => {}
                    }
                }
                Some(match first {
                    Quant::Grouped { group, .. } => Quant::Grouped { group: *group, params: all },
                    _ => Quant::Static { axis: Some(0), params: all },
                })
            }
        };
        let element = weights[0].element();
        Ok(Stack { nodes, ids, weights, element, widths, k, quant })
    }

    /// Whether one product can make the results of both: of the same input, in the same elements.
    fn alike(&self, a: &Node, b: &Node) -> bool {
        let value = |n: &Node, i: usize| n.inputs.get(i).copied().flatten();
        let bias = |n: &Node| value(n, 2).map(|id| self.model.value(id).element == Element::I32);
        let [Some(wa), Some(wb)] = [value(a, 1), value(b, 1)] else { return false };
        let [Some(ta), Some(tb)] = [wa, wb].map(|id| self.model.constant(id)) else { return false };
        let (ya, yb) = (self.element(a.outputs[0]), self.element(b.outputs[0]));
        value(a, 0) == value(b, 0)
            && ta.element() == tb.element()
            && ta.shape().len() == 2
            && ta.shape().get(1) == tb.shape().get(1)
            && same_rule(&self.model.value(wa).quant, &self.model.value(wb).quant)
            && (bias(a).is_none() || bias(b).is_none() || bias(a) == bias(b))
            && ya == yb
            && matches!(ya, Element::F32 | Element::F16)
    }

    /// A home for what a product of several makes, a result's own for that of one.
    fn stack_target(&mut self, stack: &Stack<'m>, element: Element, rows: usize) -> Target {
        let (y, n) = (stack.nodes[0].outputs[0], stack.widths.iter().sum());
        match stack.nodes.len() {
            1 => self.target(y, element, Order::Natural, [rows, n]),
            _ => Target { matrix: self.need(self.element(y), rows, n), params: None, value: y },
        }
    }

    fn stack_done(&mut self, stack: &Stack<'m>, target: Target) {
        let [_, others @ ..] = &stack.nodes[..] else { return };
        if others.is_empty() {
            return self.reached(target, Order::Natural);
        }
        let (matrix, params, mut first) = (target.matrix, target.params, 0);
        for (node, n) in stack.nodes.iter().zip(&stack.widths) {
            self.done(node, Slot { matrix, order: Order::Columns { first }, params });
            first += n;
        }
        self.beside.extend(others.iter().flat_map(|n| n.fused.iter().chain([&n.name])).cloned());
    }
}
