//! Patterns of small ops that exporters write out, as the one op that there is a kernel for.
//!
//! A pattern is found at its last node, which becomes the fused op in place; what it no longer reads is left for
//! `Model::drop_unused`. Whatever else reads an intermediate value keeps it alive, so that fusing never changes a result.

use super::{Activation, BinaryOp, Dim, Model, Node, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::Element;

impl Model {
    /// Fuses what it recognizes: GELU, SiLU, HardSwish and Mish, LayerNorm and RMSNorm, attention.
    pub(super) fn fuse(&mut self) {
        // Attention reads softmax, norms read nothing of the others: one walk in order finds the inner ones first.
        let mut tables = Tables::new(self);
        for i in 0..self.nodes.len() {
            let finder = Finder { model: self, producer: &tables.producer, uses: &tables.uses };
            let found = match &self.nodes[i].op {
                Op::Binary(BinaryOp::Mul) => {
                    finder.gelu(i).or_else(|| finder.gated(i)).or_else(|| finder.scaled_norm(i))
                }
                Op::Binary(BinaryOp::Div) => finder.norm(i).or_else(|| finder.hard_swish_divided(i)),
                Op::Add { activation: Activation::Identity } => finder.shifted_norm(i),
                Op::MatMul => finder.attention(i),
                _ => None,
            };
            if let Some(Fused { op, inputs, from }) = found {
                let node = &mut self.nodes[i];
                node.op = op;
                node.inputs = inputs;
                node.fused.extend(from);
                tables = Tables::new(self);
            }
        }
        self.drop_unused();
    }
}

/// What a pattern becomes.
struct Fused {
    op: Op,
    inputs: Vec<Option<ValueId>>,
    /// Names of the nodes that it replaces, without the last.
    from: Vec<String>,
}

/// Who makes each value, and how many read it, the caller counting as one.
struct Tables {
    producer: Vec<Option<usize>>,
    uses: Vec<usize>,
}

impl Tables {
    fn new(model: &Model) -> Self {
        let mut uses = vec![0; model.values.len()];
        let read = model.nodes.iter().flat_map(|n| n.inputs.iter().flatten());
        read.chain(&model.outputs).for_each(|id| uses[id.0] += 1);
        Self { producer: model.producers(), uses }
    }
}

struct Finder<'m> {
    model: &'m Model,
    producer: &'m [Option<usize>],
    uses: &'m [usize],
}

/// The square root of 2, and what rounding and truncated decimals make of it.
fn near(x: f32, to: f32) -> bool {
    (x - to).abs() <= 1e-4 * to.abs()
}

