//! Int8 that a float kernel makes of its result is bit for bit what Quantize makes of the stored result, as kernels and
//! as a plan lays them out.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;
#[path = "common/to_int8.rs"]
mod to_int8;

use gpu::{Rng, gpu, has_broadcast};
use place::{Input, Output, PLACES, float, upload_params};
use to_int8::{check, params};
use weighbridge::graph::{self, Activation, BinaryOp, Dim, Model, Op, Quant, UnaryOp, ValueId, Window};
use weighbridge::ops::{
    Add, AddBindings, AddDescriptor, Attention, AttentionBindings, AttentionDescriptor, Binary,
    BinaryBindings, BinaryDescriptor, Blocking, Conv, ConvBindings, ConvDescriptor, ConvOperands, Gemm,
    GemmBindings, GemmDescriptor, GemmWeightOnly, GemmWeightOnlyBindings, GemmWeightOnlyDescriptor,
    HeadColumns, Heads, Layout, Mask, PackedWeightOnly, Softmax, SoftmaxBindings, SoftmaxDescriptor, Team,
    Unary, UnaryBindings, UnaryDescriptor,
};
use weighbridge::plan::{Observe, Plan, PlanDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu, Session};

const FLOATS: [Element; 2] = [Element::F32, Element::F16];

/// Values around 0, some of them what a range must stand.
fn values(len: usize) -> Vec<f32> {
    let mut all = Rng(len as u64 + 1).f32s(len);
    for (i, x) in all.iter_mut().enumerate() {
        match i % 29 {
            7 => *x = f32::NAN,
            11 => *x = f32::INFINITY,
            13 => *x = -3e38,
            _ => {}
        }
    }
    all
}

fn to(element: Element, params: &Option<View<'_>>) -> Element {
    if params.is_some() { Element::I8 } else { element }
}

#[test]
fn of_single_elements() {
    let Some(gpu) = gpu() else { return };
    let clip = Activation::Clip { lo: -0.3, hi: 0.4 };
    let forms = [
        (Activation::Identity, None),
        (clip, None),
        (Activation::Identity, Some(UnaryOp::Gelu { tanh: false })),
        (Activation::Identity, Some(UnaryOp::Tanh)),
    ];
    // Narrow rows, around sixteen columns, and 64 threads of sixteen.
    let shapes =
        [[0, 5], [7, 1], [7, 2], [66, 3], [3, 4], [5, 15], [5, 16], [5, 17], [3, 35], [1, 1100], [65, 32]];
    for (i, [rows, columns]) in shapes.into_iter().enumerate() {
        for element in FLOATS {
            let (activation, function) = forms[i % forms.len()];
            let place = PLACES[i % 3];
            let x = Input::new(
                gpu,
                &float(element, [rows, columns], &values(rows * columns)),
                PLACES[(i + 1) % 3],
            );
            check(gpu, "unary", element, [rows, columns], place, |out, params| {
                let d = UnaryDescriptor { element, out: to(element, &params), activation, function };
                Unary::with_kernels(gpu.kernels(), &d)?.bind(&UnaryBindings { x: x.view(), params, out })
            });
        }
    }
}

