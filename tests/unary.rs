//! `unary` against the reference: activations and casts, equal; every f16 there and back.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use half::f16;
use place::{Input, Output, PLACES, Place, bytes, float, run, upload_params};
use weighbridge::graph::{Activation, UnaryOp};
use weighbridge::ops::{Unary, UnaryBindings, UnaryDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu};

const ACTIVATIONS: [Activation; 3] =
    [Activation::Identity, Activation::Relu, Activation::Clip { lo: -0.25, hi: 0.6 }];

fn check(gpu: &Gpu, from: Element, to: Element, shape: [usize; 2], activation: Activation, place: Place) {
    let [rows, columns] = shape;
    let mut rng = Rng((rows + columns) as u64);
    let x = match from {
        Element::I8 => Tensor::new(shape, Data::I8(rng.i8s(rows * columns))).unwrap(),
        _ => float(from, shape, &rng.f32s(rows * columns)),
    };
    let quant = QuantParams::new(0.013, -21, -127, 126).unwrap();
    let params = upload_params(gpu, &[quant]);
    let input = Input::new(gpu, &x, place);
    let out = Output::new(gpu, to, rows, columns, place);
    let op = Unary::with_kernels(
        gpu.kernels(),
        &UnaryDescriptor { element: from, out: to, activation, function: None },
    )
    .unwrap();
    let params = Some(View::params(&params, 1));
    run(gpu, op.bind(&UnaryBindings { x: input.view(), params, out: out.view() }));
    let got = out.read(gpu);
    let what = format!("{from:?} to {to:?} {shape:?} {activation:?} {place:?}");
    if from == Element::I8 {
        let (lo, hi) = reference::activation_limits(activation, &quant);
        let want: Vec<i8> = bytes(&x).iter().map(|&q| i32::from(q).clamp(lo, hi) as i8).collect();
        assert_eq!(bytes(&got), want, "{what}");
    } else {
        assert_eq!(got, float(to, shape, &reference::activate(&x.to_f32(), activation)), "{what}");
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let f = [Element::F32, Element::F16];
    for (from, to) in [(f[0], f[0]), (f[0], f[1]), (f[1], f[0]), (f[1], f[1]), (Element::I8, Element::I8)] {
        let wide = [[0, 3], [1, 1], [3, 15], [2, 16], [5, 17], [1, 1025], [513, 6], [64, 32]];
        // Rows that are not taken in sixteens.
        let narrow = [[0, 1], [63, 1], [65, 2], [513, 3], [131, 4], [2, 5]];
        for (i, shape) in wide.into_iter().chain(narrow).enumerate() {
            let activation = ACTIVATIONS[i % 3];
            check(gpu, from, to, shape, activation, PLACES[i % 3]);
            check(gpu, from, to, shape, ACTIVATIONS[(i + 1) % 3], PLACES[(i + 2) % 3]);
        }
    }
}

#[test]
fn casts_every_f16_and_what_rounds_to_it() {
    let Some(gpu) = gpu() else { return };
    let cast = |x: &Tensor, to| {
        let n = x.len();
        let input = Input::new(gpu, x, PLACES[0]);
        let out = Output::new(gpu, to, 1, n, PLACES[0]);
        let descriptor = UnaryDescriptor { element: x.element(), out: to, ..Default::default() };
        let op = Unary::with_kernels(gpu.kernels(), &descriptor).unwrap();
        run(gpu, op.bind(&UnaryBindings { x: input.view(), params: None, out: out.view() }));
        out.read(gpu)
    };
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|x| !x.is_nan()).collect();
    let wide =
        cast(&Tensor::new([1, halves.len()], Data::F16(halves.clone())).unwrap(), Element::F32).to_f32();
    assert!(wide.iter().zip(&halves).all(|(w, h)| w.to_bits() == h.to_f32().to_bits()));
    // Each, the midpoints above it, and their neighbours; overflow; NaN.
    let mut values: Vec<f32> = vec![65519.9, 65520.0, 1e9, f32::INFINITY, 1e-30, 2.98e-8];
    for h in &halves {
        let bits = h.to_f32().to_bits();
        let near = [bits, bits.wrapping_add(0xfff), bits.wrapping_add(0x1000), bits.wrapping_add(0x1001)];
        values.extend(near.map(f32::from_bits).into_iter().filter(|x| !x.is_nan()));
    }
    let x = Tensor::f32([1, values.len()], values.clone()).unwrap();
    let Data::F16(got) = cast(&x, Element::F16).data().clone() else { panic!("not f16") };
    for (got, want) in got.iter().zip(&values) {
        assert_eq!(got.to_bits(), f16::from_f32(*want).to_bits(), "{want}");
    }
    assert!(cast(&Tensor::f32([1, 1], [f32::NAN]).unwrap(), Element::F16).to_f32()[0].is_nan());
}

