//! What a normalization does beside normalizing: the residual sum that it reads, and the int8 that is made of it. And the
//! int8 that other steps make of their results on the way out, and the max pool that a convolution does.
//!
//! Of a transformer's sum, normalization and quantization each is bound by memory, and one kernel moves the least. The
//! sum is left to the normalization that is the first to read it; the Quantize that reads the result finds its integers
//! there. All are bit for bit what the separate steps make. An observed value is made by a step of its own.

use super::{Lowering, Order, Slot};
use crate::graph::{Activation, Node, Op, PoolKind, Quant, ValueId, Window};
use crate::plan::{Home, Matrix};
use crate::quant::{QuantParams, Scheme};
use crate::tensor::Element;

/// A sum that the normalization reading it makes.
pub(super) struct Sum<'m> {
    pub a: Matrix,
    pub b: Matrix,
    /// Where it is kept, if something else reads it.
    pub kept: Option<Matrix>,
    node: &'m Node,
}

/// The int8 of a result.
pub(super) struct Int8 {
    pub out: Matrix,
    pub params: Matrix,
    /// Where the parameters are those of each row.
    pub measure: Option<Scheme>,
    /// Whether the result is also wanted as floats.
    pub floats: bool,
}

/// Where a step puts its result.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub matrix: Matrix,
    /// Of int8 in the place of floats.
    pub params: Option<Matrix>,
    /// What it is.
    pub value: ValueId,
}

impl<'m> Lowering<'m> {
    /// A home for a result that is made of `element`; where nothing but a Quantize with known parameters reads it, for
    /// the int8 instead.
    pub(super) fn target(
        &mut self,
        y: ValueId,
        element: Element,
        order: Order,
        [rows, columns]: [usize; 2],
    ) -> Target {
        let Some((node, params)) = self.sole_quantize(y, element, order) else {
            return Target { matrix: self.result(y, order, rows, columns), params: None, value: y };
        };
        let value = node.outputs[0];
        let matrix = self.result(value, order, rows, columns);
        self.stands_for(node);
        Target { matrix, params: Some(self.constant_params(&params)), value }
    }

    /// Notes that a step has put its result there.
    pub(super) fn reached(&mut self, target: Target, order: Order) {
        let Target { matrix, params, value } = target;
        self.slots[value.index()].push(Slot { matrix, order, params });
    }

    /// The Quantize that alone reads a value, and can do so in the order in which it is made.
    fn sole_quantize(
        &self,
        y: ValueId,
        element: Element,
        order: Order,
    ) -> Option<(&'m Node, Vec<QuantParams>)> {
        let (model, [reader]) = (self.model, &self.readers[y.index()][..]) else { return None };
        let node = &model.nodes()[*reader];
        let q = *node.outputs.first().filter(|_| node.op == Op::Quantize)?;
        let fits = self.element(y) == element
            && matches!(element, Element::F32 | Element::F16)
            && !self.observed[y.index()]
            && !model.outputs().contains(&y);
        // As `quantize` would find it: turned before an image op, and padded at each pixel as int8 is.
        let as_it_lies = match order {
            Order::Natural => !(self.wants_channels_last[q.index()] && self.shapes[y.index()].len() == 4),
            Order::Flat { channels, .. } => channels.is_multiple_of(4),
            Order::ChannelsLast | Order::Heads => true,
            Order::Columns { .. } => false,
        };
        match &model.value(q).quant {
            Some(Quant::Static { axis: None, params }) if params.len() == 1 && fits && as_it_lies => {
                Some((node, params.clone()))
            }
            _ => None,
        }
    }

