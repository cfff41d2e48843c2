//! `select` against the reference; and elementwise ops of all kinds as models.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, run};
use weighbridge::graph::{BinaryOp, Dim, Model, Op, Output as Made, UnaryOp, ValueId};
use weighbridge::ops::{Select, SelectBindings, SelectDescriptor};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Gpu, Session, reference};

fn integers(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape, Data::I32((0..n).map(|_| rng.next() as i32 % 100 - 50).collect())).unwrap()
}

fn of(rng: &mut Rng, element: Element, shape: &[usize]) -> Tensor {
    let x = integers(rng, shape);
    let even = |x: &i32| x % 2 == 0;
    match (element, x.data()) {
        (Element::Bool, Data::I32(v)) => {
            Tensor::new(shape, Data::Bool(v.iter().map(even).collect())).unwrap()
        }
        _ => reference::cast(&x, element).unwrap(),
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(4);
    let cases: [[&[usize]; 3]; 9] = [
        [&[], &[], &[]],
        [&[0, 3], &[3], &[1]],
        [&[5], &[5], &[5]],
        [&[3, 7], &[3, 7], &[3, 7]],
        [&[513, 1], &[5], &[513, 5]],
        [&[5], &[513, 1], &[1]],
        [&[2, 1, 4, 1], &[3, 1, 8], &[2, 3, 4, 8]],
        [&[2, 1, 3, 1, 2, 6], &[1, 3, 1, 2, 1, 6], &[2, 3, 3, 2, 2, 1]],
        [&[64, 32], &[64, 32], &[1]],
    ];
    for (i, [c_shape, a_shape, b_shape]) in cases.into_iter().enumerate() {
        for element in [Element::F32, Element::I32, Element::F16] {
            let c = of(&mut rng, Element::Bool, c_shape);
            let (a, b) = (of(&mut rng, element, a_shape), of(&mut rng, element, b_shape));
            let want = reference::select(&c, &a, &b).unwrap();
            let columns = want.shape().last().copied().unwrap_or(1);
            let rows = want.shape().iter().rev().skip(1).product();
            let place = PLACES[i % 3];
            let c = reference::cast(&c, Element::I32).unwrap();
            let [ci, ai, bi] = [&c, &a, &b].map(|x| Input::new(gpu, x, place));
            let out = Output::new(gpu, element, rows, columns, place);
            let op = Select::with_kernels(gpu.kernels(), &SelectDescriptor { element }).unwrap();
            let call = op.bind(&SelectBindings {
                condition: ci.view(),
                condition_shape: c_shape,
                a: ai.view(),
                a_shape,
                b: bi.view(),
                b_shape,
                out: out.view(),
            });
            run(gpu, call);
            let got = out.read(gpu).reshape(want.shape()).unwrap();
            assert_eq!(got, want, "{c_shape:?} {a_shape:?} {b_shape:?} {element:?}");
        }
    }
    assert!(matches!(
        Select::new(gpu.device(), &SelectDescriptor { element: Element::I8 }),
        Err(Error::Element { .. })
    ));
}

/// A model and what the reference makes of its inputs, value by value.
struct Chain {
    model: Model,
    inputs: Vec<(String, Tensor)>,
    values: Vec<(ValueId, Tensor)>,
}

impl Chain {
    fn new() -> Self {
        Self { model: Model::default(), inputs: Vec::new(), values: Vec::new() }
    }

    fn input(&mut self, x: Tensor) -> ValueId {
        let name = format!("x{}", self.inputs.len());
        let shape: Vec<Dim> = x.shape().iter().map(|&n| Dim::Fixed(n)).collect();
        let id = self.model.add_input(&name, x.element(), shape).unwrap();
        self.inputs.push((name, x.clone()));
        self.values.push((id, x));
        id
    }

    fn constant(&mut self, x: Tensor) -> ValueId {
        let id = self.model.add_constant(format!("c{}", self.values.len()), x.clone()).unwrap();
        self.values.push((id, x));
        id
    }

    fn of(&self, id: ValueId) -> Tensor {
        self.values.iter().find(|(v, _)| *v == id).unwrap().1.clone()
    }

    fn node(&mut self, op: Op, element: Element, inputs: &[ValueId]) -> ValueId {
        let read: Vec<Tensor> = inputs.iter().map(|&id| self.of(id)).collect();
        let read: Vec<_> = read.iter().map(Some).collect();
        let made = match &op {
            Op::GlobalAveragePool => {
                let x = read[0].unwrap();
                let [n, c, area] = [x.shape()[0], x.shape()[1], x.shape()[2] * x.shape()[3]];
                let mean = |p: &[f32]| p.iter().sum::<f32>() / area as f32;
                Tensor::f32([n, c, 1, 1], x.as_f32().unwrap().chunks(area).map(mean).collect::<Vec<_>>())
                    .unwrap()
            }
            op => reference::evaluate(op, &read, element).unwrap().unwrap(),
        };
        let name = format!("n{}", self.values.len());
        let id =
            self.model.add_node_as(name.clone(), op, inputs, Made { name, element, quant: None }).unwrap();
        self.values.push((id, made));
        id
    }

    fn check(mut self, gpu: &Gpu, outputs: &[ValueId]) {
        self.model.set_outputs(outputs).unwrap();
        let session = Session::new(gpu, &self.model).unwrap();
        let inputs: Vec<_> = self.inputs.iter().map(|(n, x)| (n.as_str(), x)).collect();
        let got = pollster::block_on(session.run(&inputs)).unwrap();
        for (got, &id) in got.iter().zip(outputs) {
            let want = self.of(id);
            let name = &self.model.value(id).name;
            assert_eq!((got.shape(), got.element()), (want.shape(), want.element()), "{name}");
            match want.element() {
                Element::F32 | Element::F16 => {
                    // A few operations of numbers up to 60, each within some units of f32 or one of f16.
                    let unit = if want.element() == Element::F16 { 2f32.powi(-9) } else { 2f32.powi(-18) };
                    for (g, w) in got.to_f32().iter().zip(want.to_f32()) {
                        assert!((g - w).abs() <= unit * (1.0 + w.abs()), "{name}: {g} is not {w}");
                    }
                }
                _ => assert_eq!(*got, want, "{name}"),
            }
        }
    }
}

#[test]
fn models_of_integers_bytes_and_truth_values() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(8);
    let mut all = Chain::new();
    let mut outputs = Vec::new();
    for element in [Element::I64, Element::I32, Element::I8, Element::U8] {
        let x = all.input(of(&mut rng, element, &[3, 5]));
        let y = all.constant(of(&mut rng, element, &[5]));
        let sum = all.node(Op::Binary(BinaryOp::Mul), element, &[x, y]);
        let less = all.node(Op::Binary(BinaryOp::Less), Element::Bool, &[sum, y]);
        let not = all.node(Op::Unary(UnaryOp::Not), Element::Bool, &[less]);
        let size = all.node(Op::Unary(UnaryOp::Abs), element, &[x]);
        let one = all.node(Op::Where, element, &[not, size, y]);
        let real = all.node(Op::Cast, Element::F16, &[one]);
        let truth = all.node(Op::Cast, Element::Bool, &[sum]);
        let back = all.node(Op::Cast, element, &[truth]);
        outputs.extend([sum, less, one, real, truth, back]);
    }
    all.check(gpu, &outputs);
}

