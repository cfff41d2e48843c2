//! Functions of single elements and of pairs.

use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Activation, BinaryOp, Node, UnaryOp, ValueId};
use crate::ops::{
    Binary, BinaryBindings, BinaryDescriptor, Select, SelectBindings, SelectDescriptor, Unary, UnaryBindings,
    UnaryDescriptor,
};
use crate::plan::Matrix;
use crate::tensor::Element;

/// An operand that is broadcast: where it lies, and its dimensions as they lie there.
pub(super) struct BroadcastOperand {
    pub slot: Slot,
    pub dims: Vec<usize>,
}

impl<'m> Lowering<'m> {
    pub(super) fn function(&mut self, node: &'m Node, op: UnaryOp) -> Result<()> {
        let why = "a function of each element";
        let y = node.outputs[0];
        if self.model.value(self.input(node, 0)?).element.stored() == Element::I8 {
            let x = self.wide(node, 0)?;
            let out = self.wide_result(node, x.rows, x.columns);
            self.function_step(node, op, x, (out, None), why);
            return self.finish_wide(node, out);
        }
        let x = self.elementwise(node, 0)?;
        let (id, mut order) = (self.input(node, 0)?, x.order);
        // An image as a row is padded at each pixel by its element: the result's may differ.
        if matches!(order, Order::Flat { .. }) && x.matrix.element != self.element(y) {
            order = Order::Natural;
        }
        let x = self.get(id, order, &node.name)?.matrix;
        let target = self.target(y, x.element, order, [x.rows, x.columns]);
        self.function_step(node, op, x, (target.matrix, target.params), why);
        self.reached(target, order);
        Ok(())
    }

    fn function_step(
        &mut self,
        node: &Node,
        op: UnaryOp,
        x: Matrix,
        (out, params): (Matrix, Option<Matrix>),
        why: &'static str,
    ) {
        let (element, activation) = (x.element, Activation::Identity);
        let d = UnaryDescriptor { element, out: out.element, activation, function: Some(op) };
        self.step(&node.name, "unary", format!("[{}, {}]", x.rows, x.columns), why, &[x, out], move |s| {
            let op = Unary::with_kernels(s.kernels, &d)?;
            let params = params.as_ref().map(|m| s.view(m));
            op.bind(&UnaryBindings { x: s.view(&x), params, out: s.view(&out) })
        });
    }

    pub(super) fn binary(&mut self, node: &'m Node, function: BinaryOp) -> Result<()> {
        let y = node.outputs[0];
        let bytes = self.model.value(self.input(node, 0)?).element.stored() == Element::I8;
        let ([a, b], order) = if bytes { self.wide_broadcast(node)? } else { self.broadcast(node)? };
        let (am, bm) = (a.slot.matrix, b.slot.matrix);
        let (rows, columns) = self.rows_and_columns(y, order)?;
        let target = (!bytes).then(|| self.target(y, am.element, order, [rows, columns]));
        let out = match &target {
            Some(target) => target.matrix,
            None => self.wide_result(node, rows, columns),
        };
        let params = target.and_then(|t| t.params);
        let d = BinaryDescriptor { element: am.element, out: out.element, function };
        let (a_dims, b_dims) = (a.dims, b.dims);
        let shapes = format!("{a_dims:?}, {b_dims:?}");
        self.step(&node.name, "binary", shapes, "elementwise", &[am, bm, out], move |s| {
            Binary::with_kernels(s.kernels, &d)?.bind(&BinaryBindings {
                out_params: params.as_ref().map(|m| s.view(m)),
                a: s.view(&am),
                a_shape: &a_dims,
                b: s.view(&bm),
                b_shape: &b_dims,
                out: s.view(&out),
            })
        });
        match target {
            Some(target) => self.reached(target, order),
            None => self.finish_wide(node, out)?,
        }
        Ok(())
    }

    pub(super) fn select(&mut self, node: &'m Node) -> Result<()> {
        let y = node.outputs[0];
        let bytes = self.element(y) == Element::I8;
        let ([c, a, b], order) = if bytes { self.wide_broadcast(node)? } else { self.broadcast(node)? };
        let (cm, am, bm) = (c.slot.matrix, a.slot.matrix, b.slot.matrix);
        let (rows, columns) = self.rows_and_columns(y, order)?;
        let out =
            if bytes { self.wide_result(node, rows, columns) } else { self.result(y, order, rows, columns) };
        let d = SelectDescriptor { element: am.element };
        let dims = [c.dims, a.dims, b.dims];
        let shapes = format!("{dims:?}");
        self.step(&node.name, "select", shapes, "elementwise", &[cm, am, bm, out], move |s| {
            Select::with_kernels(s.kernels, &d)?.bind(&SelectBindings {
                condition: s.view(&cm),
                condition_shape: &dims[0],
                a: s.view(&am),
                a_shape: &dims[1],
                b: s.view(&bm),
                b_shape: &dims[2],
                out: s.view(&out),
            })
        });
        if bytes {
            return self.finish_wide(node, out);
        }
        self.done(node, Slot { matrix: out, order, params: None });
        Ok(())
    }

