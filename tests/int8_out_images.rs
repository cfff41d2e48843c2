//! Int8 from image op to image op: what resizes and transposed convolutions make of floats, and what moves as int8.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;
#[path = "common/to_int8.rs"]
mod to_int8;

use gpu::{Rng, gpu};
use place::{Input, PLACES, float};
use to_int8::check;
use weighbridge::calibrate::Ranges;
use weighbridge::graph::{
    Activation, Coordinates, Dim, Interpolation, Model, Op, Quant, Resize, ValueId, Window,
};
use weighbridge::ops::{self, Call, ConvTranspose, ConvTransposeBindings, ConvTransposeDescriptor};
use weighbridge::ops::{ResizeBindings, ResizeDescriptor, ResizeTap};
use weighbridge::optimize::{self, Policy, StaticOptions, observed_values};
use weighbridge::quant::{Observer, Range};
use weighbridge::reference::resize_taps;
use weighbridge::tensor::{Element, Tensor, View};
use weighbridge::{Error, Gpu, Result, Session};

const FLOATS: [Element; 2] = [Element::F32, Element::F16];

#[test]
fn of_transposed_convolutions() {
    let Some(gpu) = gpu() else { return };
    // Whole quads, ragged ones, and groups of which a quad holds several.
    for (i, (channels, outputs, groups)) in
        [(8, 16, 2), (3, 9, 1), (4, 6, 2), (5, 1, 1)].into_iter().enumerate()
    {
        for element in FLOATS {
            let window = Window { pad_begin: [1, 0], ..Window::new([3, 2], [2, 1]) };
            let d = ConvTransposeDescriptor { element, out: element, window, groups, output_padding: [1, 0] };
            let size = [4, 5];
            let [h, w] = d.out_size(size).unwrap();
            let mut values = Rng(3).f32s(2 * 20 * channels);
            (values[0], values[7]) = (f32::NAN, f32::INFINITY);
            let x = Input::new(gpu, &float(element, [2 * 20, channels], &values), PLACES[i % 3]);
            let len = channels * outputs / groups * 6;
            let weight = float(element, [channels, outputs / groups, 3, 2], &Rng(4).f32s(len));
            let weight = Input::new(gpu, &d.pack(&weight).unwrap(), PLACES[0]);
            let bias = Input::new(gpu, &float(Element::F32, [1, outputs], &Rng(5).f32s(outputs)), PLACES[0]);
            check(gpu, "conv_transpose", element, [2 * h * w, outputs], PLACES[i % 3], |out, out_params| {
                let d = ConvTransposeDescriptor { out: out.element, ..d };
                ConvTranspose::with_kernels(gpu.kernels(), &d)?.bind(&ConvTransposeBindings {
                    x: x.view(),
                    batch: 2,
                    size,
                    weight: weight.view(),
                    bias: (i % 2 == 0).then(|| bias.view()),
                    out_params,
                    out,
                })
            });
        }
    }
}

fn geometry(to: &[usize], from: &[usize], interpolation: Interpolation) -> Resize {
    let scales = to.iter().zip(from).map(|(&t, &f)| t as f32 / f as f32).collect();
    Resize { sizes: to.to_vec(), scales, coordinates: Coordinates::HalfPixel, interpolation }
}

/// The taps of an image's two axes.
fn taps(from: [usize; 2], to: [usize; 2]) -> Vec<ResizeTap> {
    let along = |d: usize| {
        let scale = to[d] as f32 / from[d] as f32;
        resize_taps(from[d], to[d], scale, Coordinates::HalfPixel, Interpolation::Linear)
    };
    let each = |t: weighbridge::reference::Tap| ResizeTap {
        low: t.low as u32,
        high: t.high as u32,
        a: (1.0 - t.weight) as f32,
        b: t.weight as f32,
    };
    [along(0), along(1)].concat().into_iter().map(each).collect()
}

const SIZE: [usize; 2] = [3, 5];
const OUT_SIZE: [usize; 2] = [7, 6];

