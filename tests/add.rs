//! `add` against the reference: every way to broadcast, three element types.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, bytes, float, run, upload_params};
use weighbridge::graph::Activation;
use weighbridge::ops::{Add, AddBindings, AddDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Axis};
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu};

fn check(
    gpu: &Gpu,
    element: Element,
    to: Element,
    shapes: [&[usize]; 2],
    activation: Activation,
    place: Place,
) {
    let what = format!("{element:?} to {to:?} {shapes:?} {activation:?} {place:?}");
    let mut rng = Rng(shapes[0].len() as u64 * 7 + 1);
    let quant = [
        QuantParams::new(0.013, -21, -128, 127).unwrap(),
        QuantParams::new(0.031, 7, -128, 127).unwrap(),
        QuantParams::new(0.04, 3, -127, 127).unwrap(),
    ];
    let [a, b] = shapes.map(|shape| {
        let n = shape.iter().product();
        match element {
            Element::I8 => Tensor::new(shape, Data::I8(rng.i8s(n))).unwrap(),
            _ => float(element, shape, &rng.f32s(n)),
        }
    });
    let real = |x: &Tensor, p: &QuantParams| match element {
        Element::I8 => reference::dequantize(&bytes(x), Axis::tensor(x.len()), &[*p]).unwrap(),
        _ => x.to_f32(),
    };
    let (av, bv) = (real(&a, &quant[0]), real(&b, &quant[1]));
    let (sum, shape) = reference::add((&av, shapes[0]), (&bv, shapes[1]), activation).unwrap();
    let columns = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().rev().skip(1).product();
    let inputs = [Input::new(gpu, &a, place), Input::new(gpu, &b, place)];
    let out = Output::new(gpu, to, rows, columns, place);
    let params = quant.map(|p| upload_params(gpu, &[p]));
    let [pa, pb, po] = &params;
    let [pa, pb, po] = [pa, pb, po].map(|p| View::params(p, 1));
    let op = Add::with_kernels(gpu.kernels(), &AddDescriptor { element, out: to, activation }).unwrap();
    let call = op.bind(&AddBindings {
        a: inputs[0].view(),
        a_shape: shapes[0],
        b: inputs[1].view(),
        b_shape: shapes[1],
        params: (element == Element::I8).then_some([pa, pb]),
        out: out.view(),
        out_params: (to == Element::I8).then_some(po),
    });
    run(gpu, call);
    let got = out.read(gpu);
    if to == Element::I8 {
        let want = reference::quantize(&sum, Axis::tensor(sum.len()), &quant[2..]).unwrap();
        for (i, (got, want)) in bytes(&got).iter().zip(want).enumerate() {
            let steps = f64::from(sum[i]) * f64::from(quant[2].inv_scale);
            let tie = ((steps - steps.floor()) - 0.5).abs() < 1e-4;
            let off = (i32::from(*got) - i32::from(want)).abs();
            assert!(off == 0 || (tie && off == 1), "{what} at {i}: {got} is not {want} ({steps})");
        }
    } else {
        assert_eq!(got, float(to, [rows, columns], &sum), "{what}");
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let cases: [[&[usize]; 2]; 16] = [
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
        [&[7, 9], &[7, 1]],
        [&[2, 3, 4, 5], &[2, 1, 1, 5]],
        [&[2, 3, 4, 5], &[3, 1, 1]],
        [&[2, 1, 4, 8], &[1, 3, 1, 8]],
        [&[2, 1, 3, 1, 2, 6], &[1, 3, 1, 2, 1, 6]],
        [&[64, 32], &[64, 32]],
    ];
    let clip = Activation::Clip { lo: -0.3, hi: 0.9 };
    let f = [Element::F32, Element::F16];
    for (from, to) in [(f[0], f[0]), (f[1], f[1]), (f[1], f[0]), (Element::I8, Element::I8)] {
        for (i, shapes) in cases.into_iter().enumerate() {
            let activation = [Activation::Identity, Activation::Relu, clip][i % 3];
            check(gpu, from, to, shapes, activation, PLACES[i % 3]);
            check(gpu, from, to, shapes, activation, PLACES[(i + 1) % 3]);
        }
    }
    check(gpu, Element::F32, Element::F16, cases[5], clip, PLACES[1]);
}

#[test]
fn refusals_name_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::F32, 2, 3, PLACES[0]);
    let op = Add::new(gpu.device(), &Default::default()).unwrap();
    let b = AddBindings {
        out_params: None,
        a: x.view(),
        a_shape: &[2, 3],
        b: x.view(),
        b_shape: &[3, 2],
        params: None,
        out: out.view(),
    };
    let error = op.bind(&b).err().unwrap();
    assert_eq!(error.to_string(), "add: [2, 3] and [3, 2] do not broadcast: 2 and 3 differ");
    let descriptor = AddDescriptor { element: Element::I8, ..Default::default() };
    assert!(matches!(Add::new(gpu.device(), &descriptor), Err(Error::Element { .. })));
}