#[test]
fn of_pairs() {
    let Some(gpu) = gpu() else { return };
    let shapes: [[&[usize]; 2]; 6] = [
        [&[3, 5], &[5]],
        [&[7, 16], &[7, 16]],
        [&[2, 3, 9], &[3, 1]],
        [&[65, 4], &[1]],
        [&[2, 1, 6], &[1, 3, 1]],
        [&[0, 4], &[4]],
    ];
    for (i, shapes) in shapes.into_iter().enumerate() {
        let rank = shapes[0].len();
        let shape: Vec<usize> = (0..rank)
            .map(|d| {
                let b = (d + shapes[1].len()).checked_sub(rank).map_or(1, |d| shapes[1][d]);
                if shapes[0][d] == 1 { b } else { shapes[0][d] }
            })
            .collect();
        let size = [shape[..rank - 1].iter().product(), shape[rank - 1]];
        for element in FLOATS {
            let [a, b] = shapes.map(|shape| {
                let values = values(shape.iter().product());
                Input::new(gpu, &float(element, shape, &values), PLACES[i % 3])
            });
            let place = PLACES[(i + 1) % 3];
            let (a_shape, b_shape) = (shapes[0], shapes[1]);
            for function in [BinaryOp::Mul, BinaryOp::Max] {
                check(gpu, "binary", element, size, place, |out, out_params| {
                    let d = BinaryDescriptor { element, out: to(element, &out_params), function };
                    let (a, b) = (a.view(), b.view());
                    let bindings = BinaryBindings { a, a_shape, b, b_shape, out, out_params };
                    Binary::with_kernels(gpu.kernels(), &d)?.bind(&bindings)
                });
            }
            check(gpu, "add", element, size, place, |out, out_params| {
                let activation = [Activation::Identity, Activation::Relu][i % 2];
                let d = AddDescriptor { element, out: to(element, &out_params), activation };
                let (a, b) = (a.view(), b.view());
                let bindings = AddBindings { a, a_shape, b, b_shape, params: None, out, out_params };
                Add::with_kernels(gpu.kernels(), &d)?.bind(&bindings)
            });
        }
    }
}

#[test]
fn of_softmax() {
    let Some(gpu) = gpu() else { return };
    for (i, [rows, columns]) in
        [[1, 1], [9, 15], [8, 16], [7, 17], [3, 67], [2, 1040]].into_iter().enumerate()
    {
        for element in FLOATS {
            let values: Vec<f32> = Rng(i as u64).f32s(rows * columns).iter().map(|x| 6.0 * x).collect();
            let x = Input::new(gpu, &float(element, [rows, columns], &values), PLACES[i % 3]);
            let mask = Input::new(gpu, &float(element, [1, columns], &Rng(9).f32s(columns)), PLACES[0]);
            for team in [Team::Thread, Team::Workgroup] {
                check(gpu, "softmax", element, [rows, columns], PLACES[(i + 1) % 3], |out, out_params| {
                    let scale = 0.7;
                    let d = SoftmaxDescriptor { element, out: to(element, &out_params), log: i == 3, scale };
                    let mask = Mask { view: mask.view(), outer: [1, 1, 1], x_outer: [1, 1, rows] };
                    let mask = (i % 2 == 0).then_some(mask);
                    let op = Softmax::with_kernels(gpu.kernels(), &d)?.with_team(team);
                    op.bind(&SoftmaxBindings { x: x.view(), mask, out, out_params })
                });
            }
        }
    }
}