fn linear(gpu: &Gpu, x: &Input, taps: View<'_>, out: View<'_>, out_params: Option<View<'_>>) -> Result<Call> {
    let x = x.view();
    let d = ResizeDescriptor { element: x.element, out: out.element, linear: true };
    let op = ops::Resize::with_kernels(gpu.kernels(), &d)?;
    op.bind(&ResizeBindings { x, outer: 2, size: SIZE, taps, out_size: OUT_SIZE, out_params, out })
}

#[test]
fn of_linear_resizes() {
    let Some(gpu) = gpu() else { return };
    let taps = taps(SIZE, OUT_SIZE);
    let buffer = gpu.upload_words(bytemuck::cast_slice(&taps)).unwrap();
    let taps = View::new(&buffer, Element::I32, taps.len(), 4);
    let ([h, w], [oh, ow]) = (SIZE, OUT_SIZE);
    for (element, columns) in [(Element::F32, 4), (Element::F32, 36), (Element::F16, 8), (Element::F16, 40)] {
        for place in [PLACES[0], PLACES[2]] {
            let x = float(element, [2 * h * w, columns], &Rng(7).f32s(2 * h * w * columns));
            let x = Input::new(gpu, &x, place);
            check(gpu, "resize", element, [2 * oh * ow, columns], PLACES[0], |out, params| {
                linear(gpu, &x, taps, out, params)
            });
        }
    }
    // Fours of elements, and of words.
    for (element, columns) in [(Element::F32, 6), (Element::F16, 12)] {
        let x = Input::new(
            gpu,
            &float(element, [2 * h * w, columns], &vec![0.0; 2 * h * w * columns]),
            PLACES[0],
        );
        let params = place::upload_params(gpu, &[to_int8::params()]);
        let out = place::Output::new(gpu, Element::I8, 2 * oh * ow, columns, PLACES[0]);
        let error = linear(gpu, &x, taps, out.view(), Some(View::params(&params, 1))).err().unwrap();
        assert!(matches!(error, Error::Shape { op: "resize", .. }), "{error}");
        let error = linear(gpu, &x, taps, out.view(), None).err().unwrap();
        assert!(error.to_string().contains("I8 needs one"), "{error}");
    }
    let nearest = ResizeDescriptor { element: Element::F32, out: Element::I8, linear: false };
    assert!(matches!(ops::Resize::new(gpu.device(), &nearest), Err(Error::Element { .. })));
}

fn convolution(m: &mut Model, name: &str, x: ValueId, [from, to]: [usize; 2]) -> ValueId {
    let weights = Tensor::f32([to, from, 3, 3], Rng(name.len() as u64).f32s(from * to * 9)).unwrap();
    let weights = m.add_constant(format!("{name}_w"), weights).unwrap();
    let window = Window { pad_begin: [1, 1], pad_end: [1, 1], ..Window::new([3, 3], [1, 1]) };
    let op = Op::Conv { window, groups: 1, activation: Activation::Relu };
    m.add_node(name, op, &[x, weights]).unwrap()
}

/// An encoder and a decoder: halved, made larger in three ways, and put beside what there was before.
fn network() -> Model {
    let mut m = Model::new("u");
    let x = m.add_input("x", Element::F32, [1, 3, 8, 8].map(Dim::Fixed).to_vec()).unwrap();
    let skip = convolution(&mut m, "skip", x, [3, 8]);
    let pool = Op::Pool { kind: weighbridge::graph::PoolKind::Max, window: Window::new([2, 2], [2, 2]) };
    let half = m.add_node("half", pool, &[skip]).unwrap();
    let low = convolution(&mut m, "low", half, [8, 8]);
    let resize = |interpolation| Op::Resize(geometry(&[1, 8, 8, 8], &[1, 8, 4, 4], interpolation));
    let nearest = resize(Interpolation::Nearest(weighbridge::graph::Nearest::RoundPreferFloor));
    let nearest = m.add_node("nearest", nearest, &[low]).unwrap();
    let linear = m.add_node("linear", resize(Interpolation::Linear), &[low]).unwrap();
    let weights = Tensor::f32([8, 4, 2, 2], Rng(9).f32s(128)).unwrap();
    let weights = m.add_constant("up_w", weights).unwrap();
    let window = Window::new([2, 2], [2, 2]);
    let up = Op::ConvTranspose { window, groups: 1, output_padding: [0, 0] };
    let up = m.add_node("up", up, &[low, weights]).unwrap();
    let joined = m.add_node("joined", Op::Concat { axis: 1 }, &[skip, nearest, linear, up]).unwrap();
    let last = convolution(&mut m, "last", joined, [28, 4]);
    m.set_outputs(&[last]).unwrap();
    m
}

