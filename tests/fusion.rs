//! What exporters write out in small ops becomes one op, and means the same.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use weighbridge::Session;
use weighbridge::graph::{Activation, BinaryOp, Dim, Model, Op, ReduceOp, UnaryOp, ValueId};
use weighbridge::tensor::{Data, Element, Tensor};

/// A model under construction: every node is named after the value that it makes.
struct Net {
    model: Model,
    count: usize,
}

const SUM: Op = Op::Add { activation: Activation::Identity };
const MUL: Op = Op::Binary(BinaryOp::Mul);
const DIV: Op = Op::Binary(BinaryOp::Div);

impl Net {
    fn new() -> Self {
        Self { model: Model::new("net"), count: 0 }
    }

    fn input(&mut self, name: &str, shape: &[&str]) -> ValueId {
        let dims: Vec<Dim> =
            shape.iter().map(|s| s.parse().map_or_else(|_| Dim::Symbol((*s).into()), Dim::Fixed)).collect();
        self.model.add_input(name, Element::F32, dims).unwrap()
    }

    fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.count += 1;
        self.model.add_node(format!("{}_{}", op.name(), self.count), op, inputs).unwrap()
    }

    fn constant(&mut self, shape: &[usize], data: Vec<f32>) -> ValueId {
        self.count += 1;
        let name = format!("c{}", self.count);
        self.model.add_constant(name, Tensor::new(shape, Data::F32(data)).unwrap()).unwrap()
    }

    fn scalar(&mut self, x: f32) -> ValueId {
        self.constant(&[], vec![x])
    }

    fn times(&mut self, x: ValueId, factor: f32) -> ValueId {
        let c = self.scalar(factor);
        self.op(MUL, &[x, c])
    }

    fn plus(&mut self, x: ValueId, term: f32) -> ValueId {
        let c = self.scalar(term);
        self.op(SUM, &[x, c])
    }

    fn mean(&mut self, x: ValueId, axis: usize) -> ValueId {
        self.op(Op::Reduce { op: ReduceOp::Mean, axes: vec![axis], keep: true }, &[x])
    }

    /// The names of the ops left when the model is simplified; and that both forms give the same numbers, to `bound`
    /// at each element, for inputs of these shapes.
    fn check(mut self, output: ValueId, expected: &[&str], shapes: &[(&str, &[usize])], bound: f64) {
        self.model.set_outputs(&[output]).unwrap();
        self.model.validate().unwrap();
        let fused = self.model.clone().simplify().unwrap();
        let ops: Vec<&str> = fused.nodes().iter().map(|n| n.op.name()).collect();
        assert_eq!(ops, expected);
        let named: usize = fused.nodes().iter().map(|n| n.fused.len() + 1).sum();
        assert_eq!(
            named,
            self.model.nodes().len(),
            "every node has a place in what is left: {:?}",
            fused.nodes()
        );
        let Some(gpu) = gpu() else { return };
        let mut rng = Rng(5);
        let inputs: Vec<(&str, Tensor)> = shapes
            .iter()
            .map(|(name, shape)| (*name, Tensor::f32(*shape, rng.f32s(shape.iter().product())).unwrap()))
            .collect();
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
        let run = |model: &Model| {
            pollster::block_on(Session::new(gpu, model).unwrap().run(&inputs)).unwrap().remove(0).to_f32()
        };
        let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
        let explained = Session::new(gpu, &fused).unwrap().explain(&shapes).unwrap();
        assert!(explained.contains("; fused: "), "{explained}");
        let (unfused, fused) = (run(&self.model), run(&fused));
        let mut largest = 0f64;
        for (i, (a, b)) in unfused.iter().zip(&fused).enumerate() {
            let (a, b) = (f64::from(*a), f64::from(*b));
            assert!((a - b).abs() <= bound, "element {i}: {a} unfused, {b} fused, bound {bound}");
            largest = largest.max(a.abs());
        }
        assert!(largest > 1e3 * bound, "a bound of {bound} says nothing of values up to {largest}");
    }
}

