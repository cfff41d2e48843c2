//! `binary` against the reference: every function, every way to broadcast.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::graph::BinaryOp;
use weighbridge::ops::{Binary, BinaryBindings, BinaryDescriptor};
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Gpu};

const FUNCTIONS: [BinaryOp; 15] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Pow,
    BinaryOp::Min,
    BinaryOp::Max,
    BinaryOp::Mod { fmod: false },
    BinaryOp::Mod { fmod: true },
    BinaryOp::PRelu,
    BinaryOp::Equal,
    BinaryOp::Greater,
    BinaryOp::GreaterOrEqual,
    BinaryOp::Less,
    BinaryOp::LessOrEqual,
];
const LOGIC: [BinaryOp; 3] = [BinaryOp::And, BinaryOp::Or, BinaryOp::Xor];

fn kernel(gpu: &Gpu, function: BinaryOp, a: &Tensor, b: &Tensor, place: Place) -> Tensor {
    let element = a.element();
    let shape = reference::binary(BinaryOp::Equal, a, b).unwrap().shape().to_vec();
    let (rows, columns) = (shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(1));
    let made = if function.is_predicate() { Element::I32 } else { element };
    let inputs = [Input::new(gpu, a, place), Input::new(gpu, b, place)];
    let out = Output::new(gpu, made, rows, columns, place);
    let d = BinaryDescriptor { element, out: made, function };
    let bindings = BinaryBindings {
        out_params: None,
        a: inputs[0].view(),
        a_shape: a.shape(),
        b: inputs[1].view(),
        b_shape: b.shape(),
        out: out.view(),
    };
    run(gpu, Binary::with_kernels(gpu.kernels(), &d).unwrap().bind(&bindings));
    out.read(gpu).reshape(shape).unwrap()
}

/// WGSL promises 2.5 units of a quotient and one of the others; log2 and exp2 of a power err by 2^-21 times the
/// exponent, or 3 units of the logarithm, and by 3 + 2 |exponent of 2| units.
fn bound(function: BinaryOp, a: f64, b: f64, want: f64) -> f64 {
    let unit = f64::from(f32::EPSILON);
    let relative = match function {
        BinaryOp::Div => 2.5 * unit,
        BinaryOp::Pow if a != 0.0 => {
            let log = a.abs().log2();
            let log_error = (3.0 * unit * log.abs()).max(2f64.powi(-21));
            std::f64::consts::LN_2 * b.abs() * (log_error + log.abs() * unit)
                + (3.0 + 2.0 * (b * log).abs()) * unit
        }
        _ => unit,
    };
    relative * want.abs()
}

fn agree(function: BinaryOp, a: &Tensor, b: &Tensor, got: &Tensor) {
    let want = reference::binary(function, a, b).unwrap();
    if let Data::Bool(want) = want.data() {
        let want: Vec<i32> = want.iter().map(|&t| t.into()).collect();
        assert_eq!(*got.data(), Data::I32(want), "{function:?} {:?} {:?}", a.shape(), b.shape());
        return;
    }
    if matches!(a.element(), Element::I32) {
        assert_eq!(*got, want, "{function:?}");
        return;
    }
    // Each operand as it is read, by adding nothing.
    let none = float(a.element(), want.shape(), &vec![-0.0; want.len()]);
    let read = |x: &Tensor| reference::binary(BinaryOp::Add, x, &none).unwrap().to_f32();
    let half = got.element() == Element::F16;
    for (i, (g, w)) in got.to_f32().into_iter().zip(want.to_f32()).enumerate() {
        let (x, y) = (f64::from(read(a)[i]), f64::from(read(b)[i]));
        let (g, w) = (f64::from(g), f64::from(w));
        if w.is_nan() {
            assert!(g.is_nan(), "{function:?} of {x} and {y} is {g}");
        } else if w.is_infinite() {
            assert_eq!(g, w, "{function:?} of {x} and {y}");
        } else {
            let rounding = if half { w.abs() * 2f64.powi(-10) + 2f64.powi(-24) } else { 0.0 };
            let most = bound(function, x, y, w) + rounding;
            assert!(g == w || (g - w).abs() <= most, "{function:?} of {x} and {y} is {g}, not {w}");
        }
    }
}

/// Quarters, so that remainders are exact, and at no multiple of the other's by chance.
fn quarters(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| (rng.next() % 65) as f32 * 0.25 - 8.0).collect()
}

