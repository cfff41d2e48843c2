//! Ops that work on one element, one pixel or one row at a time.

use super::beside::Target;
use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Activation, Node, PoolKind, Quant, Window};
use crate::ops::{
    Add, AddBindings, AddDescriptor, Dequantize, MinMax, MinMaxBindings, MinMaxDescriptor, Pool,
    PoolBindings, PoolDescriptor, Quantize, QuantizeBindings, QuantizeDescriptor, QuantizeRows,
    QuantizeRowsBindings, QuantizeRowsDescriptor, ScaleZeroPoint, ScaleZeroPointBindings, Unary,
    UnaryBindings, UnaryDescriptor,
};
use crate::plan::Matrix;
use crate::quant::Scheme;
use crate::tensor::Element;

fn shape_of(m: &Matrix) -> String {
    format!("[{}, {}]", m.rows, m.columns)
}

impl<'m> Lowering<'m> {
    /// Max or average over windows. In int8 both keep the parameters of what they read, unless the model says that a
    /// mean has its own.
    pub(super) fn pool(&mut self, node: &'m Node, kind: PoolKind, window: Window) -> Result<()> {
        let (x_id, y) = (self.input(node, 0)?, node.outputs[0]);
        if self.pooled.contains(&y) {
            return Ok(());
        }
        let [batch, channels, height, width] = self.image(x_id)?;
        let [_, _, out_height, out_width] = self.image(y)?;
        let x = self.get(x_id, Order::ChannelsLast, &node.name)?;
        let element = x.matrix.element;
        let out = self.result(y, Order::ChannelsLast, batch * out_height * out_width, channels);
        let (x_matrix, params) = (x.matrix, x.params);
        let shapes = format!("[{batch}, {height}, {width}, {channels}] -> [{out_height}, {out_width}]");
        let mut touched = vec![x_matrix, out];
        touched.extend(params);
        let why = if element == Element::I8 {
            "on the integers: the parameters are the input's"
        } else {
            "channels last"
        };
        let d = PoolDescriptor { element, kind, window };
        self.step(&node.name, "pool", shapes, why, &touched, move |s| {
            Pool::with_kernels(s.kernels, &d)?.bind(&PoolBindings {
                x: s.view(&x_matrix),
                batch,
                size: [height, width],
                params: params.as_ref().map(|m| s.view(m)),
                out: s.view(&out),
            })
        });
        self.done(node, Slot { matrix: out, order: Order::ChannelsLast, params });
        Ok(())
    }

    pub(super) fn global_average(&mut self, node: &'m Node) -> Result<()> {
        let [_, _, height, width] = self.image(self.input(node, 0)?)?;
        self.pool(node, PoolKind::Average { include_pad: false }, Window::new([height, width], [1, 1]))
    }

    pub(super) fn activation(&mut self, node: &'m Node, activation: Activation) -> Result<()> {
        self.unary(node, activation, "an activation that no op before it could take in")
    }

    /// Between the reals by the kernel of functions, which is faster; what a device holds alike stays where it is.
    pub(super) fn cast(&mut self, node: &'m Node) -> Result<()> {
        let (x_id, y) = (self.input(node, 0)?, node.outputs[0]);
        let (from, to) = (self.model.value(x_id).element, self.model.value(y).element);
        let float = |e: Element| matches!(e, Element::F32 | Element::F16);
        if float(from) && float(to) {
            return self.unary(node, Activation::Identity, "the model changes precision here");
        }
        let x = self.elementwise(node, 0)?;
        // Padding at each pixel is that of the element: another has its own.
        let order = if matches!(x.order, Order::Flat { .. }) { Order::Natural } else { x.order };
        let x = self.get(x_id, order, &node.name)?;
        let params = self.known_params(y)?;
        let alike = from == to || (from.stored() == to.stored() && from != Element::U8 && to != Element::U8);
        if alike && (to != Element::Bool || from == Element::Bool) {
            self.done(node, Slot { params, ..x });
            return Ok(());
        }
        let out = self.result(y, order, x.matrix.rows, x.matrix.columns);
        self.cast_step(&node.name, (x.matrix, from), (out, to), "the model changes elements here");
        self.done(node, Slot { matrix: out, order, params });
        Ok(())
    }

