//! Convolutions and matrix products.

use super::beside::Target;
use super::{Lowering, Order, Slot, Words};
use crate::error::Result;
use crate::graph::{Activation, Node, Quant, Window};
use crate::ops::{
    Add, AddBindings, AddDescriptor, Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings,
    Gemm, GemmBindings, GemmDescriptor, Layout, Packed,
};
use crate::plan::{Matrix, Scope};
use crate::tensor::{Data, Element};

/// What an int8 product needs beside its operands.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    a_params: Matrix,
    b_params: Matrix,
    b_sums: Matrix,
    bias: Option<Matrix>,
    pub out_params: Option<Matrix>,
    pub b_zero_point: bool,
}

impl Epilogue {
    pub fn bindings<'a>(&self, s: &Scope<'a>) -> EpilogueBindings<'a> {
        EpilogueBindings {
            a_params: s.view(&self.a_params),
            b_params: s.view(&self.b_params),
            b_sums: s.view(&self.b_sums),
            bias: self.bias.as_ref().map(|m| s.view(m)),
            out_params: self.out_params.as_ref().map(|m| s.view(m)),
        }
    }
}

pub(super) fn why(element: Element, out: Element) -> &'static str {
    match (element, out) {
        (Element::I8, Element::I8) => "int8 in and out: requantized in the epilogue",
        (Element::I8, _) => "int8 in, scaled to floats in the epilogue",
        (_, Element::I8) => "floats in, quantized in the epilogue",
        (Element::F16, _) => "f16 in memory, sums in f32",
        _ => "f32",
    }
}

/// Packed weights, and the sums that an int8 product needs of them.
pub(super) fn packed(packed: Packed, n: usize) -> Vec<Words> {
    let rows = packed.words.len() / packed.pitch.max(1);
    let mut forms = vec![(packed.words, Element::I32, rows, packed.pitch)];
    if !packed.sums.is_empty() {
        forms.push((packed.sums.iter().map(|&x| x as u32).collect(), Element::I32, 1, n));
    }
    forms
}

