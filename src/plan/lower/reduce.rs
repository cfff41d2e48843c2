//! Reductions along axes, and what is normalized along them.

use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Node, ReduceOp};
use crate::ops::{
    Fold, Norm, NormBindings, NormDescriptor, NormInt8, Reduce, ReduceBindings, ReduceDescriptor, Scan,
    ScanDescriptor, Softmax, SoftmaxBindings, SoftmaxDescriptor,
};
use crate::plan::{Home, Matrix};
use crate::tensor::Element;

/// `[outer, n, inner]` around the axes `from..to`.
fn around(shape: &[usize], from: usize, to: usize) -> [usize; 3] {
    [&shape[..from], &shape[from..to], &shape[to..]].map(|dims| dims.iter().product())
}

impl<'m> Lowering<'m> {
    pub(super) fn reduce(&mut self, node: &'m Node, op: ReduceOp, axes: &[usize]) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let shape = self.shapes[x_id.index()].clone();
        let made = self.made(x_id)?;
        // Of an image channels last, height and width lie between the others as they are.
        let image =
            made.order == Order::ChannelsLast && axes == [2, 3] && made.matrix.element.per_word() == 1;
        let (x, sizes) = if image {
            let [n, c, h, w] = self.image(x_id)?;
            (made.matrix, [n, h * w, c])
        } else {
            let x = self.wide(node, 0)?;
            // Axes of 1 are in nobody's way.
            let gone: Vec<usize> = axes.iter().copied().filter(|&a| shape[a] != 1).collect();
            match (gone.first(), gone.last()) {
                (None, _) | (_, None) => (x, [shape.iter().product(), 1, 1]),
                (Some(&first), Some(&last)) if (first..=last).all(|d| gone.contains(&d) || shape[d] == 1) => {
                    (x, around(&shape, first, last + 1))
                }
                _ => self.axes_last(node, x, &shape, &gone),
            }
        };
        if sizes[1] == 0 && self.model.value(x_id).element == Element::Bool {
            return Err(self.fail(node, "the largest or smallest of no truth values has no kernel"));
        }
        self.fold(node, x, Fold::Value(op), sizes)
    }

    /// The reduced axes innermost: `[outer, n, 1]`.
    fn axes_last(&mut self, node: &Node, x: Matrix, shape: &[usize], gone: &[usize]) -> (Matrix, [usize; 3]) {
        // Neighbours with the same fate are one dimension: a permutation knows six.
        let mut dims: Vec<(usize, bool)> = Vec::new();
        for (d, &n) in shape.iter().enumerate().filter(|(_, n)| **n != 1) {
            match dims.last_mut() {
                Some((length, fate)) if *fate == gone.contains(&d) => *length *= n,
                _ => dims.push((n, gone.contains(&d))),
            }
        }
        let order = |fate: bool| (0..dims.len()).filter(|&i| dims[i].1 == fate).collect::<Vec<_>>();
        let order = [order(false), order(true)].concat();
        let length = |fate: bool| dims.iter().filter(|d| d.1 == fate).map(|d| d.0).product::<usize>();
        let (outer, n) = (length(false), length(true));
        let from: Vec<usize> = dims.iter().map(|d| d.0).collect();
        let to: Vec<usize> = order.iter().map(|&i| from[i]).collect();
        let matrix = |home, dims: &[usize]| {
            let (columns, outer) = dims.split_last().map_or((1, &[][..]), |(&c, outer)| (c, outer));
            Matrix { home, element: x.element, rows: outer.iter().product(), columns }
        };
        let out = self.need(x.element, outer * n, 1);
        let (x, out) = (matrix(x.home, &from), matrix(out.home, &to));
        self.permute(&node.name, x, from, &order, out, "the axes that are reduced come last");
        (out, [outer, n, 1])
    }