#[test]
fn refuses_a_change_of_domain() {
    let Some(gpu) = gpu() else { return };
    let descriptor = UnaryDescriptor { element: Element::I8, ..Default::default() };
    assert!(matches!(Unary::new(gpu.device(), &descriptor), Err(Error::Element { .. })));
    let descriptor = UnaryDescriptor { out: Element::I8, ..descriptor };
    let x = Input::new(gpu, &Tensor::new([1, 4], Data::I8(vec![0; 4])).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::I8, 1, 4, PLACES[0]);
    let op = Unary::new(gpu.device(), &descriptor).unwrap();
    let error = op.bind(&UnaryBindings { x: x.view(), params: None, out: out.view() });
    assert!(matches!(error, Err(Error::Argument { .. })));
}

/// The error that is allowed at a point.
type Bound = fn(f64) -> f64;

/// All that make a real of a real, and how far the kernel may be from it: WGSL promises of an exponential 3 + 2 |x|
/// units, of a logarithm 2^-21 near 1 and 3 units elsewhere, of a quotient 2.5, of a root 5 (by way of its inverse).
fn functions() -> Vec<(UnaryOp, Bound)> {
    const UNIT: f64 = f32::EPSILON as f64;
    /// Ten steps of two polynomials without cancellation, a quotient and the fit.
    const FITTED: f64 = 16.0 * UNIT;
    fn exp(x: f64) -> f64 {
        (3.0 + 2.0 * x.abs()) * UNIT * x.exp()
    }
    /// The error of e^-x counts by the square of the sigmoid; x is kept above -87.
    fn sigmoid(x: f64) -> f64 {
        let y = 1.0 / (1.0 + (-x).exp());
        y * y * exp((-x).min(87.0)) + 4.0 * UNIT * y + (-87f64).exp()
    }
    vec![
        (UnaryOp::Abs, |_| 0.0),
        (UnaryOp::Neg, |_| 0.0),
        (UnaryOp::Sign, |_| 0.0),
        (UnaryOp::Floor, |_| 0.0),
        (UnaryOp::Ceil, |_| 0.0),
        (UnaryOp::Round, |_| 0.0),
        (UnaryOp::Reciprocal, |x| 2.5 * UNIT / x.abs()),
        (UnaryOp::Sqrt, |x| 5.0 * UNIT * x.abs().sqrt()),
        (UnaryOp::Exp, exp),
        (UnaryOp::Log, |x| (3.0 * UNIT * x.abs().ln().abs()).max(2f64.powi(-21))),
        // What is left of x after whole quarters has a unit of x / 2^20 at most, and the polynomials four roundings.
        (UnaryOp::Sin, |x| 4.0 * UNIT + x.abs() * UNIT * 0.01),
        (UnaryOp::Cos, |x| 4.0 * UNIT + x.abs() * UNIT * 0.01),
        (UnaryOp::Erf, |_| FITTED),
        (UnaryOp::Tanh, |_| FITTED),
        (UnaryOp::Sigmoid, sigmoid),
        (UnaryOp::HardSigmoid { alpha: 0.25, beta: 0.4 }, |x| UNIT * (1.0 + x.abs())),
        (UnaryOp::HardSwish, |x| 2.0 * UNIT * (x.abs() + x * x)),
        (UnaryOp::Swish { alpha: 1.5 }, |x| x.abs() * (sigmoid(1.5 * x) + UNIT * (1.0 + x.abs()))),
        (UnaryOp::Softplus, |x| 2f64.powi(-21) + 3.0 * UNIT * (x.abs() + 1.0)),
        // n is of the error of e^x, which counts less and less in n / (n + 2).
        (UnaryOp::Mish, |x| x.abs() * (2.0 * exp(-x.abs()) + 8.0 * UNIT)),
        (UnaryOp::Gelu { tanh: false }, |x| 0.5 * x.abs() * (FITTED + 4.0 * UNIT)),
        (UnaryOp::Gelu { tanh: true }, |x| {
            let u = 1.5957691216057308 * (x + 0.044715 * x * x * x);
            x.abs() * (sigmoid(u) + 4.0 * UNIT * u.abs() * (-u.abs()).exp())
        }),
        (UnaryOp::Elu { alpha: 1.5 }, |x| 1.5 * (exp(x.min(0.0)) + 2.0 * UNIT)),
        (UnaryOp::Selu { alpha: 1.67, gamma: 1.05 }, |x| {
            1.76 * (exp(x.min(0.0)) + 3.0 * UNIT) + UNIT * x.abs()
        }),
        (UnaryOp::Celu { alpha: 1.5 }, |x| 1.5 * (exp(x.min(0.0) / 1.5) + 5.0 * UNIT) + UNIT * x.abs()),
        (UnaryOp::LeakyRelu { alpha: 0.01 }, |x| UNIT * x.abs()),
    ]
}

