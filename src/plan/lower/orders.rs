//! Values in the order that an op wants: turned where they must be, and not where no element moves.

use super::{Lowering, Order, Slot};
use crate::error::{Error, Result};
use crate::graph::{Node, Op, ValueId};
use crate::ops::Axis;
use crate::plan::Matrix;

impl<'m> Lowering<'m> {
    /// The value in a given order, turned if it must be.
    pub(super) fn get(&mut self, id: ValueId, order: Order, node: &str) -> Result<Slot> {
        let made = self.made(id)?;
        if let Some(slot) = self.slots[id.index()].iter().find(|s| s.order == order) {
            return Ok(*slot);
        }
        let element = made.matrix.element;
        // Without padding, an order that moves no element is the same memory.
        let dense = |columns: usize| columns.is_multiple_of(element.per_word());
        let matrix = match (made.order, order) {
            (Order::Natural, Order::ChannelsLast) => {
                let [n, c, h, w] = self.image(id)?;
                if (c == 1 || h * w == 1) && dense(c) && dense(w) {
                    Matrix { rows: n * h * w, columns: c, ..made.matrix }
                } else {
                    let out = self.need(element, n * h * w, c);
                    self.permute(
                        node,
                        made.matrix,
                        vec![n, c, h, w],
                        &[0, 2, 3, 1],
                        out,
                        "images lie channels last",
                    );
                    out
                }
            }
            (Order::ChannelsLast, Order::Natural) => {
                let [n, c, h, w] = self.image(id)?;
                if (c == 1 || h * w == 1) && dense(c) && dense(w) {
                    Matrix { rows: n * c * h, columns: w, ..made.matrix }
                } else {
                    let out = self.result(id, Order::Natural, n * c * h, w);
                    self.permute(
                        node,
                        made.matrix,
                        vec![n, h, w, c],
                        &[0, 3, 1, 2],
                        out,
                        "back to the model's order",
                    );
                    out
                }
            }
            (Order::Flat { channels, pixels }, Order::Natural) => {
                let n = made.matrix.rows;
                let x = Matrix { rows: n * pixels, columns: channels, ..made.matrix };
                let turned = self.need(element, n * channels, pixels);
                self.permute(
                    node,
                    x,
                    vec![n, pixels, channels],
                    &[0, 2, 1],
                    turned,
                    "back to the model's order",
                );
                if dense(pixels) {
                    Matrix { rows: n, columns: channels * pixels, ..turned }
                } else {
                    let out = self.need(element, n, channels * pixels);
                    self.copy(node, turned, out, "rows are padded to whole words");
                    out
                }
            }
            (Order::Columns { first }, Order::Natural) => {
                let Matrix { rows, columns, .. } = self.natural(made.matrix.home, id);
                let total = rows * columns / made.matrix.rows.max(1);
                let out = self.result(id, Order::Natural, rows, columns);
                let part = Axis { length: total, start: first as i64, ..Axis::whole(made.matrix.columns) };
                let (whole, part_of) = (Axis::whole(made.matrix.rows), made.matrix);
                let dense = Matrix { rows: part_of.rows, columns: total, ..out };
                let shapes = [vec![part_of.rows, part_of.columns], vec![dense.rows, dense.columns]];
                let [from, to] = shapes;
                self.strided(node, (part_of, from), (dense, to), vec![whole, part], 0);
                out
            }
            (from, to) => {
                let name = &self.model.value(id).name;
                return Err(Error::Model(format!("`{name}` cannot go from {from:?} to {to:?}")));
            }
        };
        let slot = Slot { matrix, order, params: made.params };
        self.slots[id.index()].push(slot);
        Ok(slot)
    }

    /// The dimensions of an image.
    pub(super) fn image(&self, id: ValueId) -> Result<[usize; 4]> {
        <[usize; 4]>::try_from(&self.shapes[id.index()][..]).map_err(|_| Error::Shape {
            op: "plan",
            detail: format!(
                "`{}` is {:?}, expected an image",
                self.model.value(id).name,
                self.shapes[id.index()]
            ),
        })
    }

    /// Input `i` for an op that works on one element at a time: channels last where that is wanted later on, else as
    /// it was made.
    pub(super) fn elementwise(&mut self, node: &Node, i: usize) -> Result<Slot> {
        let id = self.input(node, i)?;
        let made = self.made(id)?;
        let turn = self.wants_channels_last[node.outputs[0].index()] && self.shapes[id.index()].len() == 4;
        if turn { self.get(id, Order::ChannelsLast, &node.name) } else { Ok(made) }
    }

    /// Flatten and Reshape: nothing to do where rows stay whole; images flattened for a matrix keep their order.
    pub(super) fn reshape(&mut self, node: &'m Node) -> Result<()> {
        let (x, y) = (self.input(node, 0)?, node.outputs[0]);
        let made = self.made(x)?;
        if matches!(made.order, Order::Columns { .. }) && self.splits_rows(x, y) {
            self.done(node, made);
            return Ok(());
        }
        if made.order == Order::ChannelsLast && self.only_linear_reads(y) {
            let [n, c, h, w] = self.image(x)?;
            if self.shapes[y.index()] == [n, c * h * w] && !self.model.outputs().contains(&y) {
                let columns = h * w * made.matrix.element.words(c) * made.matrix.element.per_word();
                let matrix = Matrix { rows: n, columns, ..made.matrix };
                let order = Order::Flat { channels: c, pixels: h * w };
                self.done(node, Slot { matrix, order, params: made.params });
                return Ok(());
            }
        }
        let slot = self.get(x, Order::Natural, &node.name)?;
        let element = slot.matrix.element;
        let shape = self.natural(slot.matrix.home, y);
        let same = element.per_word() == 1
            || slot.matrix.columns == shape.columns
            || [slot.matrix.columns, shape.columns].iter().all(|c| c.is_multiple_of(element.per_word()));
        let matrix = if same {
            Matrix { rows: shape.rows, columns: shape.columns, ..slot.matrix }
        } else {
            let out = self.result(y, Order::Natural, shape.rows, shape.columns);
            self.copy(&node.name, slot.matrix, out, "rows are padded to whole words");
            out
        };
        self.done(node, Slot { matrix, order: Order::Natural, params: slot.params });
        Ok(())
    }

    /// Whether everything that reads a value is a Linear, perhaps through elementwise ops, so that weights can take
    /// the value's order.
    pub(super) fn only_linear_reads(&self, id: ValueId) -> bool {
        let mut readers = self.readers[id.index()].iter().map(|&i| &self.model.nodes()[i]).peekable();
        readers.peek().is_some()
            && readers.all(|n| match n.op {
                Op::Linear { .. } => n.inputs[1..].iter().all(|i| *i != Some(id)),
                Op::Quantize | Op::Dequantize | Op::Cast | Op::Activation(_) => {
                    !self.model.outputs().contains(&n.outputs[0]) && self.only_linear_reads(n.outputs[0])
                }
                _ => false,
            })
    }
}
