//! A convolution that does the max pool after it makes what the pool makes of what it would have stored.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu, has_broadcast};
use place::{Input, Output, PLACES, float, run, upload_params};
use weighbridge::graph::{self, Activation, Dim, Model, Op, PoolKind, Quant, UnaryOp, ValueId, Window};
use weighbridge::ops::{
    Blocking, Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings, Operand,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu, Session, optimize};

/// Images, size, channels, outputs and groups.
type Shape = (usize, [usize; 2], usize, usize, usize);

/// By whole chunks, by words, of one channel, in groups; odd sizes, one window, none, and more rows than any tile.
const SHAPES: [Shape; 7] = [
    (1, [2, 2], 16, 8, 1),
    (2, [7, 9], 16, 20, 1),
    (1, [6, 5], 3, 5, 1),
    (3, [8, 7], 1, 9, 1),
    (1, [5, 6], 32, 32, 2),
    (1, [24, 23], 8, 33, 1),
    (2, [1, 6], 4, 4, 1),
];

const BLOCKINGS: [Blocking; 4] = [
    Blocking::Broadcast { lanes: 8, groups: 2, quads: 2 },
    Blocking::Direct { lanes: 8, rows: 8, quads: 1 },
    Blocking::Direct { lanes: 8, rows: 4, quads: 2 },
    Blocking::tiled(32, 32),
];

fn params(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams::new(scale, zero_point, -128, 127).unwrap()
}

/// A padded 3 x 3.
fn descriptor((.., groups): Shape, element: Element, out: Element) -> ConvDescriptor {
    ConvDescriptor {
        element,
        out,
        window: Window { pad_begin: [1, 1], pad_end: [1, 1], ..Window::new([3, 3], [1, 1]) },
        groups,
        activation: Activation::Identity,
        max_pool: false,
        b_zero_point: false,
        operand: None,
        blocking: None,
    }
}

/// Runs it with and without its pool, and holds one to the other.
fn check(gpu: &Gpu, shape: Shape, d: ConvDescriptor) {
    let (batch, size @ [h, w], channels, n, groups) = shape;
    let rng = &mut Rng((h * channels + n) as u64);
    let [pixels, k] = [batch * h * w, 9 * channels / groups];
    let (x, weights) = match d.element {
        Element::I8 => {
            let weights = Data::I8(rng.i8s(n * k));
            let x = Tensor::new([pixels, channels], Data::I8(rng.i8s(pixels * channels))).unwrap();
            (x, Tensor::new([n, 3, 3, channels / groups], weights).unwrap())
        }
        element => {
            let mut values = rng.f32s(pixels * channels);
            // A corner of the first image: windows with numbers and without.
            values[..if h > 4 { channels * 4 } else { 0 }].fill(f32::NAN);
            let weights = float(element, [n, 3, 3, channels / groups], &rng.f32s(n * k));
            (float(element, [pixels, channels], &values), weights)
        }
    };
    let packed = d.pack(&weights).unwrap();
    let x = Input::new(gpu, &x, PLACES[0]);
    let words = gpu.upload_words(&packed.words).unwrap();
    let bias = Input::new(gpu, &float(Element::F32, [1, n], &rng.f32s(n)), PLACES[0]);
    let b_params: Vec<_> = (0..n)
        .map(|i| params(0.01 + 0.001 * i as f32, if d.b_zero_point { 5 - (i % 10) as i32 } else { 0 }))
        .collect();
    let a_params = upload_params(gpu, &[params(0.02, -77)]);
    let b_params = upload_params(gpu, &b_params);
    let quant = params(if d.element == Element::I8 { 4.0 } else { 0.03 }, 9);
    let out_params = upload_params(gpu, &[quant]);
    let sums =
        gpu.upload(&Tensor::new([packed.sums.len()], Data::I32(packed.sums.clone())).unwrap()).unwrap();
    let out_params = (d.out == Element::I8).then(|| View::params(&out_params, 1));
    let operands = match d.element {
        Element::I8 => ConvOperands::Int8(EpilogueBindings {
            a_params: View::params(&a_params, 1),
            b_params: View::params(&b_params, n),
            b_sums: View::new(&sums, Element::I32, 1, n),
            bias: Some(bias.view()),
            out_params,
        }),
        _ => ConvOperands::Float { bias: Some(bias.view()), out_params },
    };
    // Floats are pooled before they are quantized, and integers after it.
    let late = d.out == Element::I8 && d.element != Element::I8;
    let made = |max_pool: bool, rows: usize, place| {
        let out = if late && !max_pool { d.element } else { d.out };
        let operands = match (late && !max_pool, operands) {
            (true, ConvOperands::Float { bias, .. }) => ConvOperands::Float { bias, out_params: None },
            _ => operands,
        };
        let op = Conv::with_kernels(gpu.kernels(), &ConvDescriptor { max_pool, out, ..d }).unwrap();
        let out = Output::new(gpu, out, rows, n, place);
        let weights = View::new(&words, Element::I32, packed.words.len() / packed.pitch, packed.pitch);
        let (x, out_view) = (x.view(), out.view());
        run(gpu, op.bind(&ConvBindings { x, batch, size, weights, operands, out: out_view }));
        out.read(gpu)
    };
    let whole = made(false, pixels, PLACES[0]);
    let halves = [h / 2, w / 2];
    let pooled = made(true, batch * halves[0] * halves[1], PLACES[1 + n % 2]);
    if halves.contains(&0) {
        assert!(pooled.is_empty());
        return;
    }
    let pool = reference::Pool { batch, image: size, channels: n, window: Window::new([2, 2], [2, 2]) };
    match whole.data() {
        Data::I8(v) => {
            let want = reference::max_pool_i8(v, &pool).unwrap();
            assert_eq!(*pooled.data(), Data::I8(want), "{shape:?} {d:?}");
        }
        _ => {
            let want = reference::max_pool(&whole.to_f32(), &pool).unwrap();
            if late {
                let axis = reference::Axis { outer: 1, channels: 1, inner: want.len() };
                let want = reference::quantize(&want, axis, &[quant]).unwrap();
                return assert_eq!(*pooled.data(), Data::I8(want), "{shape:?} {d:?}");
            }
            assert_eq!(pooled.to_f32(), want, "{shape:?} {d:?}");
            let none = want.iter().filter(|v| **v == f32::NEG_INFINITY).count();
            assert_eq!(none > 0, h > 4 && d.element != Element::I8, "{shape:?} {d:?}");
        }
    }
}