impl<'m> Lowering<'m> {
    /// The biases of products as one row: f32, or i32 as they are; zeros where others have one.
    pub(super) fn bias(&mut self, nodes: &[&'m Node], widths: &[usize]) -> Result<Option<Matrix>> {
        let given = |n: &Node| n.inputs.get(2).copied().flatten();
        if nodes.iter().all(|n| given(n).is_none()) {
            return Ok(None);
        }
        let (mut ids, mut tensors) = (Vec::new(), Vec::new());
        for (&node, &n) in nodes.iter().zip(widths) {
            let Some(id) = given(node) else {
                // The key of its zeros.
                ids.push(self.input(node, 1)?);
                tensors.push(None);
                continue;
            };
            let tensor = self.weight(node, 2)?;
            if tensor.len() != n {
                let detail = format!("the bias has {} elements, but there are {n} outputs", tensor.len());
                return Err(self.fail(node, detail));
            }
            ids.push(id);
            tensors.push(Some(tensor));
        }
        let integers = tensors.iter().flatten().any(|t| t.element() == Element::I32);
        let make = || {
            let words = tensors.iter().zip(widths).flat_map(|(tensor, &n)| match tensor {
                None => vec![0; n],
                Some(t) => match t.data() {
                    Data::I32(v) => v.iter().map(|&x| x as u32).collect(),
                    _ => t.to_f32().into_iter().map(f32::to_bits).collect(),
                },
            });
            let element = if integers { Element::I32 } else { Element::F32 };
            Ok(vec![(words.collect(), element, 1, widths.iter().sum())])
        };
        Ok(self.form(&ids, "bias", 0, make)?.first().copied())
    }

    /// What goes into an int8 product's epilogue; `None` for floats. `quant` is the weights'.
    pub(super) fn epilogue(
        &mut self,
        node: &Node,
        x: &Slot,
        quant: Option<&Quant>,
        b_sums: Option<Matrix>,
        n: usize,
        bias: Option<Matrix>,
    ) -> Result<Option<Epilogue>> {
        let Some(b_sums) = b_sums.filter(|_| x.matrix.element == Element::I8) else { return Ok(None) };
        let y = node.outputs[0];
        let Some(a_params) = x.params else {
            return Err(self.fail(node, "its input is int8 without quantization parameters"));
        };
        let params = match quant {
            Some(Quant::Static { axis: None | Some(0), params })
                if params.len() == 1 || params.len() == n =>
            {
                params.clone()
            }
            other => {
                let detail = format!(
                    "weights are quantized as {other:?}, expected 1 or {n} sets of parameters along axis 0"
                );
                return Err(self.fail(node, detail));
            }
        };
        let out_params = match self.model.value(y).element {
            Element::I8 => {
                let params = self.static_params(node, y)?;
                Some(self.constant_params(&[params]))
            }
            _ => None,
        };
        Ok(Some(Epilogue {
            a_params,
            b_params: self.constant_params(&params),
            b_sums,
            bias,
            out_params,
            b_zero_point: params.iter().any(|p| p.zero_point != 0),
        }))
    }

    /// Everything that a product touches, for liveness and bytes.
    pub(super) fn touched(
        x: Matrix,
        weights: Matrix,
        out: Matrix,
        epilogue: Option<&Epilogue>,
    ) -> Vec<Matrix> {
        let mut all = vec![x, weights, out];
        all.extend(epilogue.map(|e| e.a_params));
        all
    }

    pub(super) fn conv(
        &mut self,
        node: &'m Node,
        window: Window,
        groups: usize,
        activation: Activation,
    ) -> Result<()> {
        let (x_id, made) = (self.input(node, 0)?, node.outputs[0]);
        let [batch, channels, height, width] = self.image(x_id)?;
        let [_, n, made_height, made_width] = self.image(made)?;
        let x = self.get(x_id, Order::ChannelsLast, &node.name)?;
        let element = x.matrix.element;
        let weights = self.weight(node, 1)?;
        if weights.element() != element {
            return Err(self.fail(
                node,
                format!("its input is {element:?}, but its weights are {:?}", weights.element()),
            ));
        }
        let bias = self.bias(&[node], &[n])?;
        let mut d = ConvDescriptor {
            element,
            out: self.element(made),
            window,
            groups,
            activation,
            max_pool: false,
            b_zero_point: false,
            operand: None,
            blocking: None,
        };
        // Other plans may have packed them: only what is missing is turned.
        let pack = || Ok(packed(d.pack(&weights.permuted(&[0, 2, 3, 1])?)?, n));
        let forms = self.form(&[self.input(node, 1)?], "conv", groups, pack)?;
        let w = forms[0];
        let quant = self.model.value(self.input(node, 1)?).quant.as_ref();
        let epilogue = self.epilogue(node, &x, quant, forms.get(1).copied(), n, bias)?;
        d.b_zero_point = epilogue.as_ref().is_some_and(|e| e.b_zero_point);
        let pool = self.sole_max_pool(made).filter(|_| d.can_pool(channels, n));
        let y = pool.map_or(made, |node| node.outputs[0]);
        if let Some(pool) = pool {
            d.max_pool = true;
            self.pooled.insert(y);
            self.stands_for(pool);
        }
        let [_, _, out_height, out_width] = self.image(y)?;
        let rows = batch * out_height * out_width;
        let target = self.target(y, element, Order::ChannelsLast, [rows, n]);
        let (out, out_params) = (target.matrix, target.params);
        d.out = out.element;
        let [kernel_y, kernel_x] = window.kernel;
        let shapes = format!(
            "[{batch}, {height}, {width}, {channels}] * {:?} -> [{batch}, {out_height}, {out_width}, {n}]",
            [n, kernel_y, kernel_x, channels / groups]
        );
        let touched = Self::touched(x.matrix, w, out, epilogue.as_ref());
        let x_matrix = x.matrix;
        self.step(&node.name, "conv", shapes, why(element, out.element), &touched, move |s| {
            let operands = match &epilogue {
                Some(e) => ConvOperands::Int8(e.bindings(s)),
                None => {
                    let [bias, out_params] = [bias, out_params].map(|m| m.map(|m| s.view(&m)));
                    ConvOperands::Float { bias, out_params }
                }
            };
            Conv::with_kernels(s.kernels, &d)?.bind(&ConvBindings {
                x: s.view(&x_matrix),
                batch,
                size: [height, width],
                weights: s.view(&w),
                operands,
                out: s.view(&out),
            })
        });
        self.products(batch * made_height * made_width * n * (channels / groups) * kernel_y * kernel_x);
        let params = epilogue.and_then(|e| e.out_params).or(out_params);
        self.reached(Target { params, ..target }, Order::ChannelsLast);
        Ok(())
    }

    /// Products of two activations: `[.., m, k]` by `[.., k, n]`, broadcast over the outer dimensions.
    pub(super) fn matmul(&mut self, node: &'m Node) -> Result<()> {
        let (a_id, b_id, y) = (self.input(node, 0)?, self.input(node, 1)?, node.outputs[0]);
        let (a_shape, b_shape) = (self.shapes[a_id.index()].clone(), self.shapes[b_id.index()].clone());
        let (&[ref a_outer @ .., m, k], &[ref b_outer @ .., _, n]) = (&a_shape[..], &b_shape[..]) else {
            return Err(self.fail(node, format!("{a_shape:?} by {b_shape:?}: vectors are not supported")));
        };
        let mut a = self.get(a_id, Order::Natural, &node.name)?.matrix;
        let mut b = self.get(b_id, Order::Natural, &node.name)?.matrix;
        let y_shape = &self.shapes[y.index()];
        let outer = y_shape[..y_shape.len() - 2].to_vec();
        let batch = outer.iter().product::<usize>();
        let shared = b_outer.iter().product::<usize>() == 1;
        if a_outer.iter().product::<usize>() != batch {
            a = self.repeated(node, a, &a_shape, &outer);
        }
        if !shared && b_outer.iter().product::<usize>() != batch {
            b = self.repeated(node, b, &b_shape, &outer);
        }
        let (element, target) = (a.element, self.target(y, a.element, Order::Natural, [batch * m, n]));
        let (out, out_params) = (target.matrix, target.params);
        if !matches!(element, Element::F32 | Element::F16) || b.element != element {
            return Err(self.fail(node, format!("{element:?} by {:?} has no kernel", b.element)));
        }
        let shapes = format!("{a_shape:?} * {b_shape:?}");
        // One b for all batches is one product of all rows.
        let batch = if shared { 1 } else { batch };
        self.step(&node.name, "gemm", shapes, why(element, out.element), &[a, b, out], move |s| {
            let d = GemmDescriptor { element, out: out.element, layout: Layout::Kn, ..Default::default() };
            let b = crate::tensor::View { rows: k * batch, columns: n, ..s.view(&b) };
            let (out, out_params) = (s.view(&out), out_params.map(|m| s.view(&m)));
            let bindings = GemmBindings { a: s.view(&a), b, bias: None, out, out_params, batch };
            Gemm::with_kernels(s.kernels, &d)?.bind(&bindings)
        });
        self.products(out.rows * n * k);
        self.reached(target, Order::Natural);
        Ok(())
    }

    /// A float operand `[.., r, c]` repeated to `[outer.., r, c]`. Only zeros are added: broadcasting is what `Add` does.
    pub(super) fn repeated(&mut self, node: &Node, x: Matrix, shape: &[usize], outer: &[usize]) -> Matrix {
        let batch: usize = outer.iter().product();
        let rows = batch * shape[shape.len() - 2];
        let out = self.need(x.element, rows, x.columns);
        // [outer.., 1, 1]: a word for each, whatever the element.
        let zeros = self.constant(&vec![0; batch], x.element, batch, 1);
        let (x_shape, zeros_shape) = (shape.to_vec(), [outer, &[1, 1]].concat());
        let shapes = format!("{shape:?} -> {outer:?}");
        let d = AddDescriptor { element: x.element, out: x.element, ..Default::default() };
        self.step(&node.name, "add", shapes, "repeated for each product", &[x, out], move |s| {
            Add::with_kernels(s.kernels, &d)?.bind(&AddBindings {
                out_params: None,
                a: s.view(&x),
                a_shape: &x_shape,
                b: s.view(&zeros),
                b_shape: &zeros_shape,
                params: None,
                out: s.view(&out),
            })
        });
        out
    }
}