    /// The matrix that a value is in some order.
    pub(super) fn rows_and_columns(&self, id: ValueId, order: Order) -> Result<(usize, usize)> {
        if order == Order::ChannelsLast {
            let [n, c, h, w] = self.image(id)?;
            return Ok((n * h * w, c));
        }
        let shape = &self.shapes[id.index()];
        Ok((shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(1)))
    }

    /// The operands of bytes in 32 bits, in the model's order.
    fn wide_broadcast<const N: usize>(&mut self, node: &Node) -> Result<([BroadcastOperand; N], Order)> {
        let mut operands = Vec::with_capacity(N);
        for i in 0..N {
            let id = self.input(node, i)?;
            let matrix = self.wide(node, i)?;
            let slot = Slot { matrix, order: Order::Natural, params: None };
            operands.push(BroadcastOperand { slot, dims: self.shapes[id.index()].clone() });
        }
        Ok((self.all(node, operands)?, Order::Natural))
    }

    /// The operands of an op that broadcasts, and the order in which its output lies. Images stay channels last where
    /// one is, or where that is wanted later on; what is broadcast to them is turned too.
    pub(super) fn broadcast<const N: usize>(
        &mut self,
        node: &Node,
    ) -> Result<([BroadcastOperand; N], Order)> {
        let y = node.outputs[0];
        let shape = self.shapes[y.index()].clone();
        let mut last = self.wants_channels_last[y.index()];
        for i in 0..N {
            let id = self.input(node, i)?;
            let constant = self.model.constant(id).is_some();
            let whole = self.shapes[id.index()] == shape;
            last |= whole && !constant && self.made(id)?.order == Order::ChannelsLast;
        }
        let order = if last && shape.len() == 4 { Order::ChannelsLast } else { Order::Natural };
        let mut operands = Vec::with_capacity(N);
        for i in 0..N {
            let id = self.input(node, i)?;
            operands.push(match order {
                Order::ChannelsLast => self.beside_an_image(node, id)?,
                _ => {
                    let slot = self.get(id, order, &node.name)?;
                    BroadcastOperand { slot, dims: self.shapes[id.index()].clone() }
                }
            });
        }
        Ok((self.all(node, operands)?, order))
    }

    fn all<const N: usize>(
        &self,
        node: &Node,
        operands: Vec<BroadcastOperand>,
    ) -> Result<[BroadcastOperand; N]> {
        let found = operands.len();
        operands.try_into().map_err(|_| self.fail(node, format!("{found} operands, not {N}")))
    }

    /// A value as it is broadcast to an image that lies channels last: `[c, 1, 1]` is `[c]` there.
    fn beside_an_image(&mut self, node: &Node, id: ValueId) -> Result<BroadcastOperand> {
        let shape = self.shapes[id.index()].clone();
        let mut padded = vec![1; 4 - shape.len().min(4)];
        padded.extend_from_slice(&shape);
        let [n, c, h, w] = padded[..] else {
            return Err(self.fail(node, format!("{shape:?} has more dimensions than an image")));
        };
        let dims = vec![n, h, w, c];
        let (rows, columns) = (n * h * w, c);
        if let Some(tensor) = self.model.constant(id) {
            let turned = tensor.clone().reshape(padded)?.permuted(&[0, 2, 3, 1])?;
            let matrix = self.constant(&turned.to_device_words()?, self.element(id), rows, columns);
            let params = self.known_params(id)?;
            return Ok(BroadcastOperand { slot: Slot { matrix, order: Order::ChannelsLast, params }, dims });
        }
        if shape.len() == 4 {
            return Ok(BroadcastOperand { slot: self.get(id, Order::ChannelsLast, &node.name)?, dims });
        }
        let slot = self.get(id, Order::Natural, &node.name)?;
        if slot.matrix.rows * slot.matrix.columns == 1 {
            return Ok(BroadcastOperand { slot, dims: vec![1; 4] });
        }
        let out = self.need(slot.matrix.element, rows, columns);
        let why = "broadcast to an image, which lies channels last";
        self.permute(&node.name, slot.matrix, padded, &[0, 2, 3, 1], out, why);
        Ok(BroadcastOperand { slot: Slot { matrix: out, order: Order::ChannelsLast, ..slot }, dims })
    }
}