#[test]
fn is_the_pool_of_what_would_have_been_stored() {
    let Some(gpu) = gpu() else { return };
    let broadcasts = has_broadcast(gpu);
    for (i, shape) in SHAPES.into_iter().enumerate() {
        // Two for each shape: compiling is nearly all that this takes.
        for blocking in [BLOCKINGS[i % 4], BLOCKINGS[(i + 1) % 4]] {
            if matches!(blocking, Blocking::Broadcast { .. }) && !broadcasts {
                continue;
            }
            let clip = [Activation::Clip { lo: -0.3, hi: 2.4 }, Activation::Identity][i % 2];
            let blocking = Some(blocking);
            for element in [Element::F32, Element::F16] {
                for (out, activation) in [
                    (element, Activation::Identity),
                    (Element::F16, Activation::Function(UnaryOp::Tanh)),
                    (Element::I8, clip),
                ] {
                    let d = descriptor(shape, element, out);
                    check(gpu, shape, ConvDescriptor { activation, blocking, ..d });
                }
            }
            for (j, out) in [Element::I8, Element::F32, Element::F16].into_iter().enumerate() {
                let operand = Some([Operand::I8Dot, Operand::I8Int, Operand::I8Wide][(i + j) % 3]);
                let b_zero_point = (i + j) % 2 == 0;
                let d = descriptor(shape, Element::I8, out);
                check(gpu, shape, ConvDescriptor { activation: clip, b_zero_point, operand, blocking, ..d });
            }
        }
        // By the table, whose kernel must be one that can.
        check(gpu, shape, descriptor(shape, Element::F32, Element::F32));
    }
}

#[test]
fn refuses_what_no_kernel_does() {
    let Some(gpu) = gpu() else { return };
    let shape = SHAPES[1];
    let pooled = |element, out| ConvDescriptor { max_pool: true, ..descriptor(shape, element, out) };
    let new = |d: &ConvDescriptor| Conv::with_kernels(gpu.kernels(), d).map(|_| ());
    assert!(matches!(new(&pooled(Element::I8, Element::I32)), Err(Error::Argument { op: "conv", .. })));
    let tanh = Activation::Function(UnaryOp::Tanh);
    let of_function = ConvDescriptor { activation: tanh, ..pooled(Element::I8, Element::I8) };
    assert!(matches!(new(&of_function), Err(Error::Argument { op: "conv", .. })));
    new(&ConvDescriptor { activation: tanh, ..pooled(Element::F32, Element::F32) }).unwrap();

    let parted = Some(Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 });
    for (groups, blocking, why) in [(1, parted, "Parted"), (16, None, "16 groups")] {
        let d = ConvDescriptor { groups, blocking, ..pooled(Element::F32, Element::F32) };
        let weights = float(Element::F32, [32, 3, 3, 16 / groups], &vec![0.0; 32 * 9 * 16 / groups]);
        let packed = d.pack(&weights).unwrap();
        let x = Input::new(gpu, &float(Element::F32, [16, 16], &[0.0; 256]), PLACES[0]);
        let words = gpu.upload_words(&packed.words).unwrap();
        let bind = |rows: usize| {
            let out = Output::new(gpu, Element::F32, rows, 32, PLACES[0]);
            let op = Conv::with_kernels(gpu.kernels(), &d).unwrap();
            let bindings = ConvBindings {
                x: x.view(),
                batch: 1,
                size: [4, 4],
                weights: View::new(&words, Element::I32, packed.words.len() / packed.pitch, packed.pitch),
                operands: ConvOperands::Float { bias: None, out_params: None },
                out: out.view(),
            };
            op.bind(&bindings).map(|_| ()).unwrap_err().to_string()
        };
        let (refused, shape) = (bind(4), bind(16));
        assert!(refused.contains("max pool") && refused.contains(why), "{refused}");
        assert!(shape.contains("[2, 2]") && shape.contains("16"), "{shape}");
    }
}