/// Ranges as wide as the values are, which differ from value to value.
fn ranges(gpu: &Gpu, model: &Model, x: &Tensor) -> Ranges {
    let mut found = Ranges::new(Observer::MinMax);
    found.batches = 1;
    for id in observed_values(model) {
        let name = model.value(id).name.clone();
        let mut of = model.clone();
        of.set_outputs(&[id]).unwrap();
        let values = if name == "x" { x.to_f32() } else { run(gpu, &of, x).0[0].to_f32() };
        let (lo, hi) = values.iter().fold((0f32, 0f32), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        found.values.insert(name, Range::new(lo, hi));
    }
    found
}

fn run(gpu: &Gpu, model: &Model, x: &Tensor) -> (Vec<Tensor>, String) {
    let session = Session::new(gpu, model).unwrap();
    let made = pollster::block_on(session.run(&[("x", x)])).unwrap();
    (made, session.explain(&[("x", x.shape().to_vec())]).unwrap())
}

#[test]
fn a_network_is_int8_from_end_to_end() {
    let Some(gpu) = gpu() else { return };
    let model = network();
    let x = Tensor::f32([1, 3, 8, 8], Rng(2).f32s(192)).unwrap();
    let ranges = ranges(gpu, &model, &x);
    let int8 = optimize::static_int8(&model, &ranges, &StaticOptions::default()).unwrap();
    // What is put side by side has the parameters of the whole, and so has whatever it was moved from.
    let quant = |name: &str| int8.value(int8.value_by_name(name).unwrap()).quant.clone();
    let whole = quant("joined");
    assert!(matches!(whole, Some(Quant::Static { .. })));
    for name in ["skip", "half", "nearest", "up.int8", "linear.int8"] {
        let found = int8.value_by_name(name).or_else(|| int8.value_by_name(name.trim_end_matches(".int8")));
        assert_eq!(int8.value(found.unwrap()).quant, whole, "{name}");
    }
    let (got, explained) = run(gpu, &int8, &x);
    // The image is quantized, and nothing else: the rest are made as int8.
    assert_eq!(explained.matches(" quantize/").count(), 1, "{explained}");
    assert!(explained.contains("to int8 vectors"), "{explained}");

    // Every value kept, each step is by itself.
    let mut apart = int8.clone();
    let made = |n: &weighbridge::graph::Node| n.outputs[0];
    let last = int8.outputs()[0];
    let mut all: Vec<ValueId> = int8.nodes().iter().map(made).filter(|&id| id != last).collect();
    all.insert(0, last);
    apart.set_outputs(&all).unwrap();
    let (kept, steps) = run(gpu, &apart, &x);
    assert!(steps.matches(" quantize/").count() > 2, "{steps}");
    assert_eq!(got[0], kept[0], "{steps}");

    // And it is the network that it was made of, as far as eight bits go.
    let want = run(gpu, &model, &x).0.remove(0).to_f32();
    let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    let off = want.iter().zip(got[0].to_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 0.1 * largest && off > 0.0, "{off} of {largest}");

    // A file of it is the same network.
    let again = Model::from_onnx_bytes(&int8.to_onnx_bytes().unwrap()).unwrap();
    let (read, found) = run(gpu, &again, &x);
    assert_eq!(read[0], got[0], "{found}");
    assert_eq!(found.matches("quantize/").count(), explained.matches("quantize/").count(), "{found}");

    // What the policy keeps as it is joins nothing.
    let options = StaticOptions { policy: Policy::skip(["joined"]), ..StaticOptions::default() };
    let apart = optimize::static_int8(&model, &ranges, &options).unwrap();
    let of = |name: &str| apart.value_by_name(name).map(|id| apart.value(id).element);
    assert_eq!(of("joined"), Some(Element::F32));
}
