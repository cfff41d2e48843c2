//! For ops whose kernels know 32-bit elements only: what is narrower is widened before and narrowed after.

use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::Node;
use crate::ops::{Cast, CastBindings, CastDescriptor};
use crate::plan::Matrix;
use crate::tensor::Element;

impl<'m> Lowering<'m> {
    /// Input `i` in the model's order of dimensions, in 32 bits: F32 where it is a float, else I32.
    pub(super) fn wide(&mut self, node: &Node, i: usize) -> Result<Matrix> {
        let id = self.input(node, i)?;
        let x = self.get(id, Order::Natural, &node.name)?.matrix;
        let wide = wide_element(x.element);
        if x.element == wide {
            return Ok(x);
        }
        let out = self.need(wide, x.rows, x.columns);
        let from = self.model.value(id).element;
        self.cast_step(&node.name, (x, from), (out, wide), "the kernel reads 32 bits");
        Ok(out)
    }

    /// Where a step may write what `node` makes, in 32 bits: then call [`Lowering::finish_wide`].
    pub(super) fn wide_result(&mut self, node: &Node, rows: usize, columns: usize) -> Matrix {
        let y = node.outputs[0];
        let element = self.element(y);
        let wide = wide_element(element);
        if element == wide {
            self.result(y, Order::Natural, rows, columns)
        } else {
            self.need(wide, rows, columns)
        }
    }

    /// Narrows what was made in 32 bits where it must be, and gives it to the node's output.
    pub(super) fn finish_wide(&mut self, node: &Node, made: Matrix) -> Result<()> {
        let y = node.outputs[0];
        let matrix = if self.element(y) == made.element {
            made
        } else {
            let out = self.result(y, Order::Natural, made.rows, made.columns);
            let to = self.model.value(y).element;
            self.cast_step(&node.name, (made, made.element), (out, to), "the kernel writes 32 bits");
            out
        };
        let params = self.known_params(y)?;
        self.done(node, Slot { matrix, order: Order::Natural, params });
        Ok(())
    }

    /// A conversion between elements as the model calls them: U8, I64 and Bool mean how a device holds them (see
    /// [`Element::stored`]).
    pub(super) fn cast_step(
        &mut self,
        node: &str,
        (x, from): (Matrix, Element),
        (out, to): (Matrix, Element),
        why: &'static str,
    ) {
        let shapes = format!("[{}, {}]", x.rows, x.columns);
        let d = CastDescriptor { element: from, out: to };
        self.step(node, "cast", shapes, why, &[x, out], move |s| {
            Cast::with_kernels(s.kernels, &d)?.bind(&CastBindings { x: s.view(&x), out: s.view(&out) })
        });
    }
}

/// The 32-bit element that holds all of a stored one's values.
fn wide_element(stored: Element) -> Element {
    if matches!(stored, Element::F32 | Element::F16) { Element::F32 } else { Element::I32 }
}
