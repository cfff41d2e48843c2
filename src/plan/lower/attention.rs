//! Attention, and the transposes around it that no kernel needs: heads are read and written where they lie.

use super::beside::Target;
use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Node, Op, Quant, ValueId};
use crate::kernel::Call;
use crate::ops::{
    Attention, AttentionBindings, AttentionDescriptor, Gemm, GemmBindings, GemmDescriptor, HeadColumns,
    Heads, Layout, Mask, Softmax, SoftmaxBindings, SoftmaxDescriptor,
};
use crate::plan::Matrix;
use crate::tensor::Element;

/// A mask, its outer dimensions, and those of the scores.
type Masked = (Matrix, [usize; 3], [usize; 3]);

/// An operand of a batch of products, or its result.
#[derive(Clone, Copy)]
struct Operand {
    matrix: Matrix,
    /// Where the heads are, if they lie side by side.
    heads: Option<HeadColumns>,
    /// Whether each matrix has rows for columns.
    turned: bool,
}

impl Operand {
    /// One below the other.
    fn below(matrix: Matrix) -> Self {
        Self { matrix, heads: None, turned: false }
    }
}

/// A value that an attention can read without its transposes.
pub(super) struct InPlace {
    /// What they are of.
    pub x: ValueId,
    /// Whether x is `[.., tokens, heads, d]`, else its heads are outside.
    beside: bool,
    turned: bool,
}

/// Whether a transpose swaps heads and tokens, `[.., h, m, e]` to `[.., m, h, e]` or back.
fn swaps_heads(order: &[usize]) -> bool {
    tail(order) == Some([1, 0, 2])
}

/// What becomes of the last three dimensions, if those before them stay.
fn tail(order: &[usize]) -> Option<[usize; 3]> {
    let outer = order.len().checked_sub(3)?;
    let stay = order[..outer].iter().enumerate().all(|(i, &d)| i == d);
    stay.then(|| [0, 1, 2].map(|i| order[outer + i] - outer))
}

