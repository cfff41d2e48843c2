//! Models of ops that move elements, through a session, against the scalar reference.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use weighbridge::graph::{
    Activation, Coordinates, Dim, Interpolation, Model, Nearest, Op, Output, PadMode, Quant, Resize,
    SliceAxis, ValueId, Window,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, evaluate};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Gpu, Session};

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| n.into()).collect()
}

/// One op of inputs, run and evaluated. Both results.
fn both(gpu: &Gpu, op: Op, inputs: &[Tensor]) -> (Tensor, Tensor) {
    let mut model = Model::new("one op");
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let ids: Vec<ValueId> = names
        .iter()
        .zip(inputs)
        .map(|(name, t)| model.add_input(name.as_str(), t.element(), dims(t.shape())).unwrap())
        .collect();
    let y = model.add_node("op", op.clone(), &ids).unwrap();
    model.set_outputs(&[y]).unwrap();
    let all: Vec<Option<&Tensor>> = inputs.iter().map(Some).collect();
    let want = evaluate(&op, &all, inputs[0].element()).unwrap().unwrap();
    let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(inputs).collect();
    let got = pollster::block_on(Session::new(gpu, &model).unwrap().run(&named)).unwrap().remove(0);
    (got, want)
}

fn check(gpu: &Gpu, op: Op, inputs: &[Tensor]) {
    let (got, want) = both(gpu, op.clone(), inputs);
    let shapes: Vec<_> = inputs.iter().map(Tensor::shape).collect();
    assert_eq!(got, want, "{op:?} of {shapes:?}");
}

fn tensor(rng: &mut Rng, element: Element, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    let data = match element {
        Element::F32 => Data::F32(rng.f32s(n)),
        Element::I64 => Data::I64((0..n).map(|_| (rng.next() as i32).into()).collect()),
        Element::Bool => Data::Bool((0..n).map(|_| rng.next() & 1 == 1).collect()),
        Element::F16 => Data::F16(rng.f32s(n).into_iter().map(half::f16::from_f32).collect()),
        Element::U8 => Data::U8(rng.i8s(n).into_iter().map(|x| x as u8).collect()),
        _ => Data::I8(rng.i8s(n)),
    };
    Tensor::new(shape, data).unwrap()
}

const ELEMENTS: [Element; 6] =
    [Element::F32, Element::F16, Element::I8, Element::U8, Element::I64, Element::Bool];

#[test]
fn copies_of_every_element() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(1);
    for element in ELEMENTS {
        let x = tensor(&mut rng, element, &[2, 3, 5]);
        let part = |axis, start, end, step| SliceAxis { axis, start, end, step };
        check(gpu, Op::Slice { axes: vec![part(1, -1, -9, -1), part(2, 1, 4, 2)] }, std::slice::from_ref(&x));
        check(gpu, Op::Slice { axes: vec![part(2, 4, 2, 1)] }, std::slice::from_ref(&x));
        for mode in [PadMode::Constant(1.0), PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
            let op = Op::Pad { begin: vec![0, 1, -2], end: vec![1, 0, 4], mode };
            check(gpu, op, std::slice::from_ref(&x));
        }
        check(gpu, Op::Expand { shape: vec![4, 1, 3, 1] }, &[tensor(&mut rng, element, &[3, 5])]);
        check(gpu, Op::Expand { shape: vec![2, 7] }, &[tensor(&mut rng, element, &[])]);
        check(gpu, Op::Tile { repeats: vec![2, 1, 3] }, std::slice::from_ref(&x));
        check(gpu, Op::Tile { repeats: vec![2, 0, 3] }, std::slice::from_ref(&x));
        for axis in 0..3 {
            let indices = Tensor::new([2, 2], Data::I64(vec![0, -1, 1, -2])).unwrap();
            check(gpu, Op::Gather { axis }, &[x.clone(), indices]);
            let mut shape = [2, 3, 5];
            shape[axis] = 2;
            let more = tensor(&mut rng, element, &shape);
            shape[axis] = 0;
            let empty = tensor(&mut rng, element, &shape);
            check(gpu, Op::Concat { axis }, &[x.clone(), more, empty, x.clone()]);
        }
        let indices = Tensor::new([], Data::I64(vec![-2])).unwrap();
        check(gpu, Op::Gather { axis: 2 }, &[x.clone(), indices]);
        let empty = tensor(&mut rng, element, &[0, 3]);
        check(gpu, Op::Concat { axis: 0 }, &[empty.clone(), empty.clone()]);
        let op = Op::Pad { begin: vec![1, 0], end: vec![1, 0], mode: PadMode::Constant(1.0) };
        check(gpu, op, &[empty]);
    }
}