/// One rounding of a number up to `of`.
fn ulp(of: f64) -> f64 {
    of * f64::from(f32::EPSILON) / 2.0
}

const X: &[(&str, &[usize])] = &[("x", &[3, 37])];

// Inputs are within +-1. An erf may be off by 5e-7 (tests/unary.rs) in both forms, which x/2 halves; each of the few
// sums and products on the way rounds once.
const GELU: f64 = 5e-7;

#[test]
fn gelu_in_any_order() {
    for order in 0..3 {
        let mut net = Net::new();
        let x = net.input("x", &["rows", "37"]);
        let scaled = if order == 0 {
            let c = net.scalar(2f32.sqrt());
            net.op(DIV, &[x, c])
        } else {
            net.times(x, std::f32::consts::FRAC_1_SQRT_2)
        };
        let erf = net.op(Op::Unary(UnaryOp::Erf), &[scaled]);
        let gate = net.plus(erf, 1.0);
        let y = match order {
            0 => {
                let y = net.op(MUL, &[x, gate]);
                net.times(y, 0.5)
            }
            1 => {
                let half = net.times(x, 0.5);
                net.op(MUL, &[half, gate])
            }
            _ => {
                let half = net.times(gate, 0.5);
                net.op(MUL, &[half, x])
            }
        };
        net.check(y, &["Gelu"], X, GELU + 8.0 * ulp(2.0));
    }
}

#[test]
fn gelu_by_tanh() {
    for power in [true, false] {
        let mut net = Net::new();
        let x = net.input("x", &["rows", "37"]);
        let cube = if power {
            let three = net.scalar(3.0);
            net.op(Op::Binary(BinaryOp::Pow), &[x, three])
        } else {
            let square = net.op(MUL, &[x, x]);
            net.op(MUL, &[square, x])
        };
        let cubic = net.times(cube, 0.044_715);
        let sum = net.op(SUM, &[x, cubic]);
        let scaled = net.times(sum, 0.797_884_6);
        let tanh = net.op(Op::Unary(UnaryOp::Tanh), &[scaled]);
        let gate = net.plus(tanh, 1.0);
        let half = net.times(x, 0.5);
        let y = net.op(MUL, &[half, gate]);
        // The nodes of the cube are not named: an exporter may share them.
        net.model.set_outputs(&[y]).unwrap();
        let fused = net.model.clone().simplify().unwrap();
        assert_eq!(fused.nodes().len(), 1);
        assert_eq!(fused.nodes()[0].op, Op::Unary(UnaryOp::Gelu { tanh: true }));
    }
}

#[test]
fn gates() {
    let mut net = Net::new();
    let x = net.input("x", &["rows", "37"]);
    let s = net.op(Op::Unary(UnaryOp::Sigmoid), &[x]);
    let y = net.op(MUL, &[x, s]);
    net.check(y, &["Swish"], X, 4e-7 + 4.0 * ulp(2.0));

    let mut net = Net::new();
    let x = net.input("x", &["rows", "37"]);
    let s = net.op(Op::Unary(UnaryOp::Softplus), &[x]);
    let t = net.op(Op::Unary(UnaryOp::Tanh), &[s]);
    let y = net.op(MUL, &[t, x]);
    net.check(y, &["Mish"], X, 1e-6 + 4.0 * ulp(2.0));

    // x * relu6(x + 3) / 6, divided before or after.
    for before in [true, false] {
        let mut net = Net::new();
        let x = net.input("x", &["rows", "37"]);
        let three = net.plus(x, 3.0);
        let clip = net.op(Op::Activation(Activation::Clip { lo: 0.0, hi: 6.0 }), &[three]);
        let six = net.scalar(6.0);
        let y = if before {
            let gate = net.op(DIV, &[clip, six]);
            net.op(MUL, &[x, gate])
        } else {
            let y = net.op(MUL, &[x, clip]);
            net.op(DIV, &[y, six])
        };
        net.model.set_outputs(&[y]).unwrap();
        let fused = net.model.simplify().unwrap();
        assert_eq!(fused.nodes().len(), 1);
        assert_eq!(fused.nodes()[0].op, Op::Unary(UnaryOp::HardSwish));
    }
}