impl<'m> Finder<'m> {
    fn node(&self, i: usize) -> &'m Node {
        &self.model.nodes[i]
    }

    /// The node that makes a value.
    fn made_by(&self, id: ValueId) -> Option<&'m Node> {
        self.producer[id.0].map(|i| self.node(i))
    }

    /// Both inputs of a node of two.
    fn pair(&self, node: &Node) -> Option<[ValueId; 2]> {
        match node.inputs[..] {
            [Some(a), Some(b)] => Some([a, b]),
            _ => None,
        }
    }

    /// Both inputs of the node that makes a value, where it is this op.
    fn operands(&self, id: ValueId, is: impl Fn(&Op) -> bool) -> Option<(&'m Node, [ValueId; 2])> {
        let node = self.made_by(id).filter(|n| is(&n.op))?;
        Some((node, self.pair(node)?))
    }

    /// The input of the node that makes a value, where it is this function.
    fn argument(&self, id: ValueId, f: impl Fn(UnaryOp) -> bool) -> Option<(&'m Node, ValueId)> {
        let node = self.made_by(id)?;
        match node.op {
            Op::Unary(op) if f(op) => Some((node, node.inputs[0]?)),
            _ => None,
        }
    }

    /// A float constant of one element.
    fn scalar(&self, id: ValueId) -> Option<f32> {
        let tensor = self.model.constant(id)?;
        let float = matches!(tensor.element(), Element::F32 | Element::F16);
        (float && tensor.len() == 1).then(|| tensor.to_f32()[0])
    }

    /// The other of two values, where one is this.
    fn other(pair: [ValueId; 2], one: ValueId) -> Option<ValueId> {
        match pair {
            [a, b] if a == one => Some(b),
            [a, b] if b == one => Some(a),
            _ => None,
        }
    }

    /// The value and the constant of a pair of them.
    fn with_scalar(&self, [a, b]: [ValueId; 2]) -> Option<(ValueId, f32)> {
        self.scalar(b).map(|s| (a, s)).or_else(|| self.scalar(a).map(|s| (b, s)))
    }

    /// `x` of a product with, or quotient by, a constant: `x * factor`.
    fn scaled(&self, id: ValueId) -> Option<(&'m Node, ValueId, f32)> {
        let node = self.made_by(id)?;
        let [a, b] = self.pair(node)?;
        match node.op {
            Op::Binary(BinaryOp::Mul) => self.with_scalar([a, b]).map(|(x, s)| (node, x, s)),
            Op::Binary(BinaryOp::Div) => self.scalar(b).map(|s| (node, a, 1.0 / s)),
            _ => None,
        }
    }

    /// The factors of a product of products, and the nodes that multiply them.
    fn factors(&self, node: &'m Node, factors: &mut Vec<ValueId>, nodes: &mut Vec<String>) -> Option<()> {
        for id in self.pair(node)? {
            match self.made_by(id).filter(|n| n.op == Op::Binary(BinaryOp::Mul) && factors.len() < 4) {
                Some(inner) if self.uses[id.0] == 1 => {
                    nodes.push(inner.name.clone());
                    self.factors(inner, factors, nodes)?;
                }
                _ => factors.push(id),
            }
        }
        Some(())
    }

    /// `x * 0.5 * (1 + erf(x / sqrt 2))` in any order, or with `tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
    fn gelu(&self, i: usize) -> Option<Fused> {
        let (mut factors, mut from) = (Vec::new(), Vec::new());
        self.factors(self.node(i), &mut factors, &mut from)?;
        let half = factors.iter().position(|&id| self.scalar(id) == Some(0.5))?;
        factors.remove(half);
        let [a, b] = factors[..] else { return None };
        let try_one = |x: ValueId, gate: ValueId| {
            let (add, operands) =
                self.operands(gate, |op| matches!(op, Op::Add { activation: Activation::Identity }))?;
            let (inner, one) = self.with_scalar(operands)?;
            if one != 1.0 {
                return None;
            }
            let mut from = from.clone();
            from.push(add.name.clone());
            let tanh = if let Some((erf, argument)) = self.argument(inner, |f| f == UnaryOp::Erf) {
                let (scale, y, s) = self.scaled(argument)?;
                if y != x || !near(s, std::f32::consts::FRAC_1_SQRT_2) {
                    return None;
                }
                from.extend([erf.name.clone(), scale.name.clone()]);
                false
            } else {
                let (tanh, argument) = self.argument(inner, |f| f == UnaryOp::Tanh)?;
                let (scale, sum, s) = self.scaled(argument)?;
                let (add, sum) =
                    self.operands(sum, |op| matches!(op, Op::Add { activation: Activation::Identity }))?;
                let (cubic, y, c) = self.scaled(Self::other(sum, x)?)?;
                if !near(s, 0.797_884_6) || !near(c, 0.044_715) || !self.is_cube(y, x) {
                    return None;
                }
                from.extend([&tanh.name, &scale.name, &add.name, &cubic.name].map(String::clone));
                true
            };
            Some(Fused { op: Op::Unary(UnaryOp::Gelu { tanh }), inputs: vec![Some(x)], from })
        };
        try_one(a, b).or_else(|| try_one(b, a))
    }

    /// Whether a value is another one's cube.
    fn is_cube(&self, y: ValueId, x: ValueId) -> bool {
        if let Some((_, [base, exponent])) = self.operands(y, |op| *op == Op::Binary(BinaryOp::Pow)) {
            return base == x && self.scalar(exponent) == Some(3.0);
        }
        let product = |id| self.operands(id, |op| *op == Op::Binary(BinaryOp::Mul));
        let square = product(y).and_then(|(_, pair)| Self::other(pair, x));
        square.and_then(product).is_some_and(|(_, pair)| pair == [x, x])
    }

    /// `x * f(x)`: SiLU, HardSwish, Mish.
    fn gated(&self, i: usize) -> Option<Fused> {
        let node = self.node(i);
        let try_one = |x: ValueId, gate: ValueId| {
            let made = self.made_by(gate)?;
            let (op, inner) = match made.op {
                Op::Unary(UnaryOp::Sigmoid) if made.inputs[0] == Some(x) => {
                    (UnaryOp::Swish { alpha: 1.0 }, None)
                }
                Op::Unary(UnaryOp::HardSigmoid { alpha, beta })
                    if made.inputs[0] == Some(x) && near(alpha, 1.0 / 6.0) && beta == 0.5 =>
                {
                    (UnaryOp::HardSwish, None)
                }
                Op::Unary(UnaryOp::Tanh) => {
                    let (softplus, y) = self.argument(made.inputs[0]?, |f| f == UnaryOp::Softplus)?;
                    (UnaryOp::Mish, Some(softplus).filter(|_| y == x)?.into())
                }
                // x * (clip(x + 3, 0, 6) / 6)
                _ => {
                    let (_, clip, s) = self.scaled(gate).filter(|&(_, _, s)| near(s, 1.0 / 6.0))?;
                    debug_assert!(s > 0.0);
                    self.clip_of_three_more(clip, x)?;
                    (UnaryOp::HardSwish, self.made_by(clip))
                }
            };
            let from = std::iter::once(made).chain(inner).map(|n: &Node| n.name.clone()).collect();
            Some(Fused { op: Op::Unary(op), inputs: vec![Some(x)], from })
        };
        let [a, b] = self.pair(node)?;
        try_one(a, b).or_else(|| try_one(b, a))
    }

    /// `(x * clip(x + 3, 0, 6)) / 6`.
    fn hard_swish_divided(&self, i: usize) -> Option<Fused> {
        let [product, six] = self.pair(self.node(i))?;
        let (mul, [a, b]) = self.operands(product, |op| *op == Op::Binary(BinaryOp::Mul))?;
        if self.scalar(six) != Some(6.0) {
            return None;
        }
        let try_one = |x, clip| {
            self.clip_of_three_more(clip, x)?;
            let from = vec![mul.name.clone(), self.made_by(clip)?.name.clone()];
            Some(Fused { op: Op::Unary(UnaryOp::HardSwish), inputs: vec![Some(x)], from })
        };
        try_one(a, b).or_else(|| try_one(b, a))
    }

    /// Whether a value is `clip(x + 3, 0, 6)`; the clip may be in the sum already.
    fn clip_of_three_more(&self, clip: ValueId, x: ValueId) -> Option<()> {
        let relu6 = Activation::Clip { lo: 0.0, hi: 6.0 };
        let made = self.made_by(clip)?;
        let sum = match made.op {
            Op::Activation(a) if a == relu6 => self.made_by(made.inputs[0]?)?,
            Op::Add { activation } if activation == relu6 => made,
            _ => return None,
        };
        let (y, three) = self.with_scalar(self.pair(sum).filter(|_| matches!(sum.op, Op::Add { .. }))?)?;
        (y == x && three == 3.0).then_some(())
    }

    /// The mean over the last axis, which stays: the node and what it is of.
    fn mean(&self, id: ValueId) -> Option<(&'m Node, ValueId)> {
        let node = self.made_by(id)?;
        let x = node.inputs[0]?;
        let rank = self.model.value(x).shape.len();
        match &node.op {
            Op::Reduce { op: ReduceOp::Mean, axes, keep: true } if *axes == [rank.checked_sub(1)?] => {
                Some((node, x))
            }
            _ => None,
        }
    }

    /// What a value is the square of.
    fn squared(&self, id: ValueId) -> Option<(&'m Node, ValueId)> {
        let node = self.made_by(id)?;
        let [a, b] = self.pair(node)?;
        match node.op {
            Op::Binary(BinaryOp::Pow) if self.scalar(b) == Some(2.0) => Some((node, a)),
            Op::Binary(BinaryOp::Mul) if a == b => Some((node, a)),
            _ => None,
        }
    }

    /// `sqrt(mean(y^2) + epsilon)`: y, epsilon, and the nodes.
    fn deviation(&self, id: ValueId) -> Option<(ValueId, f32, Vec<String>)> {
        let (root, sum) = self.argument(id, |f| f == UnaryOp::Sqrt)?;
        let (add, pair) =
            self.operands(sum, |op| matches!(op, Op::Add { activation: Activation::Identity }))?;
        let (mean, epsilon) = self.with_scalar(pair)?;
        let (reduce, square) = self.mean(mean)?;
        let (power, y) = self.squared(square)?;
        let from = [root, add, reduce, power].map(|n| n.name.clone()).to_vec();
        Some((y, epsilon, from))
    }

    /// `y / sqrt(mean(y^2) + epsilon)`, where y may be `x - mean(x)`.
    fn norm_of(&self, y: ValueId, deviation: ValueId) -> Option<Fused> {
        let (squared, epsilon, mut from) = self.deviation(deviation)?;
        if squared != y {
            return None;
        }
        let axis = self.model.value(y).shape.len().checked_sub(1)?;
        let centered = self.operands(y, |op| *op == Op::Binary(BinaryOp::Sub)).and_then(|(sub, [x, m])| {
            let (mean, of) = self.mean(m)?;
            (of == x).then_some((sub, mean, x))
        });
        let (x, rms) = match centered {
            Some((sub, mean, x)) => {
                from.extend([sub.name.clone(), mean.name.clone()]);
                (x, false)
            }
            None => (y, true),
        };
        Some(Fused { op: Op::LayerNorm { axis, epsilon, rms }, inputs: vec![Some(x)], from })
    }

    fn norm(&self, i: usize) -> Option<Fused> {
        let [y, deviation] = self.pair(self.node(i))?;
        self.norm_of(y, deviation)
    }

    /// `y * (1 / sqrt(..))`, or a norm that is there already times its scale.
    fn scaled_norm(&self, i: usize) -> Option<Fused> {
        let [a, b] = self.pair(self.node(i))?;
        let reciprocal = |y, id| {
            let inverse = self.argument(id, |f| f == UnaryOp::Reciprocal).or_else(|| {
                let (node, [one, d]) = self.operands(id, |op| *op == Op::Binary(BinaryOp::Div))?;
                (self.scalar(one) == Some(1.0)).then_some((node, d))
            });
            let (node, deviation) = inverse?;
            let mut fused = self.norm_of(y, deviation)?;
            fused.from.push(node.name.clone());
            Some(fused)
        };
        let times = |norm: ValueId, scale: ValueId| {
            let node = self.made_by(norm).filter(|n| n.inputs.len() == 1 && self.uses[norm.0] == 1)?;
            let Op::LayerNorm { .. } = node.op else { return None };
            self.fits_last_axis(scale, norm)?;
            let from = node.fused.iter().chain([&node.name]).cloned().collect();
            Some(Fused { op: node.op.clone(), inputs: vec![node.inputs[0], Some(scale)], from })
        };
        reciprocal(a, b).or_else(|| reciprocal(b, a)).or_else(|| times(a, b)).or_else(|| times(b, a))
    }

    /// A norm with a scale, plus its bias.
    fn shifted_norm(&self, i: usize) -> Option<Fused> {
        let [a, b] = self.pair(self.node(i))?;
        let plus = |norm: ValueId, bias: ValueId| {
            let node = self.made_by(norm).filter(|n| n.inputs.len() == 2 && self.uses[norm.0] == 1)?;
            let Op::LayerNorm { .. } = node.op else { return None };
            self.fits_last_axis(bias, norm)?;
            let from = node.fused.iter().chain([&node.name]).cloned().collect();
            Some(Fused {
                op: node.op.clone(),
                inputs: vec![node.inputs[0], node.inputs[1], Some(bias)],
                from,
            })
        };
        plus(a, b).or_else(|| plus(b, a))
    }

    /// Whether a value is a constant vector as long as another's last axis.
    fn fits_last_axis(&self, id: ValueId, x: ValueId) -> Option<()> {
        self.model.constant(id)?;
        let last = self.model.value(x).shape.last()?;
        matches!(&self.model.value(id).shape[..], [n] if n == last || last.fixed().is_none()).then_some(())
    }

    /// `softmax(scale * q k + mask) v`.
    fn attention(&self, i: usize) -> Option<Fused> {
        let [weights, v] = self.pair(self.node(i))?;
        let sole = |id: ValueId| self.uses[id.0] == 1;
        let softmax = self.made_by(weights).filter(|_| sole(weights))?;
        let rank = self.model.value(weights).shape.len();
        if softmax.op != (Op::Softmax { axis: rank.checked_sub(1)?, log: false }) || rank < 2 {
            return None;
        }
        let mut from = vec![softmax.name.clone()];
        let mut scores = softmax.inputs[0].filter(|&s| sole(s))?;
        let mut mask = None;
        if let Some((add, pair)) =
            self.operands(scores, |op| matches!(op, Op::Add { activation: Activation::Identity }))
        {
            let is_score = |id: ValueId| {
                let product = self.scaled(id).map_or(id, |(_, x, _)| x);
                sole(id) && self.made_by(product).is_some_and(|n| n.op == Op::MatMul)
            };
            let inner = pair.into_iter().find(|&id| is_score(id))?;
            mask = Some(Self::other(pair, inner)?);
            // The scores must not be what is broadcast.
            let dims = |id: ValueId| &self.model.value(id).shape;
            if dims(inner).len() != rank || dims(mask?).len() > rank {
                return None;
            }
            from.push(add.name.clone());
            scores = inner;
        }
        let mut scale = 1.0;
        if let Some((node, x, s)) = self.scaled(scores) {
            from.push(node.name.clone());
            (scores, scale) = (x, s);
        }
        let (product, [q, k]) = self.operands(scores, |op| *op == Op::MatMul).filter(|_| sole(scores))?;
        from.push(product.name.clone());
        let two = |id: ValueId| self.model.value(id).shape.len() >= 2;
        // An outer dimension that the mask alone has would be the result's too.
        let wider = mask.is_some_and(|m| {
            let (m, s) = (&self.model.value(m).shape, &self.model.value(scores).shape);
            let same = |(m, s): (&Dim, &Dim)| *m == Dim::Fixed(1) || m == s || *s != Dim::Fixed(1);
            !m.iter().rev().zip(s.iter().rev()).all(same)
        });
        if wider || !two(q) || !two(k) || !two(v) {
            return None;
        }
        let mut inputs = vec![Some(q), Some(k), Some(v)];
        inputs.extend(mask.map(Some));
        Some(Fused { op: Op::Attention { scale }, inputs, from })
    }
}