    fn fold(&mut self, node: &'m Node, x: Matrix, fold: Fold, shape: [usize; 3]) -> Result<()> {
        let y = node.outputs[0];
        let natural = self.natural(x.home, y);
        // A place is an integer, whatever it is the place in.
        let place = matches!(fold, Fold::Place { .. });
        let out = if place {
            self.result(y, Order::Natural, natural.rows, natural.columns)
        } else {
            self.wide_result(node, natural.rows, natural.columns)
        };
        let d = ReduceDescriptor { element: x.element, fold };
        self.step(&node.name, "reduce", format!("{shape:?}"), "along the middle", &[x, out], move |s| {
            let op = Reduce::with_kernels(s.kernels, &d)?;
            op.bind(&ReduceBindings { x: s.view(&x), shape, out: s.view(&out) })
        });
        if place {
            self.done(node, Slot { matrix: out, order: Order::Natural, params: None });
            return Ok(());
        }
        self.finish_wide(node, out)
    }

    pub(super) fn arg_reduce(&mut self, node: &'m Node, axis: usize, max: bool, last: bool) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let sizes = around(&self.shapes[x_id.index()], axis, axis + 1);
        let x = self.wide(node, 0)?;
        self.fold(node, x, Fold::Place { max, last }, sizes)
    }

    pub(super) fn cumulative_sum(
        &mut self,
        node: &'m Node,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let shape = around(&self.shapes[x_id.index()], axis, axis + 1);
        let x = self.wide(node, 0)?;
        let out = self.wide_result(node, x.rows, x.columns);
        let d = ScanDescriptor { element: x.element, exclusive, reverse };
        self.step(&node.name, "scan", format!("{shape:?}"), "along the middle", &[x, out], move |s| {
            let op = Scan::with_kernels(s.kernels, &d)?;
            op.bind(&ReduceBindings { x: s.view(&x), shape, out: s.view(&out) })
        });
        self.finish_wide(node, out)
    }

    /// Input 0 in the model's order of dimensions, as floats.
    fn floats(&mut self, node: &Node) -> Result<Matrix> {
        let id = self.input(node, 0)?;
        let x = self.get(id, Order::Natural, &node.name)?.matrix;
        if !matches!(x.element, Element::F32 | Element::F16) {
            return Err(self.fail(node, format!("{:?} has no kernel", x.element)));
        }
        Ok(x)
    }

    /// The same elements in rows of `columns`: a copy where rows are padded.
    fn in_rows(&mut self, node: &Node, x: Matrix, rows: usize, columns: usize) -> Matrix {
        if same_memory(&x, columns) {
            return Matrix { rows, columns, ..x };
        }
        let out = self.need(x.element, rows, columns);
        self.copy(&node.name, x, out, "rows are padded to whole words");
        out
    }

    /// Where a step may write the node's result in rows of `columns`; then call [`Lowering::finish_rows`].
    fn result_in_rows(&mut self, node: &Node, x: &Matrix, rows: usize, columns: usize) -> Matrix {
        let y = node.outputs[0];
        let natural = self.natural(x.home, y);
        if natural.element == x.element && same_memory(&natural, columns) {
            let out = self.result(y, Order::Natural, natural.rows, natural.columns);
            Matrix { rows, columns, ..out }
        } else {
            self.need(x.element, rows, columns)
        }
    }