#[test]
fn every_function() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(5);
    let (shape, n) = ([9, 7], 63);
    let nan = f32::NAN;
    for function in FUNCTIONS {
        for element in [Element::F32, Element::F16] {
            let (mut x, mut y) = (quarters(&mut rng, n), quarters(&mut rng, n));
            let known =
                [(nan, 1.0), (1.0, nan), (-2.0, 3.0), (-2.0, 2.0), (-2.0, 0.5), (4.0, 0.5), (1.0, 0.0)];
            for (i, (a, b)) in known.into_iter().enumerate() {
                (x[i], y[i]) = (a, b);
            }
            let zero_fits =
                function == BinaryOp::Pow || !matches!(function, BinaryOp::Div | BinaryOp::Mod { .. });
            if !zero_fits {
                // WGSL leaves a division by 0 open.
                y.iter_mut().filter(|y| **y == 0.0).for_each(|y| *y = 0.5);
            }
            let (a, b) = (float(element, shape, &x), float(element, shape, &y));
            agree(function, &a, &b, &kernel(gpu, function, &a, &b, PLACES[1]));
        }
        let (mut x, mut y) = (vec![i32::MIN, 7, -7, 5, -1, 0, i32::MAX], vec![-1, 0, -2, -3, -3, -1, 2]);
        x.extend((7..n).map(|_| rng.next() as i32 % 20 - 10));
        y.extend((7..n).map(|_| rng.next() as i32 % 20 - 10));
        let [a, b] = [x, y].map(|v| Tensor::new(shape, Data::I32(v)).unwrap());
        agree(function, &a, &b, &kernel(gpu, function, &a, &b, PLACES[2]));
    }
    let [a, b] = [3, 5].map(|step| (0..63).map(|i| i * step / 7 % 2).collect::<Vec<i32>>());
    for function in LOGIC {
        let truth = |v: &[i32]| Tensor::new(shape, Data::Bool(v.iter().map(|&x| x != 0).collect())).unwrap();
        let [x, y] = [&a, &b].map(|v| Tensor::new(shape, Data::I32(v.clone())).unwrap());
        let got = kernel(gpu, function, &x, &y, PLACES[0]);
        agree(function, &truth(&a), &truth(&b), &got);
    }
}

#[test]
fn every_way_to_broadcast() {
    let Some(gpu) = gpu() else { return };
    let cases: [[&[usize]; 2]; 15] = [
        [&[], &[]],
        [&[0, 3], &[3]],
        [&[1], &[1]],
        [&[3], &[3]],
        [&[5, 4], &[5, 4]],
        [&[3, 7], &[3, 7]],
        [&[513, 5], &[5]],
        [&[5], &[513, 5]],
        [&[7, 9], &[1]],
        [&[7, 1], &[1, 9]],
        [&[2, 3, 4, 5], &[2, 1, 1, 5]],
        [&[2, 3, 4, 5], &[3, 1, 1]],
        [&[2, 1, 4, 8], &[1, 3, 1, 8]],
        [&[2, 1, 3, 1, 2, 6], &[1, 3, 1, 2, 1, 6]],
        [&[64, 32], &[64, 32]],
    ];
    let mut rng = Rng(9);
    for (i, shapes) in cases.into_iter().enumerate() {
        let place = PLACES[i % 3];
        let [n, m] = shapes.map(|s| s.iter().product::<usize>());
        for element in [Element::F32, Element::F16] {
            let a = float(element, shapes[0], &quarters(&mut rng, n));
            let b = float(element, shapes[1], &quarters(&mut rng, m));
            let got = kernel(gpu, BinaryOp::Mul, &a, &b, place);
            assert_eq!(got, reference::binary(BinaryOp::Mul, &a, &b).unwrap(), "{shapes:?} {element:?}");
            agree(BinaryOp::Less, &a, &b, &kernel(gpu, BinaryOp::Less, &a, &b, place));
        }
        let [a, b] = [(0, n), (1, m)].map(|(s, n)| {
            Tensor::new(shapes[s], Data::I32((0..n).map(|_| rng.next() as i32).collect())).unwrap()
        });
        agree(BinaryOp::Add, &a, &b, &kernel(gpu, BinaryOp::Add, &a, &b, place));
    }
}

#[test]
fn refusals_name_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let d = |element, out, function| BinaryDescriptor { element, out, function };
    for wrong in [
        d(Element::F32, Element::F32, BinaryOp::And),
        d(Element::F32, Element::F32, BinaryOp::Less),
        d(Element::I8, Element::I8, BinaryOp::Mul),
        d(Element::I32, Element::F32, BinaryOp::Mul),
    ] {
        assert!(matches!(Binary::new(gpu.device(), &wrong), Err(Error::Element { .. })), "{wrong:?}");
    }
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::F32, 2, 3, PLACES[0]);
    let op = Binary::new(gpu.device(), &d(Element::F32, Element::F32, BinaryOp::Mul)).unwrap();
    let (a_shape, b_shape): (&[usize], &[usize]) = (&[2, 3], &[3, 2]);
    let error = op.bind(&BinaryBindings {
        out_params: None,
        a: x.view(),
        a_shape,
        b: x.view(),
        b_shape,
        out: out.view(),
    });
    assert_eq!(
        error.err().unwrap().to_string(),
        "binary: [2, 3] and [3, 2] do not broadcast: 2 and 3 differ"
    );
}