#[test]
fn of_products() {
    let Some(gpu) = gpu() else { return };
    let mut blockings =
        vec![None, Some(Blocking::Direct { lanes: 8, rows: 8, quads: 1 }), Some(Blocking::tiled(32, 32))];
    // Sums in parts, which another kernel adds.
    if let Blocking::Tiled { rows, columns, words, thread_rows, thread_quads, .. } = Blocking::tiled(32, 32) {
        blockings.push(Some(Blocking::Tiled { rows, columns, words, thread_rows, thread_quads, split: 3 }));
    }
    if has_broadcast(gpu) {
        blockings.push(Some(Blocking::Broadcast { lanes: 8, groups: 4, quads: 1 }));
    }
    for (i, [m, n, k]) in
        [[1, 1, 1], [1, 67, 40], [9, 31, 96], [33, 66, 50], [5, 4, 0]].into_iter().enumerate()
    {
        for element in FLOATS {
            let [a, b] = [[m, k], [n, k]].map(|shape| {
                let len = shape[0] * shape[1];
                Input::new(gpu, &float(element, shape, &Rng(len as u64).f32s(len)), PLACES[i % 3])
            });
            let bias = Input::new(gpu, &float(Element::F32, [1, n], &Rng(5).f32s(n)), PLACES[0]);
            for &blocking in
                blockings.iter().filter(|_| i % 2 == usize::from(element == Element::F16) || k == 96)
            {
                let what = format!("gemm {blocking:?} {k}");
                check(gpu, &what, element, [m, n], PLACES[(i + 1) % 3], |out, out_params| {
                    let activation = [Activation::Relu, Activation::Function(UnaryOp::Tanh)][i % 2];
                    let out_element = to(element, &out_params);
                    let d = GemmDescriptor {
                        element,
                        out: out_element,
                        activation,
                        blocking,
                        ..Default::default()
                    };
                    let (a, b, bias) = (a.view(), b.view(), Some(bias.view()));
                    let bindings = GemmBindings { a, b, bias, out, out_params, batch: 1 };
                    Gemm::with_kernels(gpu.kernels(), &d)?.bind(&bindings)
                });
            }
            if k == 0 {
                continue;
            }
            let weights = Tensor::new([n, k], Data::I8(Rng(3).i8s(n * k))).unwrap();
            let scale = QuantParams::new(0.003, 0, -128, 127).unwrap();
            let packed = PackedWeightOnly::new(&weights, &[scale], None, element).unwrap();
            let words = gpu.upload_words(&packed.words).unwrap();
            let scales: Vec<u32> = packed.scales.iter().map(|s| s.to_bits()).collect();
            let scales_buffer = gpu.upload_words(&scales).unwrap();
            check(gpu, "weight-only", element, [m, n], PLACES[(i + 1) % 3], |out, out_params| {
                let d =
                    GemmWeightOnlyDescriptor { element, out: to(element, &out_params), ..Default::default() };
                GemmWeightOnly::with_kernels(gpu.kernels(), &d)?.bind(&GemmWeightOnlyBindings {
                    a: a.view(),
                    b: View::new(&words, Element::I32, packed.rows, packed.pitch),
                    scales: View::new(&scales_buffer, Element::F32, 1, scales.len()),
                    bias: None,
                    out,
                    out_params,
                })
            });
        }
    }
}

#[test]
fn of_products_side_by_side() {
    let Some(gpu) = gpu() else { return };
    let [outer, count, m, n, k] = [2, 3, 5, 8, 7];
    for element in FLOATS {
        let (batch, columns) = (outer * count, count * n);
        let a = Input::new(gpu, &float(element, [batch * m, k], &Rng(1).f32s(batch * m * k)), PLACES[0]);
        let b = Input::new(gpu, &float(element, [batch * n, k], &Rng(2).f32s(batch * n * k)), PLACES[0]);
        check(gpu, "heads", element, [outer * m, columns], PLACES[1], |out, out_params| {
            let d = GemmDescriptor {
                element,
                out: to(element, &out_params),
                layout: Layout::Nk,
                ..Default::default()
            };
            let (a, b, bias) = (a.view(), b.view(), None);
            let heads = Heads { count, a: None, b: None, out: Some(HeadColumns { first: 0, columns: n }) };
            let bindings = GemmBindings { a, b, bias, out, out_params, batch };
            Gemm::with_kernels(gpu.kernels(), &d)?.bind_heads(&bindings, &heads)
        });
        if has_broadcast(gpu) {
            let [m, n, d] = [21, 11, 12];
            let width = count * d;
            let [q, k, v] = [m, n, n].map(|rows| {
                let len = outer * rows * width;
                Input::new(gpu, &float(element, [outer * rows, width], &Rng(len as u64).f32s(len)), PLACES[0])
            });
            let at = HeadColumns { first: 0, columns: d };
            check(gpu, "attention", element, [outer * m, width], PLACES[2], |out, out_params| {
                let descriptor = AttentionDescriptor { element, out: to(element, &out_params), scale: 0.4 };
                Attention::with_kernels(gpu.kernels(), &descriptor)?.bind(&AttentionBindings {
                    q: (q.view(), at),
                    k: (k.view(), at),
                    v: (v.view(), at),
                    mask: None,
                    out: (out, at),
                    out_params,
                    heads: count,
                    batch: outer,
                })
            });
        }
    }
}

