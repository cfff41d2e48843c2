//! `cast` against the reference: from every element to every other.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, run};
use weighbridge::Error;
use weighbridge::ops::{Cast, CastBindings, CastDescriptor};
use weighbridge::reference;
use weighbridge::tensor::{Element, Tensor};

const ELEMENTS: [Element; 7] =
    [Element::F32, Element::F16, Element::I8, Element::U8, Element::I32, Element::I64, Element::Bool];

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(1);
    for (i, shape) in [[0, 3], [1, 1], [3, 15], [2, 16], [5, 17], [513, 6]].into_iter().enumerate() {
        let n = shape[0] * shape[1];
        // To 2000, so that all of them wrap or saturate somewhere; halves, which are cut off.
        let mut v: Vec<f32> = (0..n).map(|_| (rng.unit() * 4000.0).round() / 2.0).collect();
        for (v, special) in
            v.iter_mut().skip(1).zip([f32::NAN, -0.0, 3e9, -3e9, f32::INFINITY, 127.5, -128.5])
        {
            *v = special;
        }
        for from in ELEMENTS {
            // What 32 bits hold, since a device has no more.
            let v = Tensor::f32(shape, v.clone()).unwrap();
            let v = if from == Element::F32 { v } else { reference::cast(&v, Element::I32).unwrap() };
            let x = reference::cast(&v, from).unwrap();
            for to in ELEMENTS {
                let narrow =
                    if to == Element::I64 { reference::cast(&x, Element::I32).unwrap() } else { x.clone() };
                let want = reference::cast(&narrow, to).unwrap();
                let input = Input::new(gpu, &x, PLACES[i % 3]);
                let out = Output::new(gpu, to, shape[0], shape[1], PLACES[(i + 1) % 3]);
                let op =
                    Cast::with_kernels(gpu.kernels(), &CastDescriptor { element: from, out: to }).unwrap();
                run(gpu, op.bind(&CastBindings { x: input.view(), out: out.view() }));
                let got = out.read(gpu);
                // Between two f32 WGSL may take either: both are a unit from the nearest at most.
                let near =
                    to == Element::F32
                        && got.to_f32().iter().zip(want.to_f32()).all(|(g, w)| {
                            (g - w).abs() <= w.abs() * f32::EPSILON || g.to_bits() == w.to_bits()
                        });
                let nan = matches!((from, to), (Element::F32 | Element::F16, Element::F32 | Element::F16));
                let same = nan
                    && got
                        .to_f32()
                        .iter()
                        .zip(want.to_f32())
                        .all(|(g, w)| *g == w || (g.is_nan() && w.is_nan()));
                assert!(near || same || got == want, "{from:?} to {to:?} {shape:?}\n{got:?}\n{want:?}");
            }
        }
    }
}

#[test]
fn refuses_other_elements() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::I32, 2, 3, PLACES[0]);
    let op = Cast::new(gpu.device(), &CastDescriptor { element: Element::U8, out: Element::Bool }).unwrap();
    let error = op.bind(&CastBindings { x: x.view(), out: out.view() });
    assert!(matches!(error, Err(Error::Shape { .. })));
}
