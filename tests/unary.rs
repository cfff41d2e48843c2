//! `unary` against the reference: activations and casts, equal; every f16 there and back.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use half::f16;
use place::{Input, Output, PLACES, Place, bytes, float, run, upload_params};
use weighbridge::graph::Activation;
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
        for (i, shape) in
            [[0, 3], [1, 1], [3, 15], [2, 16], [5, 17], [1, 1025], [513, 6], [64, 32]].into_iter().enumerate()
        {
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