    /// The 2 x 2 max pool that alone reads an image, for the convolution that makes it to do: what it would have stored is
    /// four times as large. Matrix units store before anything can be made of it, so that these keep their own.
    pub(super) fn sole_max_pool(&self, y: ValueId) -> Option<&'m Node> {
        let (model, [reader]) = (self.model, &self.readers[y.index()][..]) else { return None };
        let node = &model.nodes()[*reader];
        let Op::Pool { kind: PoolKind::Max, window } = node.op else { return None };
        let even = self.shapes[y.index()][2..].iter().all(|size| size.is_multiple_of(2));
        let halves = Window { ceil: window.ceil && !even, ..window } == Window::new([2, 2], [2, 2]);
        let units = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let kept = self.observed[y.index()] || model.outputs().contains(&y);
        (halves && !kept && !self.kernels.device().features().contains(units)).then_some(node)
    }

    /// Whether a kernel can take a value's rows in sixteens, and nothing needs it made by its own step.
    fn in_sixteens(&self, id: ValueId) -> bool {
        let columns = self.shapes[id.index()].last().copied().unwrap_or(1);
        let float = matches!(self.element(id), Element::F32 | Element::F16);
        float && columns.is_multiple_of(16) && !self.observed[id.index()]
    }

    /// Leaves a sum to the normalization over its last axis that is the first to read it, where there is one. `a` and
    /// `b` are the operands as they lie, in the order of the output.
    pub(super) fn leave_sum(
        &mut self,
        node: &'m Node,
        [a, b]: [Matrix; 2],
        order: Order,
        activation: Activation,
    ) -> bool {
        let y = node.outputs[0];
        let Matrix { rows, columns, element, .. } = self.natural(a.home, y);
        let whole =
            |m: &Matrix| m.element == element && m.columns == columns && m.rows * m.columns == rows * columns;
        let first = self.readers[y.index()].first().map(|&i| &self.model.nodes()[i]);
        let last_axis = self.shapes[y.index()].len().wrapping_sub(1);
        let normalized = first.is_some_and(|n| {
            matches!(n.op, Op::LayerNorm { axis, .. } if axis == last_axis)
                && n.inputs[0] == Some(y)
                && n.inputs[1..].iter().all(|i| *i != Some(y))
        });
        let fits = whole(&a) && whole(&b) && order == Order::Natural && self.in_sixteens(y);
        if !normalized || !fits || activation != Activation::Identity {
            return false;
        }
        let shape = |m| Matrix { rows, columns, ..m };
        self.sums.insert(y, Sum { a: shape(a), b: shape(b), kept: None, node });
        true
    }

    /// The sum that was left to a normalization, with a home if others read it too.
    pub(super) fn take_sum(&mut self, id: ValueId) -> Option<Sum<'m>> {
        let mut sum = self.sums.remove(&id)?;
        if self.readers[id.index()].len() > 1 || self.model.outputs().contains(&id) {
            let kept = self.result(id, Order::Natural, sum.a.rows, sum.a.columns);
            self.slots[id.index()].push(Slot { matrix: kept, order: Order::Natural, params: None });
            sum.kept = Some(kept);
        }
        self.stands_for(sum.node);
        Some(sum)
    }

    /// A home for what the Quantize that reads a value will be found to have made, by known parameters or by rows.
    pub(super) fn quantized_beside(&mut self, y: ValueId) -> Option<Int8> {
        let model = self.model;
        let Matrix { rows, columns, .. } = self.natural(Home::Input(0), y);
        let readers = &self.readers[y.index()];
        let nodes = readers.iter().map(|&i| &model.nodes()[i]);
        let (node, quant) = nodes.filter(|n| n.op == Op::Quantize).find_map(|n| {
            let q = n.outputs[0];
            // Where an image op follows, it is turned first.
            let turned = self.wants_channels_last[q.index()] && self.shapes[y.index()].len() == 4;
            let quant = model.value(q).quant.as_ref().filter(|_| !turned)?;
            let fits = match quant {
                Quant::Static { axis, params } => axis.is_none() && params.len() == 1,
                Quant::Dynamic { per_row, .. } => *per_row,
                Quant::Grouped { .. } => false,
            };
            fits.then(|| (n, quant.clone()))
        })?;
        if !self.in_sixteens(y) {
            return None;
        }
        let floats = readers.len() > 1 || model.outputs().contains(&y);
        let out = self.result(node.outputs[0], Order::Natural, rows, columns);
        let (params, measure) = match quant {
            Quant::Dynamic { scheme, .. } => (self.need(Element::I32, rows, 4), Some(scheme)),
            Quant::Static { params, .. } => (self.constant_params(&params), None),
            Quant::Grouped { .. } => return None,
        };
        let slot = Slot { matrix: out, order: Order::Natural, params: Some(params) };
        self.slots[node.outputs[0].index()].push(slot);
        self.stands_for(node);
        Some(Int8 { out, params, measure, floats })
    }

    /// Notes that the step at hand does a node's work.
    pub(super) fn stands_for(&mut self, node: &Node) {
        self.beside.extend(node.fused.iter().chain([&node.name]).cloned());
    }
}
