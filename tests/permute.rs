//! `permute`: every element in its place, in every width, between padded layouts.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use half::f16;
use place::{Input, Output, PLACES, Place, run};
use weighbridge::ops::{Permute, PermuteBindings, PermuteDescriptor, ReshapeBindings};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Gpu};

const ELEMENTS: [Element; 4] = [Element::F32, Element::I32, Element::F16, Element::I8];

fn tensor(element: Element, shape: &[usize], values: &[u32]) -> Tensor {
    let data = match element {
        Element::F32 => Data::F32(values.iter().map(|&v| v as f32).collect()),
        Element::I32 => Data::I32(values.iter().map(|&v| v as i32).collect()),
        // All finite: the copy is of bits, but NaN does not equal itself.
        Element::F16 => Data::F16(values.iter().map(|&v| f16::from_bits(v as u16 & 0xbbff)).collect()),
        _ => Data::I8(values.iter().map(|&v| v as u8 as i8).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

fn check(gpu: &Gpu, element: Element, shape: &[usize], order: &[usize], place: Place) {
    let mut rng = Rng(shape.iter().sum::<usize>() as u64);
    let values: Vec<u32> = (0..shape.iter().product()).map(|_| rng.next()).collect();
    let to: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
    let step = |d: usize| -> usize { shape[d + 1..].iter().product() };
    let moved: Vec<u32> = (0..values.len())
        .map(|mut i| {
            let mut at = 0;
            for (&d, &len) in order.iter().zip(&to).rev() {
                at += i % len * step(d);
                i /= len;
            }
            values[at]
        })
        .collect();
    let input = Input::new(gpu, &tensor(element, shape, &values), place);
    let columns = to.last().copied().unwrap_or(1);
    let rows = to.iter().rev().skip(1).product();
    let out = Output::new(gpu, element, rows, columns, place);
    let op = Permute::with_kernels(gpu.kernels(), &PermuteDescriptor { element }).unwrap();
    run(gpu, op.bind(&PermuteBindings { x: input.view(), shape, order, out: out.view() }));
    let want = tensor(element, &[rows, columns], &moved);
    assert_eq!(out.read(gpu), want, "{element:?} {shape:?} {order:?} {place:?}");
}

#[test]
fn moves_every_element() {
    let Some(gpu) = gpu() else { return };
    for element in ELEMENTS {
        for (i, (shape, order)) in [
            (&[2, 3, 5, 7][..], &[0, 2, 3, 1][..]),
            (&[2, 5, 7, 3], &[0, 3, 1, 2]),
            (&[1, 1], &[1, 0]),
            (&[4], &[0]),
            (&[9], &[0]),
            (&[0, 3], &[1, 0]),
            (&[], &[]),
            (&[2, 1, 3, 2, 3, 5], &[5, 3, 1, 0, 4, 2]),
            (&[2, 1, 3, 2, 3, 5], &[4, 0, 2, 1, 3, 5]),
            (&[600, 3], &[1, 0]),
            (&[3, 600], &[1, 0]),
        ]
        .into_iter()
        .enumerate()
        {
            check(gpu, element, shape, order, PLACES[i % 3]);
            check(gpu, element, shape, order, PLACES[(i + 1) % 3]);
        }
    }
}

#[test]
fn reshapes_between_paddings() {
    let Some(gpu) = gpu() else { return };
    for element in ELEMENTS {
        for (i, (from, to)) in [
            ([7, 12], [12, 7]),
            ([1, 1], [1, 1]),
            ([3, 0], [0, 9]),
            ([15, 49], [5, 147]),
            ([5, 147], [735, 1]),
        ]
        .into_iter()
        .enumerate()
        {
            let mut rng = Rng(i as u64);
            let values: Vec<u32> = (0..from[0] * from[1]).map(|_| rng.next()).collect();
            let place = PLACES[i % 3];
            let input = Input::new(gpu, &tensor(element, &from, &values), place);
            let out = Output::new(gpu, element, to[0], to[1], place);
            let op = Permute::with_kernels(gpu.kernels(), &PermuteDescriptor { element }).unwrap();
            run(gpu, op.bind_reshape(&ReshapeBindings { x: input.view(), out: out.view() }));
            assert_eq!(out.read(gpu), tensor(element, &to, &values), "{element:?} {from:?} {to:?}");
        }
    }
}

#[test]
fn refuses_what_is_no_order() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::F32, 3, 2, PLACES[0]);
    let op = Permute::new(gpu.device(), &Default::default()).unwrap();
    for (order, shape) in
        [(&[0, 0][..], &[2, 3][..]), (&[0], &[2, 3]), (&[0, 2], &[2, 3]), (&[1, 0], &[3, 2])]
    {
        let b = PermuteBindings { x: x.view(), shape, order, out: out.view() };
        assert!(matches!(op.bind(&b), Err(Error::Shape { .. })), "{order:?} {shape:?}");
    }
}