fn geometry(from: &[usize], to: &[usize], coordinates: Coordinates, interpolation: Interpolation) -> Op {
    let scales = from.iter().zip(to).map(|(&a, &b)| b as f32 / a as f32).collect();
    Op::Resize(Resize { sizes: to.to_vec(), scales, coordinates, interpolation })
}

#[test]
fn resizes_of_any_rank() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(2);
    let nearest = Interpolation::Nearest(Nearest::Floor);
    for (from, to) in [
        (&[5][..], &[8][..]),
        (&[2, 3, 7], &[2, 3, 4]),
        (&[1, 3, 4, 5], &[1, 3, 8, 10]),
        (&[2, 4, 4, 5], &[3, 4, 7, 5]),
        (&[1, 2, 3, 4, 5], &[1, 2, 6, 5, 9]),
        (&[2, 3], &[2, 3]),
    ] {
        for coordinates in [
            Coordinates::HalfPixel,
            Coordinates::HalfPixelSymmetric,
            Coordinates::PytorchHalfPixel,
            Coordinates::AlignCorners,
            Coordinates::Asymmetric,
        ] {
            let x = tensor(&mut rng, Element::F32, from);
            check(gpu, geometry(from, to, coordinates, nearest), std::slice::from_ref(&x));
            let (got, want) = both(gpu, geometry(from, to, coordinates, Interpolation::Linear), &[x]);
            assert_eq!(got.shape(), want.shape());
            // Of magnitudes below 1: a weight, a product and a sum are rounded along each axis.
            let bound = (4 * from.len() + 1) as f32 * f32::EPSILON;
            for (got, want) in got.to_f32().iter().zip(want.to_f32()) {
                assert!((got - want).abs() <= bound, "{got} is not {want}: {from:?} to {to:?}");
            }
        }
        if from.len() == 4 {
            for element in [Element::F16, Element::I8] {
                let x = tensor(&mut rng, element, from);
                check(gpu, geometry(from, to, Coordinates::Asymmetric, nearest), &[x]);
            }
        }
    }
}

#[test]
fn images_stay_channels_last() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(3);
    for (a, b) in [(4, 8), (3, 5)] {
        let mut model = Model::new("u");
        let xa = model.add_input("a", Element::F32, dims(&[2, a, 4, 6])).unwrap();
        let xb = model.add_input("b", Element::F32, dims(&[2, b, 2, 3])).unwrap();
        let eye = |model: &mut Model, name: &str, n: usize| {
            let data: Vec<f32> = (0..n * n).map(|i| f32::from(u8::from(i / n == i % n))).collect();
            model.add_constant(name, Tensor::f32([n, n, 1, 1], data).unwrap()).unwrap()
        };
        let conv =
            Op::Conv { window: Window::new([1, 1], [1, 1]), groups: 1, activation: Activation::Identity };
        let (wa, wb, wc) = (eye(&mut model, "wa", a), eye(&mut model, "wb", b), eye(&mut model, "wc", a + b));
        let ya = model.add_node("conv a", conv.clone(), &[xa, wa]).unwrap();
        let yb = model.add_node("conv b", conv.clone(), &[xb, wb]).unwrap();
        let nearest = Interpolation::Nearest(Nearest::RoundPreferFloor);
        let up = geometry(&[2, b, 2, 3], &[2, b, 4, 6], Coordinates::Asymmetric, nearest);
        let up_b = model.add_node("up", up.clone(), &[yb]).unwrap();
        let both = model.add_node("concat", Op::Concat { axis: 1 }, &[ya, up_b]).unwrap();
        let pad = Op::Pad { begin: vec![0, 0, 1, 1], end: vec![0, 0, 1, 1], mode: PadMode::Reflect };
        let padded = model.add_node("pad", pad.clone(), &[both]).unwrap();
        let cut = Op::Slice { axes: vec![SliceAxis { axis: 1, start: 1, end: 99, step: 1 }] };
        let y = model.add_node("conv c", conv, &[padded, wc]).unwrap();
        let z = model.add_node("cut", cut.clone(), &[y]).unwrap();
        model.set_outputs(&[z]).unwrap();
        let (ta, tb) =
            (tensor(&mut rng, Element::F32, &[2, a, 4, 6]), tensor(&mut rng, Element::F32, &[2, b, 2, 3]));
        let session = Session::new(gpu, &model).unwrap();
        let got = pollster::block_on(session.run(&[("a", &ta), ("b", &tb)])).unwrap().remove(0);
        let one = |op: &Op, x: &[Option<&Tensor>]| evaluate(op, x, Element::F32).unwrap().unwrap();
        let up_b = one(&up, &[Some(&tb)]);
        let both = reference::concat(&[&ta, &up_b], 1).unwrap();
        let want = one(&cut, &[Some(&one(&pad, &[Some(&both)]))]);
        // The convolutions multiply by 1 and add zeros.
        assert_eq!(got, want);
        let shapes = [("a", vec![2, a, 4, 6]), ("b", vec![2, b, 2, 3])];
        let explained = session.explain(&shapes).unwrap();
        // Into the two convolutions, and out at the end.
        assert_eq!(explained.matches("permute/").count(), 3, "{explained}");
    }
}