    fn finish_rows(&mut self, node: &Node, made: Matrix) -> Result<()> {
        let y = node.outputs[0];
        let natural = self.natural(made.home, y);
        if natural.element != made.element {
            let detail = format!("{:?} is made, but the output is {:?}", made.element, natural.element);
            return Err(self.fail(node, detail));
        }
        let matrix = if same_memory(&natural, made.columns) {
            natural
        } else {
            let out = self.result(y, Order::Natural, natural.rows, natural.columns);
            self.copy(&node.name, made, out, "rows are padded to whole words");
            out
        };
        self.done(node, Slot { matrix, order: Order::Natural, params: None });
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &'m Node, axis: usize, log: bool) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let shape = self.shapes[x_id.index()].clone();
        let x = self.floats(node)?;
        let [outer, n, inner] = around(&shape, axis, axis + 1);
        if inner == 1 && outer * n != 0 {
            let x = self.in_rows(node, x, outer, n);
            if shape.last() == Some(&n) {
                let target = self.target(node.outputs[0], x.element, Order::Natural, [outer, n]);
                self.softmax_step(node, x, (target.matrix, target.params), log);
                self.reached(target, Order::Natural);
                return Ok(());
            }
            let out = self.result_in_rows(node, &x, outer, n);
            self.softmax_step(node, x, (out, None), log);
            return self.finish_rows(node, out);
        }
        // The axis changes places with the innermost one, and back.
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.swap(axis, shape.len() - 1);
        let turned: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
        let rows = turned[..turned.len() - 1].iter().product();
        let a = self.need(x.element, rows, n);
        self.permute(&node.name, x, shape, &order, a, "the axis comes last");
        let b = self.need(x.element, rows, n);
        self.softmax_step(node, a, (b, None), log);
        let out = self.result_in_rows(node, &x, x.rows, x.columns);
        self.permute(&node.name, b, turned, &order, out, "back to the model's order");
        self.finish_rows(node, out)
    }

    fn softmax_step(&mut self, node: &Node, x: Matrix, (out, params): (Matrix, Option<Matrix>), log: bool) {
        let d = SoftmaxDescriptor { element: x.element, out: out.element, log, scale: 1.0 };
        let shapes = format!("[{}, {}]", x.rows, x.columns);
        self.step(&node.name, "softmax", shapes, "by rows", &[x, out], move |s| {
            let op = Softmax::with_kernels(s.kernels, &d)?;
            let out_params = params.as_ref().map(|m| s.view(m));
            op.bind(&SoftmaxBindings { x: s.view(&x), mask: None, out: s.view(&out), out_params })
        });
    }

    /// A scale or bias as one row of `shape`'s elements, or of one.
    fn row_weights(&mut self, node: &'m Node, i: usize, shape: &[usize]) -> Result<Option<Matrix>> {
        let Some(id) = node.inputs.get(i).copied().flatten() else { return Ok(None) };
        let columns: usize = shape.iter().product();
        let own = self.shapes[id.index()].clone();
        let len: usize = own.iter().product();
        if let Some(tensor) = self.model.constant(id) {
            let v = tensor.to_f32();
            let each = spread(&own, shape).ok_or_else(|| {
                self.fail(node, format!("input {i} is {own:?}, but {shape:?} is normalized"))
            })?;
            let words: Vec<u32> = if len == 1 {
                vec![v[0].to_bits()]
            } else {
                each.into_iter().map(|at| v[at].to_bits()).collect()
            };
            return Ok(Some(self.constant(&words, Element::F32, 1, words.len())));
        }
        if len != columns && len != 1 {
            return Err(self.fail(
                node,
                format!("input {i} is {own:?} and not constant: broadcasting it to {shape:?} has no kernel"),
            ));
        }
        let x = self.get(id, Order::Natural, &node.name)?.matrix;
        Ok(Some(self.in_rows(node, x, 1, len)))
    }

    pub(super) fn layer_norm(&mut self, node: &'m Node, axis: usize, epsilon: f32, rms: bool) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let shape = self.shapes[x_id.index()].clone();
        let columns: usize = shape[axis..].iter().product();
        let rows: usize = shape[..axis].iter().product();
        let weights =
            [self.row_weights(node, 1, &shape[axis..])?, self.row_weights(node, 2, &shape[axis..])?];
        let d = NormDescriptor { epsilon, rms, ..Default::default() };
        self.norm(node, [rows, columns], weights, 0, d)
    }

    pub(super) fn group_norm(&mut self, node: &'m Node, groups: usize, epsilon: f32) -> Result<()> {
        let x_id = self.input(node, 0)?;
        let shape = self.shapes[x_id.index()].clone();
        let len: usize = shape.iter().product();
        let (rows, channels) = (shape[0] * groups, shape[1]);
        let weights = [self.row_weights(node, 1, &[channels])?, self.row_weights(node, 2, &[channels])?];
        let d = NormDescriptor { epsilon, groups, ..Default::default() };
        self.norm(node, [rows, len.checked_div(rows).unwrap_or(0)], weights, channels, d)
    }