#[test]
fn of_convolutions() {
    let Some(gpu) = gpu() else { return };
    // A product of patches, one in groups, one of each channel by itself.
    for (channels, n, groups) in [(3, 10, 1), (8, 32, 2), (6, 6, 6)] {
        for element in FLOATS {
            let size = [5, 6];
            let x =
                Input::new(gpu, &float(element, [2 * 30, channels], &Rng(4).f32s(60 * channels)), PLACES[0]);
            let len = n * 9 * channels / groups;
            let weights = float(element, [n, 3, 3, channels / groups], &Rng(5).f32s(len));
            let window = Window { pad_begin: [1, 1], pad_end: [1, 1], ..Window::new([3, 3], [1, 1]) };
            let of = |out, activation| ConvDescriptor {
                element,
                out,
                window,
                groups,
                activation,
                max_pool: false,
                b_zero_point: false,
                operand: None,
                blocking: None,
            };
            let packed = of(element, Activation::Relu).pack(&weights).unwrap();
            let words = gpu.upload_words(&packed.words).unwrap();
            let bias = Input::new(gpu, &float(Element::F32, [1, n], &Rng(6).f32s(n)), PLACES[0]);
            let weights = View::new(&words, Element::I32, packed.words.len() / packed.pitch, packed.pitch);
            check(gpu, "conv", element, [60, n], PLACES[1], |out, out_params| {
                let d = of(to(element, &out_params), Activation::Relu);
                Conv::with_kernels(gpu.kernels(), &d)?.bind(&ConvBindings {
                    x: x.view(),
                    batch: 2,
                    size,
                    weights,
                    operands: ConvOperands::Float { bias: Some(bias.view()), out_params },
                    out,
                })
            });
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &float(Element::F32, [4, 16], &[0.0; 64]), PLACES[0]);
    let [floats, int8] = [Element::F32, Element::I8].map(|e| Output::new(gpu, e, 4, 16, PLACES[0]));
    let buffer = upload_params(gpu, &[params(); 4]);
    let (one, four) = (View::params(&buffer, 1), View::params(&buffer, 4));
    for (out, params, fits) in [
        (&floats, None, true),
        (&int8, Some(one), true),
        (&floats, Some(one), false),
        (&int8, None, false),
        (&int8, Some(four), false),
    ] {
        let (element, out) = (out.view().element, out.view());
        let d = UnaryDescriptor { out: element, ..Default::default() };
        let unary = Unary::new(gpu.device(), &d).unwrap().bind(&UnaryBindings { x: x.view(), params, out });
        let d = SoftmaxDescriptor { out: element, ..Default::default() };
        let b = SoftmaxBindings { x: x.view(), mask: None, out, out_params: params };
        let softmax = Softmax::new(gpu.device(), &d).unwrap().bind(&b);
        let d = GemmDescriptor { out: element, ..Default::default() };
        let b = GemmBindings { a: x.view(), b: x.view(), bias: None, out, out_params: params, batch: 4 };
        let narrow = View { columns: 1, ..out };
        let gemm = Gemm::new(gpu.device(), &d).unwrap().bind(&GemmBindings { out: narrow, ..b });
        assert_eq!((softmax.is_ok(), gemm.is_ok()), (fits, fits), "{params:?}");
        // Parameters that a Unary does not need, it leaves alone.
        assert_eq!(unary.is_ok(), fits || element == Element::F32, "{params:?}");
        for error in [unary.err(), softmax.err(), gemm.err()].into_iter().flatten() {
            let told = error.to_string();
            assert!(told.ends_with("sets of parameters: I8 needs one, others none"), "{told}");
        }
    }
    let d = SoftmaxDescriptor { element: Element::F16, out: Element::F32, ..Default::default() };
    assert!(matches!(Softmax::new(gpu.device(), &d), Err(Error::Element { .. })));
    let d = GemmDescriptor { out: Element::I32, ..Default::default() };
    assert!(matches!(Gemm::new(gpu.device(), &d), Err(Error::Element { .. })));
}

// ---- In a plan.

/// Makes the value that is to be quantized, of inputs `a` and `b`.
type Build = fn(&mut Model, ValueId, ValueId) -> ValueId;

fn constant(model: &mut Model, name: &str, shape: &[usize]) -> ValueId {
    let element = model.value(model.inputs()[0]).element;
    let values = Rng(name.len() as u64).f32s(shape.iter().product());
    model.add_constant(name, float(element, shape, &values)).unwrap()
}

fn heads(model: &mut Model, a: ValueId, b: ValueId) -> ValueId {
    // [2, 5, 12] -> [2, 3, 5, 4]
    let parts = [(a, vec![0, 2, 1, 3]), (b, vec![0, 2, 3, 1]), (b, vec![0, 2, 1, 3])];
    let parts: Vec<ValueId> = parts
        .into_iter()
        .enumerate()
        .map(|(i, (x, order))| {
            let split = Op::Reshape { target: vec![2, 5, 3, 4] };
            let x = model.add_node(format!("split{i}"), split, &[x]).unwrap();
            model.add_node(format!("turned{i}"), Op::Transpose { order }, &[x]).unwrap()
        })
        .collect();
    model.add_node("y", Op::Attention { scale: 0.5 }, &parts).unwrap()
}

const WAYS: [(&str, &[usize], Build); 9] = [
    ("unary", &[2, 5, 7], |m, a, _| m.add_node("y", Op::Unary(UnaryOp::Tanh), &[a]).unwrap()),
    ("unary", &[2, 5, 7], |m, a, _| m.add_node("y", Op::Activation(Activation::Relu), &[a]).unwrap()),
    ("binary", &[2, 5, 7], |m, a, b| m.add_node("y", Op::Binary(BinaryOp::Mul), &[a, b]).unwrap()),
    ("add", &[2, 5, 7], |m, a, b| {
        m.add_node("y", Op::Add { activation: Activation::Identity }, &[a, b]).unwrap()
    }),
    ("softmax", &[2, 5, 7], |m, a, _| m.add_node("y", Op::Softmax { axis: 2, log: false }, &[a]).unwrap()),
    ("gemm", &[3, 6, 6], |m, a, b| m.add_node("y", Op::MatMul, &[a, b]).unwrap()),
    ("gemm", &[2, 5, 7], |m, a, _| {
        let weights = constant(m, "weights", &[9, 7]);
        m.add_node("y", Op::Linear { activation: Activation::Relu }, &[a, weights]).unwrap()
    }),
    ("conv", &[2, 3, 5, 4], |m, a, _| {
        let weights = constant(m, "weights", &[9, 3, 1, 1]);
        let (window, activation) = (Window::new([1, 1], [1, 1]), Activation::Identity);
        m.add_node("y", Op::Conv { window, groups: 1, activation }, &[a, weights]).unwrap()
    }),
    ("attention", &[2, 5, 12], heads),
];

fn empty(element: Element, shape: &[usize]) -> (Model, [ValueId; 2]) {
    let mut model = Model::new("int8 out");
    let dims = || shape.iter().map(|&d| Dim::Fixed(d)).collect::<Vec<_>>();
    let inputs = ["a", "b"].map(|name| model.add_input(name, element, dims()).unwrap());
    (model, inputs)
}

/// Int8 and back, so that the integers are seen in floats.
fn quantized(model: &mut Model, y: ValueId, quant: Quant) -> ValueId {
    let element = model.value(y).element;
    let output = graph::Output { name: "int8".into(), element: Element::I8, quant: Some(quant) };
    let q = model.add_node_as("int8_node", Op::Quantize, &[y], output).unwrap();
    let output = graph::Output { name: "reals".into(), element, quant: None };
    model.add_node_as("reals_node", Op::Dequantize, &[q], output).unwrap()
}

fn known() -> Quant {
    Quant::Static { axis: None, params: vec![params()] }
}

fn run_model(
    gpu: &Gpu,
    mut model: Model,
    outputs: &[ValueId],
    inputs: &[(&str, &Tensor)],
) -> (Vec<Tensor>, String) {
    model.set_outputs(outputs).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let made = pollster::block_on(session.run(inputs)).unwrap();
    let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
    (made, session.explain(&shapes).unwrap())
}

#[test]
fn a_plan_quantizes_on_the_way_out() {
    let Some(gpu) = gpu() else { return };
    for (i, (kernel, shape, build)) in WAYS.into_iter().enumerate() {
        for element in FLOATS {
            let [a, b] = [1, 2].map(|seed| float(element, shape, &Rng(seed).f32s(shape.iter().product())));
            let inputs = [("a", &a), ("b", &b)];
            // By itself, and what a Quantize makes of it.
            let (mut model, [x, y]) = empty(element, shape);
            let made = build(&mut model, x, y);
            let floats = run_model(gpu, model, &[made], &inputs).0.remove(0);
            let (mut model, [x, _]) = empty(element, floats.shape());
            let made = quantized(&mut model, x, known());
            let want = run_model(gpu, model, &[made], &[("a", &floats), ("b", &floats)]).0.remove(0);

            let (mut model, [x, y]) = empty(element, shape);
            let made = build(&mut model, x, y);
            let last = quantized(&mut model, made, known());
            let (got, explained) = run_model(gpu, model, &[last], &inputs);
            assert_eq!(got[0].data(), want.data(), "{kernel} {i} {element:?}\n{explained}");
            assert!(!explained.contains(" quantize/"), "{kernel} {i} {element:?}\n{explained}");
            assert!(explained.contains("int8_node"), "{kernel} {i} {element:?}\n{explained}");

            // Floats that something else wants are made, and quantized after that.
            let (mut model, [x, y]) = empty(element, shape);
            let made = build(&mut model, x, y);
            let last = quantized(&mut model, made, known());
            let (got, explained) = run_model(gpu, model, &[last, made], &inputs);
            assert_eq!(
                (got[0].data(), got[1].data()),
                (want.data(), floats.data()),
                "{kernel} {i} {element:?}"
            );
            assert!(explained.contains(" quantize/"), "{kernel} {i} {element:?}\n{explained}");
        }
    }
}

#[test]
fn what_is_observed_or_measured_is_made_by_itself() {
    let Some(gpu) = gpu() else { return };
    let (kernel, shape, build) = WAYS[2];
    let explain = |quant: Quant, observe: &[String]| {
        let (mut model, [x, y]) = empty(Element::F32, shape);
        let made = build(&mut model, x, y);
        let last = quantized(&mut model, made, quant);
        model.set_outputs(&[last]).unwrap();
        let states = gpu.buffer(4096).unwrap();
        let update = weighbridge::ops::Update::Replace;
        let inputs = [("a", shape), ("b", shape)];
        let observe = Some(Observe { values: observe, states: &states, update });
        let d = PlanDescriptor { inputs: &inputs, observe, ..Default::default() };
        Plan::new(gpu.device(), &model, &d).unwrap().explain().unwrap()
    };
    let measured = Quant::Dynamic { scheme: weighbridge::quant::Scheme::int8_affine(), per_row: false };
    assert!(!explain(known(), &[]).contains(" quantize/"), "{kernel}");
    assert!(explain(known(), &["y".into()]).contains(" quantize/"), "{kernel}");
    assert!(explain(measured, &[]).contains(" quantize/"), "{kernel}");
}