#[test]
fn tables_of_int8_become_floats() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(4);
    let (n, columns) = (11, 6);
    let table = tensor(&mut rng, Element::I8, &[n, columns]);
    let params: Vec<QuantParams> =
        (0..n).map(|i| QuantParams::new(0.25 * (i + 1) as f32, 0, -128, 127).unwrap()).collect();
    let indices = Tensor::new([2, 2], Data::I64(vec![0, -1, 3, 10])).unwrap();
    for axis in [None, Some(0)] {
        let params = if axis.is_none() { params[..1].to_vec() } else { params.clone() };
        let quant = Quant::Static { axis, params: params.clone() };
        let mut model = Model::new("embedding");
        let i = model.add_input("i", Element::I64, dims(&[2, 2])).unwrap();
        let t = model.add_constant_as("table", table.clone(), Some(quant)).unwrap();
        let output = Output { name: "y".into(), element: Element::F32, quant: None };
        let y = model.add_node_as("gather", Op::Gather { axis: 0 }, &[t, i], output);
        model.set_outputs(&[y.unwrap()]).unwrap();
        let session = Session::new(gpu, &model).unwrap();
        let got = pollster::block_on(session.run(&[("i", &indices)])).unwrap().remove(0);
        let rows = reference::gather(&table, &indices, 0).unwrap();
        let scale = |row: usize| params[if axis.is_none() { 0 } else { [0, 10, 3, 10][row] }].scale;
        let want: Vec<f32> = rows.to_f32().iter().enumerate().map(|(i, q)| q * scale(i / columns)).collect();
        // The scales have few bits: the products are exact.
        assert_eq!(got, Tensor::f32([2, 2, columns], want).unwrap(), "{axis:?}");
    }
}

#[test]
fn convolutions_transposed() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(5);
    let window = Window::new([3, 2], [2, 1]).padded([1, 0]);
    let (x, weight) =
        (tensor(&mut rng, Element::F32, &[2, 4, 3, 5]), tensor(&mut rng, Element::F32, &[4, 3, 3, 2]));
    let bias = rng.f32s(6);
    let mut model = Model::new("up");
    let id = model.add_input("x", Element::F32, dims(x.shape())).unwrap();
    let w = model.add_constant("w", weight.clone()).unwrap();
    let b = model.add_constant("b", Tensor::f32([6], bias.clone()).unwrap()).unwrap();
    let op = Op::ConvTranspose { window, groups: 2, output_padding: [1, 0] };
    let y = model.add_node("up", op, &[id, w, b]).unwrap();
    model.set_outputs(&[y]).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let got = pollster::block_on(session.run(&[("x", &x)])).unwrap().remove(0);
    let args = reference::ConvTranspose {
        batch: 2,
        image: [3, 5],
        channels: 4,
        outputs: 6,
        groups: 2,
        window,
        output_padding: [1, 0],
        x: &x.permuted(&[0, 2, 3, 1]).unwrap().to_f32(),
        weight: &weight.permuted(&[0, 2, 3, 1]).unwrap().to_f32(),
        bias: Some(&bias),
    };
    let want = reference::conv_transpose(&args).unwrap();
    let bound = reference::conv_transpose_bound(&args, reference::Storage::F32).unwrap();
    let got = got.permuted(&[0, 2, 3, 1]).unwrap();
    let [h, w] = args.size().unwrap();
    assert_eq!(got.shape(), [2, h, w, 6]);
    for ((&got, want), bound) in got.as_f32().unwrap().iter().zip(want).zip(bound) {
        assert!((f64::from(got) - want).abs() <= bound, "{got} is not {want}");
    }
}