impl<'m> Lowering<'m> {
    /// The nodes that read a value.
    fn who_reads(&self, id: ValueId) -> impl Iterator<Item = &'m Node> {
        self.readers[id.index()].iter().map(|&i| &self.model.nodes()[i])
    }

    /// A Transpose: put off where an attention reads it.
    pub(super) fn transpose(&mut self, node: &'m Node) -> Result<()> {
        let y = node.outputs[0];
        if self.attention_reads(y) {
            self.put_off[y.index()] = Some(node);
            return Ok(());
        }
        self.turn(node, "the model wants another order")
    }

    /// Carries a Transpose out: nothing to do where an attention wrote its heads as they are wanted.
    pub(super) fn turn(&mut self, node: &'m Node, why: &'static str) -> Result<()> {
        let (x, y) = (self.input(node, 0)?, node.outputs[0]);
        let Op::Transpose { order } = &node.op else { return Err(self.fail(node, "it is no Transpose")) };
        let made = self.made(x)?;
        if made.order == Order::Heads && swaps_heads(order) {
            self.done(node, Slot { order: Order::Natural, ..made });
            return Ok(());
        }
        let slot = self.get(x, Order::Natural, &node.name)?;
        let Matrix { rows, columns, .. } = self.natural(slot.matrix.home, y);
        let out = self.result(y, Order::Natural, rows, columns);
        let shape = self.shapes[x.index()].clone();
        self.permute(&node.name, slot.matrix, shape, order, out, why);
        self.done(node, Slot { matrix: out, order: Order::Natural, params: slot.params });
        Ok(())
    }

    /// Whether an attention reads a value, perhaps through transposes.
    fn attention_reads(&self, id: ValueId) -> bool {
        self.who_reads(id).any(|n| match n.op {
            Op::Attention { .. } => n.inputs[..3].contains(&Some(id)),
            Op::Transpose { .. } => self.attention_reads(n.outputs[0]),
            _ => false,
        })
    }

    /// Whether whatever reads a value swaps heads and tokens first, or keeps elements where they are and is read so.
    fn only_swaps_read(&self, id: ValueId) -> bool {
        let whole =
            self.shapes[id.index()].last().is_some_and(|n| n.is_multiple_of(self.element(id).per_word()));
        let mut all = self.who_reads(id).peekable();
        whole
            && !self.model.outputs().contains(&id)
            && all.peek().is_some()
            && all.all(|n| match &n.op {
                Op::Transpose { order } => swaps_heads(order),
                Op::Quantize => {
                    let quant = &self.model.value(n.outputs[0]).quant;
                    matches!(quant, Some(Quant::Static { axis: None, .. }))
                        && self.only_swaps_read(n.outputs[0])
                }
                _ => false,
            })
    }

    /// How input `i` of an attention can be read without the transposes that it went through. A kernel takes `q` by rows
    /// of `d`, `k` and `v` either way round, and heads that are whole words.
    pub(super) fn in_place(&self, attention: &Node, i: usize) -> Option<InPlace> {
        let id = attention.inputs[i]?;
        let shape = &self.shapes[id.index()];
        // Which dimension of x each of the input's is.
        let mut order: Vec<usize> = (0..shape.len()).collect();
        let mut x = id;
        while let Some(Op::Transpose { order: of }) = self.producer[x.index()].map(|n| &n.op) {
            order.iter_mut().for_each(|d| *d = of[*d]);
            x = self.producer[x.index()]?.inputs[0]?;
        }
        let (beside, turned) = match tail(&order)? {
            [1, 0, 2] => (true, false),
            [1, 2, 0] => (true, true),
            [0, 2, 1] => (false, true),
            _ => return None,
        };
        // Broadcast operands are repeated first. A kernel counts heads and what is outside of them in 16 bits each.
        let y = &self.shapes[attention.outputs[0].index()];
        let (outer, [r, c]) = (&shape[..shape.len() - 2], [shape[shape.len() - 2], shape[shape.len() - 1]]);
        let (heads, outside) = outer.split_last()?;
        let columns = if turned { r } else { c };
        let fits = outer == &y[..y.len() - 2]
            && *heads <= 0xffff
            && outside.iter().product::<usize>() <= 0xffff
            && (!beside || columns.is_multiple_of(self.element(id).per_word()))
            && !(turned && i == 0);
        fits.then_some(InPlace { x, beside, turned })
    }

    /// The values that are read only where they may be columns of a wider matrix: `[.., heads * d]`, which a Reshape
    /// splits and an attention reads in place.
    pub(super) fn may_be_columns(&self) -> Vec<bool> {
        let mut may = vec![false; self.shapes.len()];
        let sole = |id: ValueId| self.who_reads(id).count() == 1 && !self.model.outputs().contains(&id);
        for node in self.model.nodes().iter().filter(|n| matches!(n.op, Op::Attention { .. })) {
            for i in 0..3 {
                let Some(InPlace { x, beside: true, .. }) = self.in_place(node, i) else { continue };
                let reshape = self.producer[x.index()].filter(|n| matches!(n.op, Op::Reshape { .. }));
                let Some(from) = reshape.and_then(|n| n.inputs[0]) else { continue };
                may[from.index()] = sole(x) && sole(from) && self.splits_rows(from, x);
            }
        }
        may
    }

    /// Whether a reshape makes two dimensions of the last and leaves the others.
    pub(super) fn splits_rows(&self, from: ValueId, to: ValueId) -> bool {
        let (from, to) = (&self.shapes[from.index()], &self.shapes[to.index()]);
        to.len() == from.len() + 1 && !from.is_empty() && from[..from.len() - 1] == to[..from.len() - 1]
    }

    /// Input `i` of an attention: where it lies, or as the model has it, once for each product.
    fn operand(&mut self, node: &Node, i: usize, outer: &[usize]) -> Result<Operand> {
        let id = self.input(node, i)?;
        if let Some(InPlace { x, beside, turned }) = self.in_place(node, i) {
            let Slot { matrix, order, .. } = self.made(x)?;
            match (order, beside) {
                (Order::Natural, false) => return Ok(Operand { matrix, heads: None, turned }),
                (Order::Natural, true) => {
                    let (columns, heads) = (matrix.columns, outer[outer.len() - 1].max(1));
                    let matrix = Matrix { rows: matrix.rows / heads, columns: heads * columns, ..matrix };
                    return Ok(Operand { matrix, heads: Some(HeadColumns { first: 0, columns }), turned });
                }
                (Order::Columns { first }, true) => {
                    let columns = self.shapes[x.index()].last().copied().unwrap_or(1);
                    return Ok(Operand { matrix, heads: Some(HeadColumns { first, columns }), turned });
                }
                _ => {}
            }
        }
        let x = self.get(id, Order::Natural, &node.name)?.matrix;
        let shape = self.shapes[id.index()].clone();
        let own: usize = shape[..shape.len() - 2].iter().product();
        let whole = own == outer.iter().product::<usize>();
        Ok(Operand::below(if whole { x } else { self.repeated(node, x, &shape, outer) }))
    }

    /// Scores, their softmax and the sums by it: the scores live between the three steps only.
    pub(super) fn attention(&mut self, node: &'m Node, scale: f32) -> Result<()> {
        let y = node.outputs[0];
        let last = |s: &Self, i: usize| -> Result<[usize; 2]> {
            let shape = &s.shapes[s.input(node, i)?.index()];
            Ok([shape[shape.len() - 2], shape[shape.len() - 1]])
        };
        let ([m, _], [_, n], [_, e]) = (last(self, 0)?, last(self, 1)?, last(self, 2)?);
        let y_shape = &self.shapes[y.index()];
        let outer = y_shape[..y_shape.len() - 2].to_vec();
        let batch: usize = outer.iter().product();
        let count = outer.last().copied().unwrap_or(1);
        let mut operands = Vec::with_capacity(3);
        for i in 0..3 {
            operands.push(self.operand(node, i, &outer)?);
        }
        let element = operands[0].matrix.element;
        let other = operands.iter().map(|o| o.matrix.element).find(|e| *e != element);
        if other.is_some() || !matches!(element, Element::F32 | Element::F16) {
            let other = other.unwrap_or(element);
            return Err(self.fail(node, format!("{element:?} by {other:?} has no kernel")));
        }
        let mask = self.attention_mask(node, &[&outer[..], &[m, n]].concat(), element)?;
        if self.in_one_dispatch(node, &operands, &mask, scale, [m, n]) {
            return Ok(());
        }
        let scores = self.need(element, batch * m, n);
        let why = if operands[1].heads.is_some() { "scores, heads read where they lie" } else { "scores" };
        let scored = [operands[0], operands[1], Operand::below(scores)];
        self.product_step(node, scored, None, [batch, count], why);
        let weights = self.need(element, batch * m, n);
        let touched: Vec<Matrix> =
            [scores, weights].into_iter().chain(mask.map(|(matrix, ..)| matrix)).collect();
        let descriptor = SoftmaxDescriptor { element, out: element, log: false, scale };
        let shape = format!("[{}, {n}]", batch * m);
        self.step(&node.name, "softmax", shape, "scaled and masked on the way", &touched, move |s| {
            let mask = mask.as_ref().map(|(m, outer, x_outer)| Mask {
                view: s.view(m),
                outer: *outer,
                x_outer: *x_outer,
            });
            let op = Softmax::with_kernels(s.kernels, &descriptor)?;
            op.bind(&SoftmaxBindings { x: s.view(&scores), mask, out: s.view(&weights), out_params: None })
        });
        let weights = Operand::below(weights);
        let small = count <= 0xffff && batch <= 0xffff * count;
        if small && batch > 0 && self.only_swaps_read(y) {
            let target = self.target(y, element, Order::Heads, [batch / count * m, count * e]);
            let heads = Some(HeadColumns { first: 0, columns: e });
            let out = Operand { matrix: target.matrix, heads, turned: false };
            let why = "means by the scores, a token's heads side by side";
            self.product_step(node, [weights, operands[2], out], target.params, [batch, count], why);
            let matrix = Matrix { rows: batch * m, columns: e, ..target.matrix };
            self.reached(Target { matrix, ..target }, Order::Heads);
            return Ok(());
        }
        let target = self.target(y, element, Order::Natural, [batch * m, e]);
        let out = Operand::below(target.matrix);
        let why = "means by the scores";
        self.product_step(node, [weights, operands[2], out], target.params, [batch, count], why);
        self.reached(target, Order::Natural);
        Ok(())
    }

    /// Attention by one kernel, where it has been found faster than three: on CPU adapters, for heads side by side and a
    /// mask of keys. (llvmpipe, f32, 12 heads of 32, 128 tokens: 1.2 ms, and 3.5 ms in three.)
    fn in_one_dispatch(
        &mut self,
        node: &'m Node,
        operands: &[Operand],
        mask: &Option<Masked>,
        scale: f32,
        [m, n]: [usize; 2],
    ) -> bool {
        let y = node.outputs[0];
        let device = self.kernels.device();
        let info = device.adapter_info();
        let fast = info.device_type == wgpu::DeviceType::Cpu
            && info.subgroup_min_size >= 8
            && device.features().contains(wgpu::Features::SUBGROUP);
        let [q, k, v] = operands else { return false };
        let (Some(q_at), Some(k_at), Some(v_at)) = (q.heads, k.heads, v.heads) else { return false };
        let (d, shape) = (q_at.columns, &self.shapes[y.index()]);
        let count = shape[shape.len() - 3];
        let batch = shape[..shape.len() - 3].iter().product::<usize>();
        let element = q.matrix.element;
        let whole = |o: &Operand| {
            let first = o.heads.map_or(0, |h| h.first);
            o.matrix.columns.is_multiple_of(4) && first.is_multiple_of(4)
        };
        let mut rows = 1;
        if let Some((matrix, outer, x_outer)) = mask {
            // A row for each batch, or one for all.
            rows = matrix.rows;
            let by_batch = rows == 1 || (rows == batch && outer.iter().product::<usize>() == batch);
            let in_front = outer.iter().zip(x_outer).skip_while(|(a, b)| a == b).all(|(a, _)| *a == 1);
            if matrix.columns != n || !by_batch || !in_front {
                return false;
            }
        }
        let fits = fast
            && self.element(y) == element
            && k.turned
            && !v.turned
            && [k_at, v_at].iter().all(|at| at.columns == d)
            && Attention::takes(d)
            && [q, k, v].into_iter().all(whole)
            && batch * m * n > 0
            && self.only_swaps_read(y);
        if !fits {
            return false;
        }
        let target = self.target(y, element, Order::Heads, [batch * m, count * d]);
        let (out, params) = (target.matrix, target.params);
        let mut touched = vec![q.matrix, k.matrix, v.matrix, out];
        touched.dedup();
        let mask = mask.map(|(matrix, ..)| Matrix { rows, ..matrix });
        touched.extend(mask);
        let shapes = format!("{batch} x {count} heads: [{m}, {d}] * [{d}, {n}] * [{n}, {d}]");
        let descriptor = AttentionDescriptor { element, out: out.element, scale };
        let (q, k, v) = ((q.matrix, q_at), (k.matrix, k_at), (v.matrix, v_at));
        let why = "one kernel, which never writes the scores";
        self.step(&node.name, "attention", shapes, why, &touched, move |s| {
            Attention::with_kernels(s.kernels, &descriptor)?.bind(&AttentionBindings {
                q: (s.view(&q.0), q.1),
                k: (s.view(&k.0), k.1),
                v: (s.view(&v.0), v.1),
                mask: mask.as_ref().map(|m| s.view(m)),
                out: (s.view(&out), HeadColumns { first: 0, columns: d }),
                out_params: params.as_ref().map(|m| s.view(m)),
                heads: count,
                batch,
            })
        });
        self.products(2 * batch * count * m * n * d);
        let matrix = Matrix { rows: batch * count * m, columns: d, ..out };
        self.reached(Target { matrix, ..target }, Order::Heads);
        true
    }

    /// A batch of products of `[m, k]` by `[k, n]`, `count` of them side by side where they are.
    fn product_step(
        &mut self,
        node: &Node,
        [a, b, out]: [Operand; 3],
        out_params: Option<Matrix>,
        [batch, count]: [usize; 2],
        why: &'static str,
    ) {
        let layout = if b.turned { Layout::Nk } else { Layout::Kn };
        let d = GemmDescriptor {
            element: a.matrix.element,
            out: out.matrix.element,
            layout,
            ..Default::default()
        };
        // Of one matrix.
        let one = |o: &Operand| match o.heads {
            Some(HeadColumns { columns, .. }) => [o.matrix.rows * count / batch.max(1), columns],
            None => [o.matrix.rows / batch.max(1), o.matrix.columns],
        };
        let ([m, k], [r, c]) = (one(&a), one(&b));
        let by = if b.turned { [c, r] } else { [r, c] };
        let shapes = format!("{batch} x {:?} * {by:?}", [m, k]);
        let matrices = [a.matrix, b.matrix, out.matrix];
        let heads = Heads { count, a: a.heads, b: b.heads, out: out.heads };
        let beside = [a, b, out].iter().any(|o| o.heads.is_some());
        self.step(&node.name, "gemm", shapes, why, &matrices, move |s| {
            if batch == 0 {
                return Ok(Call::default());
            }
            let [a, b, out] = matrices.each_ref().map(|m| s.view(m));
            let out_params = out_params.as_ref().map(|m| s.view(m));
            let bindings = GemmBindings { a, b, bias: None, out, out_params, batch };
            let op = Gemm::with_kernels(s.kernels, &d)?;
            if beside { op.bind_heads(&bindings, &heads) } else { op.bind(&bindings) }
        });
        self.products(batch * m * k * by[1]);
        // Of a matrix whose columns are not all its own, a product touches its own.
        let own = [a, b, out].map(|o| {
            let [rows, columns] = one(&o);
            (batch * rows * o.matrix.element.words(columns)) as u64 * 4
        });
        if let Some(step) = self.out.steps.last_mut() {
            step.bytes = own.iter().sum();
        }
    }

    /// The mask of scores of a shape, its outer dimensions and the scores' merged to three.
    fn attention_mask(&mut self, node: &Node, scores: &[usize], element: Element) -> Result<Option<Masked>> {
        let Some(id) = node.inputs.get(3).copied().flatten() else { return Ok(None) };
        let mask = self.get(id, Order::Natural, &node.name)?.matrix;
        let own = self.shapes[id.index()].clone();
        let own = [vec![1; scores.len().saturating_sub(own.len())], own].concat();
        let fits = own.len() == scores.len() && own.iter().zip(scores).all(|(&a, &b)| a == b || a == 1);
        if !fits || mask.element != element {
            let detail = format!(
                "the mask is {own:?} of {:?}, but the scores are {scores:?} of {element:?}",
                mask.element
            );
            return Err(self.fail(node, detail));
        }
        // Neighbouring dimensions that both are repeated, or both are not, are one.
        let mut merged: Vec<[usize; 2]> = Vec::new();
        for (&a, &b) in own.iter().zip(scores).take(scores.len() - 1).filter(|(_, b)| **b != 1) {
            match merged.last_mut() {
                Some([c, d]) if (*c == *d) == (a == b) => (*c, *d) = (*c * a, *d * b),
                _ => merged.push([a, b]),
            }
        }
        if merged.len() > 3 {
            let detail = format!("a mask {own:?} is repeated along too many dimensions of {scores:?}");
            return Err(self.fail(node, detail));
        }
        let mut outer = [[1; 2]; 3];
        let first = 3 - merged.len();
        outer[first..].copy_from_slice(&merged);
        Ok(Some((mask, outer.map(|o| o[0]), outer.map(|o| o[1]))))
    }
}