fn apply(gpu: &Gpu, x: &Tensor, out: Element, function: UnaryOp, place: Place) -> Tensor {
    let input = Input::new(gpu, x, place);
    let made = Output::new(gpu, out, x.shape()[0], x.shape()[1], place);
    let d = UnaryDescriptor { element: x.element(), out, function: Some(function), ..Default::default() };
    let op = Unary::with_kernels(gpu.kernels(), &d).unwrap();
    run(gpu, op.bind(&UnaryBindings { x: input.view(), params: None, out: made.view() }));
    made.read(gpu)
}

#[test]
fn functions_are_near_the_reference() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(3);
    for (i, (function, bound)) in functions().into_iter().enumerate() {
        for (element, shape) in [(Element::F32, [3, 85]), (Element::F32, [4, 64]), (Element::F16, [3, 85])] {
            let n = shape[0] * shape[1];
            let mut v: Vec<f32> =
                (0..n).map(|_| rng.unit() * [1.0, 6.0, 30.0][rng.next() as usize % 3]).collect();
            v[..8].copy_from_slice(&[f32::NAN, 2.5, -0.5, 3.5, 1.0, -1.0, 87.0, -87.0]);
            if matches!(function, UnaryOp::Log | UnaryOp::Sqrt) {
                v.iter_mut().for_each(|x| *x = x.abs());
            }
            let x = float(element, shape, &v);
            let got = apply(gpu, &x, element, function, PLACES[i % 3]).to_f32();
            let want = reference::unary(function, &x).unwrap().to_f32();
            for ((x, g), w) in x.to_f32().into_iter().zip(got).zip(want) {
                let rounding = match element {
                    Element::F16 => 2f64.powi(-10) * f64::from(w.abs()) + 2f64.powi(-24),
                    _ => f64::from(f32::EPSILON) * f64::from(w.abs()) + 2f64.powi(-120),
                };
                let most = bound(x.into()) + rounding;
                let near = (f64::from(g) - f64::from(w)).abs() <= most || g == w;
                assert!(near || (w.is_nan() && g.is_nan()), "{function:?} of {x} is {g}, not {w}: {most:e}");
            }
        }
    }
}

#[test]
fn predicates_and_integers_equal_the_reference() {
    let Some(gpu) = gpu() else { return };
    let truth = |t: &Tensor| reference::cast(t, Element::I32).unwrap();
    let v = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.5, 65504.0, f32::NAN];
    for (i, element) in [Element::F32, Element::F16].into_iter().enumerate() {
        let x = float(element, [7, 19], &v.repeat(19));
        let inf = |negative, positive| UnaryOp::IsInf { negative, positive };
        for function in [UnaryOp::IsNan, inf(true, true), inf(true, false), inf(false, true)] {
            let want = truth(&reference::unary(function, &x).unwrap());
            assert_eq!(
                apply(gpu, &x, Element::I32, function, PLACES[i + 1]),
                want,
                "{function:?} {element:?}"
            );
        }
    }
    let x = Tensor::new([3, 3], Data::I32(vec![i32::MIN, -7, 0, 9, i32::MAX, 1, -1, 2, 3])).unwrap();
    for function in [UnaryOp::Abs, UnaryOp::Neg, UnaryOp::Sign] {
        let want = reference::unary(function, &x).unwrap();
        assert_eq!(apply(gpu, &x, Element::I32, function, PLACES[0]), want, "{function:?}");
    }
    let x = Tensor::new([2, 17], Data::Bool((0..34).map(|i| i % 3 == 0).collect())).unwrap();
    let want = truth(&reference::unary(UnaryOp::Not, &x).unwrap());
    assert_eq!(apply(gpu, &truth(&x), Element::I32, UnaryOp::Not, PLACES[2]), want);
    let wrong = UnaryDescriptor { function: Some(UnaryOp::Not), ..Default::default() };
    assert!(matches!(Unary::new(gpu.device(), &wrong), Err(Error::Element { .. })));
}