    fn unary(&mut self, node: &'m Node, activation: Activation, why: &'static str) -> Result<()> {
        let x = self.converted(node)?;
        let y = node.outputs[0];
        let matrix = x.matrix;
        let target = self.target(y, matrix.element, x.order, [matrix.rows, matrix.columns]);
        // In int8 they are those of what it reads.
        let target = Target { params: target.params.or(x.params), ..target };
        let (out, params) = (target.matrix, target.params);
        let d = UnaryDescriptor { element: matrix.element, out: out.element, activation, function: None };
        let mut touched = vec![matrix, out];
        touched.extend(params);
        self.step(&node.name, "unary", shape_of(&matrix), why, &touched, move |s| {
            Unary::with_kernels(s.kernels, &d)?.bind(&UnaryBindings {
                x: s.view(&matrix),
                params: params.as_ref().map(|m| s.view(m)),
                out: s.view(&out),
            })
        });
        self.reached(target, x.order);
        Ok(())
    }

    pub(super) fn add(&mut self, node: &'m Node, activation: Activation) -> Result<()> {
        let y = node.outputs[0];
        let ([a, b], order) = self.broadcast(node)?;
        let (a_dims, b_dims) = (a.dims, b.dims);
        let (a, b) = (a.slot, b.slot);
        if self.leave_sum(node, [a.matrix, b.matrix], order, activation) {
            return Ok(());
        }
        let (rows, columns) = self.rows_and_columns(y, order)?;
        let mut target = self.target(y, a.matrix.element, order, [rows, columns]);
        if self.element(y) == Element::I8 {
            let params = self.static_params(node, y)?;
            target.params = Some(self.constant_params(&[params]));
        }
        let (out, out_params) = (target.matrix, target.params);
        let d = AddDescriptor { element: a.matrix.element, out: out.element, activation };
        let (am, bm) = (a.matrix, b.matrix);
        let params = match (a.params, b.params) {
            (Some(a), Some(b)) => Some([a, b]),
            _ => None,
        };
        let mut touched = vec![am, bm, out];
        touched.extend(params.into_iter().flatten().chain(out_params));
        let why = if am.element == Element::I8 { "added as reals, requantized" } else { "elementwise" };
        self.step(&node.name, "add", format!("{a_dims:?} + {b_dims:?}"), why, &touched, move |s| {
            Add::with_kernels(s.kernels, &d)?.bind(&AddBindings {
                a: s.view(&am),
                a_shape: &a_dims,
                b: s.view(&bm),
                b_shape: &b_dims,
                params: params.as_ref().map(|p| p.each_ref().map(|m| s.view(m))),
                out: s.view(&out),
                out_params: out_params.as_ref().map(|m| s.view(m)),
            })
        });
        self.reached(target, order);
        Ok(())
    }

    /// The first input of an op that may change the element. An image as a row is padded at each pixel by its element,
    /// so that one whose pixels are not whole words of either is turned.
    fn converted(&mut self, node: &Node) -> Result<Slot> {
        let x = self.elementwise(node, 0)?;
        match x.order {
            Order::Flat { channels, .. }
                if x.matrix.element != self.element(node.outputs[0]) && !channels.is_multiple_of(4) =>
            {
                self.get(self.input(node, 0)?, Order::Natural, &node.name)
            }
            _ => Ok(x),
        }
    }