    fn norm(
        &mut self,
        node: &'m Node,
        [rows, columns]: [usize; 2],
        weights: [Option<Matrix>; 2],
        channels: usize,
        d: NormDescriptor,
    ) -> Result<()> {
        let y = node.outputs[0];
        let sum = self.take_sum(self.input(node, 0)?);
        let (x, addend, kept) = match sum {
            Some(sum) => (sum.a, Some(sum.b), sum.kept),
            None => {
                let x = self.floats(node)?;
                (self.in_rows(node, x, rows, columns), None, None)
            }
        };
        let natural = self.natural(x.home, y);
        let alike = d.groups == 0 && natural.columns == columns && natural.element == x.element;
        let int8 = if alike { self.quantized_beside(y) } else { None };
        let floats = int8.as_ref().is_none_or(|i| i.floats);
        let out = floats.then(|| self.result_in_rows(node, &x, rows, columns));
        let mut elements = weights.iter().flatten().map(|m| m.element);
        let element = elements.next().unwrap_or(Element::F32);
        if elements.any(|e| e != element) {
            return Err(self.fail(node, "scale and bias are of different elements"));
        }
        let measure = int8.as_ref().and_then(|i| i.measure);
        let d = NormDescriptor { element: x.element, weights: element, measure, ..d };
        let int8 = int8.map(|i| (i.out, i.params));
        let extra = [addend, kept, out].into_iter().flatten().chain(weights.into_iter().flatten());
        let int8_touched = int8.into_iter().flat_map(|(out, params)| [out, params]);
        let touched: Vec<Matrix> = [x].into_iter().chain(extra).chain(int8_touched).collect();
        let why = match (addend.is_some(), int8.is_some()) {
            (false, false) => "by rows",
            (true, false) => "by rows, summed on the way in",
            (false, true) => "by rows, quantized on the way out",
            (true, true) => "by rows, summed on the way in and quantized on the way out",
        };
        self.step(&node.name, "norm", format!("[{rows}, {columns}]"), why, &touched, move |s| {
            let view = |m: &Option<Matrix>| m.as_ref().map(|m| s.view(m));
            let [scale, bias] = [0, 1].map(|i| view(&weights[i]));
            let op = Norm::with_kernels(s.kernels, &d)?;
            op.bind(&NormBindings {
                x: s.view(&x),
                addend: view(&addend),
                sum: view(&kept),
                scale,
                bias,
                channels,
                out: view(&out),
                int8: int8.map(|(out, params)| NormInt8 { out: s.view(&out), params: s.view(&params) }),
            })
        });
        // What is only read may lie beside what is written; the same twice, or weights that were computed, may not.
        let computed = weights.iter().flatten().any(|m| matches!(m.home, Home::Need(_)));
        if (addend.is_some() || int8.is_some()) && addend.is_none_or(|b| b.home != x.home) && !computed {
            self.takes_one_buffer();
        }
        match out {
            Some(out) => self.finish_rows(node, out),
            None => Ok(()),
        }
    }
}

/// Whether a dense matrix may be seen in rows of `columns`.
fn same_memory(x: &Matrix, columns: usize) -> bool {
    let per_word = x.element.per_word();
    per_word == 1 || x.columns == columns || [x.columns, columns].iter().all(|c| c.is_multiple_of(per_word))
}

/// Where in a tensor of shape `own` each element of `shape` is, to which it is broadcast.
fn spread(own: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    let skip = shape.len().checked_sub(own.len())?;
    if own.iter().zip(&shape[skip..]).any(|(&a, &b)| a != b && a != 1) {
        return None;
    }
    let index = |mut i: usize| {
        let (mut at, mut step) = (0, 1);
        for (&a, &b) in own.iter().zip(&shape[skip..]).rev() {
            at += if a == 1 { 0 } else { i % b * step };
            (i, step) = (i / b, step * a);
        }
        at
    };
    Some((0..shape.iter().product()).map(index).collect())
}