/// What comes after the convolution of a model: the window, and whether it is the convolution that does it.
fn after() -> [(Window, bool); 5] {
    [
        (Window::new([2, 2], [2, 2]), true),
        // The last column is half a window, which counts or not.
        (Window { ceil: true, ..Window::new([2, 2], [2, 2]) }, false),
        (Window::new([2, 2], [1, 1]), false),
        (Window::new([3, 3], [2, 2]), false),
        (Window { pad_begin: [1, 0], ..Window::new([2, 2], [2, 2]) }, false),
    ]
}

fn model(window: Window) -> (Model, [ValueId; 2]) {
    let mut m = Model::new("pooled");
    let x = m.add_input("x", Element::F32, [2, 3, 6, 7].map(Dim::Fixed).to_vec()).unwrap();
    let weights = Tensor::f32([8, 3, 3, 3], Rng(3).f32s(8 * 27)).unwrap();
    let weights = m.add_constant("weights", weights).unwrap();
    let conv = Window { pad_begin: [1, 1], pad_end: [1, 1], ..Window::new([3, 3], [1, 1]) };
    let op = Op::Conv { window: conv, groups: 1, activation: Activation::Relu };
    let made = m.add_node("conv", op, &[x, weights]).unwrap();
    let pooled = m.add_node("pool", Op::Pool { kind: PoolKind::Max, window }, &[made]).unwrap();
    (m, [made, pooled])
}

fn outputs(gpu: &Gpu, mut model: Model, outputs: &[ValueId], x: &Tensor) -> (Vec<Tensor>, String) {
    model.set_outputs(outputs).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let made = pollster::block_on(session.run(&[("x", x)])).unwrap();
    (made, session.explain(&[("x", x.shape().to_vec())]).unwrap())
}

#[test]
fn a_plan_leaves_the_pool_to_the_convolution() {
    let Some(gpu) = gpu() else { return };
    let x = Tensor::f32([2, 3, 6, 7], Rng(8).f32s(2 * 3 * 42)).unwrap();
    let units = gpu.device().features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    for (window, alone) in after() {
        let (m, [made, pooled]) = model(window);
        // An output, too, the convolution's result is stored, and pooled by a kernel of its own.
        let (both, explained) = outputs(gpu, m, &[made, pooled], &x);
        assert!(explained.contains(" pool/"), "{explained}");
        let (m, [_, pooled]) = model(window);
        let (got, explained) = outputs(gpu, m, &[pooled], &x);
        assert_eq!(got[0], both[1], "{window:?}\n{explained}");
        assert_eq!(!explained.contains(" pool/"), alone && !units, "{window:?}\n{explained}");
        assert_eq!(explained.contains("fused: pool"), alone && !units, "{window:?}\n{explained}");
    }
}

#[test]
fn and_what_is_quantized_after_it() {
    let Some(gpu) = gpu() else { return };
    let x = Tensor::f32([2, 3, 6, 7], Rng(8).f32s(2 * 3 * 42)).unwrap();
    let last = |m: &mut Model, pooled| {
        let quant = Some(Quant::Static { axis: None, params: vec![params(0.02, -3)] });
        let output = graph::Output { name: "int8".into(), element: Element::I8, quant };
        let q = m.add_node_as("int8_node", Op::Quantize, &[pooled], output).unwrap();
        let output = graph::Output { name: "reals".into(), element: Element::F32, quant: None };
        m.add_node_as("reals_node", Op::Dequantize, &[q], output).unwrap()
    };
    let (mut m, [made, pooled]) = model(after()[0].0);
    let reals = last(&mut m, pooled);
    let (want, _) = outputs(gpu, m, &[reals, pooled, made], &x);
    let (mut m, [_, pooled]) = model(after()[0].0);
    let reals = last(&mut m, pooled);
    let (got, explained) = outputs(gpu, m, &[reals], &x);
    assert_eq!(got[0], want[0], "{explained}");
    if !gpu.device().features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        assert!(!explained.contains(" pool/") && !explained.contains(" quantize/"), "{explained}");
    }
    // In f16 and in int8 by ranges of the batch, as far as rounding lets the two be compared.
    for optimized in [
        optimize::half(&with_outputs(&[1])).unwrap().model,
        optimize::dynamic_int8(&with_outputs(&[1]), &Default::default()).unwrap(),
    ] {
        let session = Session::new(gpu, &optimized).unwrap();
        let got = pollster::block_on(session.run(&[("x", &x)])).unwrap();
        let off =
            got[0].to_f32().iter().zip(want[1].to_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.2 && off > 0.0, "{off}");
    }
}

fn with_outputs(which: &[usize]) -> Model {
    let (mut m, values) = model(after()[0].0);
    m.set_outputs(&which.iter().map(|&i| values[i]).collect::<Vec<_>>()).unwrap();
    m
}