/// Normalized values are at most sqrt(37), and each of the two means sums 37 terms of rounded numbers.
const NORM: f64 = 6.1 * (37.0 + 8.0) * f32::EPSILON as f64;

#[test]
fn norms() {
    let mut rng = Rng(1);
    for reciprocal in [true, false] {
        for centered in [true, false] {
            let mut net = Net::new();
            let x = net.input("x", &["rows", "37"]);
            let d = if centered {
                let mean = net.mean(x, 1);
                net.op(Op::Binary(BinaryOp::Sub), &[x, mean])
            } else {
                x
            };
            let two = net.scalar(2.0);
            let square = net.op(Op::Binary(BinaryOp::Pow), &[d, two]);
            let variance = net.mean(square, 1);
            let sum = net.plus(variance, 1e-5);
            let root = net.op(Op::Unary(UnaryOp::Sqrt), &[sum]);
            let normed = if reciprocal {
                let inverse = net.op(Op::Unary(UnaryOp::Reciprocal), &[root]);
                net.op(MUL, &[d, inverse])
            } else {
                net.op(DIV, &[d, root])
            };
            let scale = net.constant(&[37], rng.f32s(37).iter().map(|x| x.clamp(-1.0, 1.0)).collect());
            let scaled = net.op(MUL, &[normed, scale]);
            let bias = net.constant(&[37], rng.f32s(37));
            let y = net.op(SUM, &[scaled, bias]);
            let name = if centered { "LayerNormalization" } else { "RMSNormalization" };
            net.check(y, &[name], X, NORM + 2.0 * ulp(12.0));
        }
    }
}

#[test]
fn attention_with_a_mask() {
    for (scaled, masked) in [(true, true), (true, false), (false, true)] {
        let mut net = Net::new();
        let q = net.input("q", &["batch", "2", "m", "8"]);
        let k = net.input("k", &["batch", "2", "8", "n"]);
        let v = net.input("v", &["batch", "2", "n", "5"]);
        let mut scores = net.op(Op::MatMul, &[q, k]);
        if scaled {
            let c = net.scalar(8f32.sqrt());
            scores = net.op(DIV, &[scores, c]);
        }
        let mut shapes: Vec<(&str, &[usize])> =
            vec![("q", &[2, 2, 7, 8]), ("k", &[2, 2, 8, 9]), ("v", &[2, 2, 9, 5])];
        if masked {
            let mask = net.input("mask", &["batch", "1", "1", "n"]);
            scores = net.op(SUM, &[scores, mask]);
            shapes.push(("mask", &[2, 1, 1, 9]));
        }
        let weights = net.op(Op::Softmax { axis: 3, log: false }, &[scores]);
        let y = net.op(Op::MatMul, &[weights, v]);
        // Scores are up to 9 and rounded ten times, which exp makes a relative error of as much; the weights sum to 1,
        // and v is up to 1.
        net.check(y, &["Attention"], &shapes, 2.0 * (10.0 * ulp(9.0) + 20.0 * ulp(1.0)));
    }
}

#[test]
fn what_others_read_stays() {
    let mut net = Net::new();
    let q = net.input("q", &["2", "m", "8"]);
    let k = net.input("k", &["2", "8", "n"]);
    let v = net.input("v", &["2", "n", "5"]);
    let scores = net.op(Op::MatMul, &[q, k]);
    let weights = net.op(Op::Softmax { axis: 2, log: false }, &[scores]);
    let y = net.op(Op::MatMul, &[weights, v]);
    net.model.set_outputs(&[y, weights]).unwrap();
    let fused = net.model.simplify().unwrap();
    let ops: Vec<&str> = fused.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["MatMul", "Softmax", "MatMul"]);
}