    pub(super) fn quantize(&mut self, node: &'m Node) -> Result<()> {
        let y = node.outputs[0];
        if !self.slots[y.index()].is_empty() {
            // What it reads was made with it.
            return Ok(());
        }
        let x = self.converted(node)?;
        let matrix = x.matrix;
        let (rows, columns) = (matrix.rows, matrix.columns);
        let out = self.result(y, x.order, rows, columns);
        let params = match self.model.value(y).quant.clone() {
            Some(Quant::Static { .. }) => {
                let params = self.static_params(node, y)?;
                let params = self.constant_params(&[params]);
                self.quantize_with(node, matrix, params, out, "the parameters are known");
                params
            }
            Some(Quant::Dynamic { scheme, per_row: true }) => {
                let params = self.need(Element::I32, rows, 4);
                let why = "the range of each row, measured and used in one dispatch";
                let d = QuantizeRowsDescriptor { element: matrix.element, scheme };
                self.step(
                    &node.name,
                    "quantize_rows",
                    shape_of(&matrix),
                    why,
                    &[matrix, out, params],
                    move |s| {
                        QuantizeRows::with_kernels(s.kernels, &d)?.bind(&QuantizeRowsBindings {
                            x: s.view(&matrix),
                            params: s.view(&params),
                            out: s.view(&out),
                        })
                    },
                );
                params
            }
            Some(Quant::Dynamic { scheme, per_row: false }) => {
                let params = self.measure(node, matrix, scheme);
                self.quantize_with(node, matrix, params, out, "the parameters were just measured");
                params
            }
            Some(Quant::Grouped { .. }) => {
                return Err(self.fail(node, "only constants are quantized in groups"));
            }
            None => return Err(self.fail(node, "its output has no quantization")),
        };
        self.done(node, Slot { matrix: out, order: x.order, params: Some(params) });
        Ok(())
    }

    /// The range of a tensor and the parameters from it, on the device: no read-back.
    fn measure(&mut self, node: &Node, x: Matrix, scheme: Scheme) -> Matrix {
        let state = self.need(Element::I32, 1, 4);
        let params = self.need(Element::I32, 1, 4);
        let shape = shape_of(&x);
        self.step(&node.name, "minmax", shape, "the range of this batch", &[x, state], move |s| {
            let d = MinMaxDescriptor { element: x.element, ..Default::default() };
            let op = MinMax::with_kernels(s.kernels, &d)?;
            op.bind(&MinMaxBindings { x: s.view(&x), outer: 1, state: s.view(&state) })
        });
        self.step(
            &node.name,
            "quant_params",
            String::new(),
            "from range to scale, on the device",
            &[state, params],
            move |s| {
                let op = ScaleZeroPoint::with_kernels(s.kernels, &scheme)?;
                op.bind(&ScaleZeroPointBindings { state: s.view(&state), params: s.view(&params) })
            },
        );
        params
    }

    fn quantize_with(&mut self, node: &Node, x: Matrix, params: Matrix, out: Matrix, why: &'static str) {
        let d = QuantizeDescriptor { element: x.element, by_row: false };
        self.step(&node.name, "quantize", shape_of(&x), why, &[x, params, out], move |s| {
            let op = Quantize::with_kernels(s.kernels, &d)?;
            op.bind(&QuantizeBindings { x: s.view(&x), params: s.view(&params), out: s.view(&out) })
        });
    }

    pub(super) fn dequantize(&mut self, node: &'m Node) -> Result<()> {
        let x = self.converted(node)?;
        let Some(params) = x.params else {
            return Err(self.fail(node, "its input has no quantization parameters"));
        };
        let matrix = x.matrix;
        let out = self.result(node.outputs[0], x.order, matrix.rows, matrix.columns);
        let d = QuantizeDescriptor { element: out.element, by_row: true };
        let why = "what follows is float";
        self.step(&node.name, "dequantize", shape_of(&matrix), why, &[matrix, params, out], move |s| {
            let op = Dequantize::with_kernels(s.kernels, &d)?;
            op.bind(&QuantizeBindings { x: s.view(&matrix), params: s.view(&params), out: s.view(&out) })
        });
        self.done(node, Slot { matrix: out, order: x.order, params: None });
        Ok(())
    }
}