#[test]
fn models_of_images_keep_their_channels_last() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(6);
    let mut all = Chain::new();
    let mut small = |shape: &[usize]| Tensor::f32(shape, rng.f32s(shape.iter().product::<usize>())).unwrap();
    let x = all.input(small(&[2, 5, 3, 4]));
    let (scale, offset) = (all.constant(small(&[5, 1, 1])), all.constant(small(&[1, 5, 1, 1])));
    let (one, plane, row) = (all.constant(small(&[])), all.input(small(&[5, 3, 4])), all.input(small(&[4])));
    let f = Element::F32;
    let mut y = x;
    for other in [scale, offset, one, plane, row] {
        y = all.node(Op::Binary(BinaryOp::Mul), f, &[y, other]);
        y = all.node(Op::Binary(BinaryOp::Sub), f, &[other, y]);
    }
    let active = all.node(Op::Unary(UnaryOp::Swish { alpha: 1.0 }), f, &[y]);
    let mean = all.node(Op::GlobalAveragePool, f, &[active]);
    let gate = all.node(Op::Unary(UnaryOp::HardSigmoid { alpha: 0.2, beta: 0.5 }), f, &[mean]);
    let gated = all.node(Op::Binary(BinaryOp::Mul), f, &[active, gate]);
    let large = all.node(Op::Binary(BinaryOp::Greater), Element::Bool, &[gated, one]);
    let chosen = all.node(Op::Where, f, &[large, gated, scale]);
    let means = all.node(Op::GlobalAveragePool, f, &[chosen]);
    let half = all.node(Op::Cast, Element::F16, &[active]);
    let bytes = all.node(Op::Cast, Element::I8, &[half]);
    all.check(gpu, &[gate, gated, means, half, bytes]);
}
