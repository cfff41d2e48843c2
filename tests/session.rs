//! The trained networks through a session, against an evaluation of the same model by the scalar reference.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use std::collections::HashMap;
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::{Activation, Dim, Model, Node, Op, Quant, ValueId};
use weighbridge::quant::{Observer, QuantParams};
use weighbridge::reference::{
    self, Axis, BLayout, Bias, Conv, ConvI8, ConvShape, Gemm, GemmI8, GemmWeightOnly, Pool, Scales, Storage,
};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Gpu, Session, optimize};

const BATCHES: [usize; 3] = [1, 3, 8];

fn models() -> [(&'static str, Model); 2] {
    let read = |bytes: &[u8]| Model::from_onnx_bytes(bytes).unwrap();
    [
        ("cnn", read(include_bytes!("../assets/fashion_mnist/cnn.onnx"))),
        ("mlp", read(include_bytes!("../assets/fashion_mnist/mlp.onnx"))),
    ]
}

/// Something like images: within 0..=1, dark around a bright middle.
fn images(rng: &mut Rng, n: usize) -> Tensor {
    let pixel = |i: usize, x: f32| {
        let (row, column) = (i / 28 % 28, i % 28);
        let inside = (6..22).contains(&row) && (6..22).contains(&column);
        if inside { 0.5 + 0.5 * x } else { 0.1 * x.abs() }
    };
    let data: Vec<f32> = rng.f32s(n * 784).into_iter().enumerate().map(|(i, x)| pixel(i, x)).collect();
    Tensor::f32([n, 1, 28, 28], data).unwrap()
}

fn input(model: &Model) -> &str {
    &model.value(model.inputs()[0]).name
}

fn run(gpu: &Gpu, model: &Model, x: &Tensor) -> Tensor {
    let session = Session::new(gpu, model).unwrap();
    pollster::block_on(session.run(&[(input(model), x)])).unwrap().remove(0)
}

// ---- The evaluation.

/// What a value is, in the model's order of dimensions.
#[derive(Clone)]
enum Numbers {
    /// Reals, and how far a device may be from each.
    Real(Vec<f32>, Vec<f32>),
    /// Integers and their parameters: one, or one for each row.
    Int8(Vec<i8>, Vec<QuantParams>),
}

fn turned<T: Copy>(x: &[T], [n, c, h, w]: [usize; 4], to_last: bool) -> Vec<T> {
    let index = |i: usize| {
        if to_last {
            let (channel, column, row, image) = (i % c, i / c % w, i / (c * w) % h, i / (c * w * h));
            ((image * c + channel) * h + row) * w + column
        } else {
            let (column, row, channel, image) = (i % w, i / w % h, i / (w * h) % c, i / (w * h * c));
            ((image * h + row) * w + column) * c + channel
        }
    };
    (0..n * c * h * w).map(|i| x[index(i)]).collect()
}

struct Evaluation<'m> {
    model: &'m Model,
    shapes: Vec<Vec<usize>>,
    numbers: HashMap<ValueId, Numbers>,
}

impl<'m> Evaluation<'m> {
    /// The model's output.
    fn of(model: &'m Model, x: &Tensor) -> Numbers {
        let shapes = model.infer_shapes(&[(input(model), x.shape().to_vec())]).unwrap();
        let first = Numbers::Real(x.to_f32(), vec![0.0; x.len()]);
        let numbers = HashMap::from([(model.inputs()[0], first)]);
        let mut evaluation = Self { model, shapes, numbers };
        for node in model.nodes() {
            let made = evaluation.node(node);
            evaluation.numbers.insert(node.outputs[0], made);
        }
        evaluation.numbers.remove(&model.outputs()[0]).unwrap()
    }

    fn shape(&self, id: ValueId) -> &[usize] {
        &self.shapes[id.index()]
    }

    fn image(&self, id: ValueId) -> [usize; 4] {
        self.shape(id).try_into().unwrap()
    }

    fn bias(&self, node: &Node) -> Option<Vec<f32>> {
        Some(self.model.constant(node.inputs.get(2).copied().flatten()?).unwrap().to_f32())
    }

    fn node(&self, node: &Node) -> Numbers {
        let x_id = node.inputs[0].unwrap();
        let (x, y) = (&self.numbers[&x_id], node.outputs[0]);
        match (&node.op, x) {
            (Op::Conv { .. }, _) => self.conv(node, x_id, x, y),
            (Op::Linear { activation }, _) => self.linear(node, *activation, x_id, x, y),
            (Op::Pool { window, .. }, x) => {
                let [batch, channels, h, w] = self.image(x_id);
                let pool = Pool { batch, image: [h, w], channels, window: *window };
                let real = |v: &[f32]| {
                    let v = reference::max_pool(&turned(v, self.image(x_id), true), &pool).unwrap();
                    turned(&v, self.image(y), false)
                };
                match x {
                    Numbers::Real(x, error) => Numbers::Real(real(x), real(error)),
                    Numbers::Int8(q, p) => {
                        let q = turned(q, self.image(x_id), true);
                        let q = reference::max_pool_i8(&q, &pool).unwrap();
                        Numbers::Int8(turned(&q, self.image(y), false), p.clone())
                    }
                }
            }
            (Op::Flatten { .. } | Op::Reshape { .. }, x) => x.clone(),
            (Op::Quantize, Numbers::Real(x, _)) => {
                let axis = Axis::tensor(x.len());
                let (axis, params) = match self.model.value(y).quant.as_ref().unwrap() {
                    Quant::Static { params, .. } => (axis, params.clone()),
                    Quant::Grouped { .. } => panic!("of an activation"),
                    Quant::Dynamic { scheme, per_row } => {
                        let columns = *self.shape(y).last().unwrap();
                        let axis = if *per_row { Axis::rows(x.len() / columns, columns) } else { axis };
                        let found = reference::minmax(x, axis).unwrap();
                        (axis, found.iter().map(|e| scheme.params(e.range).unwrap()).collect())
                    }
                };
                Numbers::Int8(reference::quantize(x, axis, &params).unwrap(), params)
            }
            (op, _) => panic!("{op:?} is not in these networks"),
        }
    }

    fn conv(&self, node: &Node, x_id: ValueId, x: &Numbers, y: ValueId) -> Numbers {
        let Op::Conv { window, groups, activation } = node.op else { unreachable!() };
        let ([batch, channels, h, w], [_, outputs, ..]) = (self.image(x_id), self.image(y));
        let shape = ConvShape { batch, image: [h, w], channels, outputs, groups, window };
        let weight_id = node.inputs[1].unwrap();
        let (weight, bias) = (self.model.constant(weight_id).unwrap(), self.bias(node));
        let weight_shape: [usize; 4] = weight.shape().try_into().unwrap();
        match x {
            Numbers::Real(x, error) => {
                let (x, error) = (turned(x, self.image(x_id), true), turned(error, self.image(x_id), true));
                let weight = turned(&weight.to_f32(), weight_shape, true);
                let args = Conv { shape, x: &x, weight: &weight, bias: bias.as_deref(), activation };
                let magnitudes: Vec<f32> = weight.iter().map(|w| w.abs()).collect();
                let spread = Conv {
                    x: &error,
                    weight: &magnitudes,
                    bias: None,
                    activation: Activation::Identity,
                    ..args
                };
                let (exact, spread) =
                    (reference::conv2d(&args).unwrap(), reference::conv2d(&spread).unwrap());
                let bound = reference::conv2d_bound(&args, Storage::F32).unwrap();
                let made = real(&exact, &spread, &bound);
                let Numbers::Real(v, error) = made else { unreachable!() };
                Numbers::Real(turned(&v, self.image(y), false), turned(&error, self.image(y), false))
            }
            Numbers::Int8(q, params) => {
                let Data::I8(weight) = weight.data() else { panic!("float weights") };
                let zeros = self.weight_params(weight_id).iter().map(|p| p.zero_point).collect::<Vec<_>>();
                let args = ConvI8 {
                    shape,
                    x: &turned(q, self.image(x_id), true),
                    weight: &turned(weight, weight_shape, true),
                    x_zero_point: params[0].zero_point,
                    weight_zero_point: &zeros,
                };
                let acc = reference::conv2d_i8(&args).unwrap();
                match self.finish(&acc, outputs, params, weight_id, bias.as_deref(), activation, y) {
                    Numbers::Real(v, _) => {
                        let v = turned(&v, self.image(y), false);
                        Numbers::Real(v.clone(), vec![0.0; v.len()])
                    }
                    Numbers::Int8(q, p) => Numbers::Int8(turned(&q, self.image(y), false), p),
                }
            }
        }
    }

    fn linear(&self, node: &Node, activation: Activation, x_id: ValueId, x: &Numbers, y: ValueId) -> Numbers {
        let weight_id = node.inputs[1].unwrap();
        let (weight, bias) = (self.model.constant(weight_id).unwrap(), self.bias(node));
        let (n, k) = (weight.shape()[0], weight.shape()[1]);
        let m = self.shape(x_id).iter().product::<usize>() / k;
        match x {
            Numbers::Real(x, error) if weight.element() == Element::I8 => {
                let Data::I8(q) = weight.data() else { panic!("int8") };
                let scales: Vec<f32> = self.weight_params(weight_id).iter().map(|p| p.scale).collect();
                let args = GemmWeightOnly {
                    m,
                    n,
                    k,
                    a: x,
                    b: q,
                    scales: &scales,
                    group: k * n / scales.len(),
                    bias: bias.as_deref(),
                    activation,
                };
                let magnitudes: Vec<i8> = q.iter().map(|w| w.saturating_abs()).collect();
                let activation = Activation::Identity;
                let spread = GemmWeightOnly { a: error, b: &magnitudes, bias: None, activation, ..args };
                let bound = reference::gemm_weight_only_bound(&args, Storage::F32).unwrap();
                let far: Vec<f64> =
                    reference::gemm_weight_only(&spread).unwrap().iter().map(|x| x * 128.0 / 127.0).collect();
                real(&reference::gemm_weight_only(&args).unwrap(), &far, &bound)
            }
            Numbers::Real(x, error) => {
                let weight = weight.to_f32();
                let args = Gemm {
                    batch: 1,
                    m,
                    n,
                    k,
                    a: x,
                    b: &weight,
                    layout: BLayout::Nk,
                    bias: bias.as_deref(),
                    activation,
                };
                let magnitudes: Vec<f32> = weight.iter().map(|w| w.abs()).collect();
                let spread =
                    Gemm { a: error, b: &magnitudes, bias: None, activation: Activation::Identity, ..args };
                let bound = reference::gemm_bound(&args, Storage::F32).unwrap();
                real(&reference::gemm(&args).unwrap(), &reference::gemm(&spread).unwrap(), &bound)
            }
            Numbers::Int8(q, params) => {
                let Data::I8(weight) = weight.data() else { panic!("float weights") };
                let zeros = |p: &[QuantParams]| p.iter().map(|p| p.zero_point).collect::<Vec<_>>();
                let args = GemmI8 {
                    batch: 1,
                    m,
                    n,
                    k,
                    a: q,
                    b: weight,
                    layout: BLayout::Nk,
                    a_zero_point: &zeros(params),
                    b_zero_point: &zeros(self.weight_params(weight_id)),
                };
                let acc = reference::gemm_i8(&args).unwrap();
                self.finish(&acc, n, params, weight_id, bias.as_deref(), activation, y)
            }
        }
    }

    fn weight_params(&self, weight: ValueId) -> &[QuantParams] {
        match &self.model.value(weight).quant {
            Some(Quant::Static { params, .. } | Quant::Grouped { params, .. }) => params,
            _ => panic!("no parameters"),
        }
    }

    /// Accumulators to what `y` is.
    #[allow(clippy::too_many_arguments)] // all of an epilogue
    fn finish(
        &self,
        acc: &[i32],
        columns: usize,
        params: &[QuantParams],
        weight: ValueId,
        bias: Option<&[f32]>,
        activation: Activation,
        y: ValueId,
    ) -> Numbers {
        let scales = |p: &[QuantParams]| p.iter().map(|p| p.scale).collect::<Vec<_>>();
        let (a, b) = (scales(params), scales(self.weight_params(weight)));
        let scales = Scales { a: &a, b: &b };
        match &self.model.value(y).quant {
            Some(Quant::Static { params, .. }) => {
                let bias = bias.map_or(Bias::None, Bias::F32);
                let made = reference::requantize(acc, columns, scales, bias, activation, &params[0]);
                Numbers::Int8(made.unwrap().q, params.clone())
            }
            _ => {
                let made = reference::scale_accumulators(acc, columns, scales, bias, activation).unwrap();
                let error = vec![0.0; made.len()];
                Numbers::Real(made, error)
            }
        }
    }
}

/// An exact result as f32: a device may be off by what its inputs were, by its own rounding, and by this one.
fn real(exact: &[f64], spread: &[f64], bound: &[f64]) -> Numbers {
    let error = |i: usize| spread[i] + bound[i] + exact[i].abs() * f64::from(f32::EPSILON);
    let errors = (0..exact.len()).map(|i| error(i) as f32).collect();
    Numbers::Real(exact.iter().map(|&x| x as f32).collect(), errors)
}

fn reals(numbers: Numbers) -> (Vec<f32>, Vec<f32>) {
    match numbers {
        Numbers::Real(x, error) => (x, error),
        Numbers::Int8(..) => panic!("the networks end in reals"),
    }
}

/// How far a logit moves where an integer that the last product reads is one step off, at most.
fn step(model: &Model, scale: f32) -> f32 {
    let last = model.nodes().iter().rfind(|n| matches!(n.op, Op::Linear { .. })).unwrap();
    let weight = last.inputs[1].unwrap();
    let Some(Quant::Static { params, .. }) = &model.value(weight).quant else { panic!("float weights") };
    params.iter().fold(0.0, |m: f32, p| m.max(p.scale)) * 128.0 * scale
}

// ---- The tests.

#[test]
fn fp32_is_within_its_bounds() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        for batch in BATCHES {
            let x = images(&mut Rng(batch as u64), batch);
            let got = run(gpu, &model, &x);
            assert_eq!(got.shape(), [batch, 10]);
            let (want, bounds) = reals(Evaluation::of(&model, &x));
            for (i, ((got, want), bound)) in got.to_f32().iter().zip(&want).zip(&bounds).enumerate() {
                assert!((got - want).abs() <= *bound, "{name} {batch} {i}: {got}, not {want} by {bound}");
            }
            // The bounds are for errors that all go one way. Those that do not come to far less.
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (got, want) in got.to_f32().iter().zip(&want) {
                assert!((got - want).abs() <= 1e-4 * largest, "{name} {batch}: {got}, not {want}");
            }
        }
    }
}

/// Per output, and in groups wherever they fit: convolutions and the mlp's first product, of 784, stay float.
#[test]
fn weight_only_is_within_its_bounds() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        for group in [None, Some(64)] {
            let fits = |k: usize| group.is_none_or(|g| k.is_multiple_of(g));
            let k = |n: &Node| model.constant(n.inputs[1].unwrap()).unwrap().shape()[1];
            let odd = model.nodes().iter().filter(|n| matches!(n.op, Op::Linear { .. }) && !fits(k(n)));
            let policy = optimize::Policy::skip(odd.map(|n| n.name.clone()));
            let options = optimize::WeightOnlyOptions { group, policy, ..Default::default() };
            let small = optimize::weight_only(&model, &options).unwrap();
            let x = images(&mut Rng(5), 3);
            let got = run(gpu, &small, &x).to_f32();
            let (want, bounds) = reals(Evaluation::of(&small, &x));
            for (i, ((got, want), bound)) in got.iter().zip(&want).zip(&bounds).enumerate() {
                assert!((got - want).abs() <= *bound, "{name} {group:?} {i}: {got}, not {want} by {bound}");
            }
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 1e-4 * largest, "{name} {group:?}: {got}, not {want}");
            }
        }
    }
}

/// Weights and each of a handful of layers' results are rounded to 2^-11 of themselves: 8 such steps of the largest logit.
#[test]
fn fp16_is_near_fp32() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        let half = optimize::half(&model).unwrap().model;
        for batch in BATCHES {
            let x = images(&mut Rng(batch as u64), batch);
            let got = run(gpu, &half, &x);
            assert_eq!((got.shape(), got.element()), (&[batch, 10][..], Element::F32));
            let (want, _) = reals(Evaluation::of(&model, &x));
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (got, want) in got.to_f32().iter().zip(&want) {
                assert!((got - want).abs() <= 8.0 / 2048.0 * largest, "{name} {batch}: {got}, not {want}");
            }
        }
    }
}

fn calibrated(gpu: &Gpu, model: &Model) -> Model {
    let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax).unwrap();
    for seed in 100..103 {
        let x = images(&mut Rng(seed), 4);
        calibrator.observe(&[(input(model), &x)]).unwrap();
    }
    let ranges = pollster::block_on(calibrator.finish()).unwrap();
    optimize::static_int8(model, &ranges, &Default::default()).unwrap()
}

/// The scale of what the last product reads, where that is static.
fn last_scale(model: &Model) -> Option<f32> {
    let last = model.nodes().iter().rfind(|n| matches!(n.op, Op::Linear { .. })).unwrap();
    match &model.value(last.inputs[0].unwrap()).quant {
        Some(Quant::Static { params, .. }) => Some(params[0].scale),
        _ => None,
    }
}

#[test]
fn static_int8_is_the_integer_evaluation() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        let int8 = calibrated(gpu, &model);
        let step = step(&int8, last_scale(&int8).unwrap());
        for batch in BATCHES {
            let x = images(&mut Rng(batch as u64), batch);
            near(name, &run(gpu, &int8, &x).to_f32(), &reals(Evaluation::of(&int8, &x)).0, step);
        }
    }
}

#[test]
fn dynamic_int8_is_the_integer_evaluation() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        let int8 = optimize::dynamic_int8(&model, &Default::default()).unwrap();
        for batch in BATCHES {
            let x = images(&mut Rng(batch as u64), batch);
            let want = reals(Evaluation::of(&int8, &x)).0;
            // What the last product reads has a range of its own in each row; its static form's is of the same size.
            let step = step(&int8, last_scale(&calibrated(gpu, &model)).unwrap());
            near(name, &run(gpu, &int8, &x).to_f32(), &want, step);
        }
    }
}

/// In every element type, the innermost dimension being padded to whole words or not.
#[test]
fn transposes_move_every_element() {
    let Some(gpu) = gpu() else { return };
    let run = |model: &Model, x: &Tensor| run(gpu, model, x);
    for (shape, order) in [
        (vec![2, 3, 5, 4], vec![0, 2, 3, 1]),
        (vec![3, 7], vec![1, 0]),
        (vec![2, 1, 3, 2, 2, 3], vec![5, 3, 0, 4, 2, 1]),
        (vec![6], vec![0]),
        (vec![0, 3], vec![1, 0]),
    ] {
        let n: usize = shape.iter().product();
        let numbers = Rng(7).f32s(n);
        let bytes = || (0..n).map(|i| (i * 37 % 251) as u8);
        let half = numbers.iter().map(|&x| half::f16::from_f32(x)).collect();
        for data in [
            Data::F32(numbers.clone()),
            Data::F16(half),
            Data::I8(bytes().map(|b| b as i8).collect()),
            Data::U8(bytes().collect()),
        ] {
            let x = Tensor::new(shape.clone(), data).unwrap();
            let mut model = Model::new("transpose");
            let dims: Vec<Dim> = shape.iter().map(|&d| Dim::Fixed(d)).collect();
            let id = model.add_input("x", x.element(), dims).unwrap();
            let y = model.add_node("y", Op::Transpose { order: order.clone() }, &[id]).unwrap();
            model.set_outputs(&[y]).unwrap();
            assert_eq!(run(&model, &x), x.permuted(&order).unwrap(), "{shape:?} {order:?} {:?}", x.element());
        }
        // Quantized, it keeps the parameters.
        let quantized = |transposed: bool| {
            let mut model = Model::new("transpose");
            let dims: Vec<Dim> = shape.iter().map(|&d| Dim::Fixed(d)).collect();
            let x = model.add_input("x", Element::F32, dims).unwrap();
            let params = vec![QuantParams::new(0.013, -7, -128, 127).unwrap()];
            let quant = Some(Quant::Static { axis: None, params });
            let output = weighbridge::graph::Output { name: "q".into(), element: Element::I8, quant };
            let mut q = model.add_node_as("q", Op::Quantize, &[x], output).unwrap();
            if transposed {
                q = model.add_node("t", Op::Transpose { order: order.clone() }, &[q]).unwrap();
            }
            let y = model.add_node("y", Op::Dequantize, &[q]).unwrap();
            model.set_outputs(&[y]).unwrap();
            model
        };
        let x = Tensor::f32(shape.clone(), numbers).unwrap();
        let want = run(&quantized(false), &x).permuted(&order).unwrap();
        assert_eq!(run(&quantized(true), &x), want, "{shape:?} {order:?} quantized");
    }
}

/// Integers that are at a tie may fall either way: two steps of the last product's input anywhere, and a small part of
/// one on average.
fn near(name: &str, got: &[f32], want: &[f32], step: f32) {
    assert_eq!(got.len(), want.len());
    let mut sum = 0.0;
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs();
        assert!(error <= 2.0 * step, "{name} {i}: {got}, not {want}; a step is {step}");
        sum += error;
    }
    let mean = sum / got.len() as f32;
    assert!(mean <= 0.25 * step, "{name}: {mean} off on average; a step is {step}");
}

/// Between its Quantize and its last op a static model has nothing but int8.
#[test]
fn a_static_plan_stays_in_int8() {
    let Some(gpu) = gpu() else { return };
    for (name, model) in models() {
        let int8 = calibrated(gpu, &model);
        let session = Session::new(gpu, &int8).unwrap();
        let text = session.explain(&[(input(&int8), vec![3, 1, 28, 28])]).unwrap();
        let rows: Vec<&str> = text.lines().skip_while(|row| !row.contains("  quantize  ")).collect();
        let [_, between @ .., last] = rows.as_slice() else { panic!("{name}: no quantize in\n{text}") };
        let products = model.nodes().iter().filter(|n| matches!(n.op, Op::Conv { .. } | Op::Linear { .. }));
        assert!(between.len() + 1 >= products.count(), "{name}:\n{text}");
        for row in between {
            let int8 = row.contains("int8 in and out") || row.contains("on the integers");
            assert!(int8 && !row.to_lowercase().contains("f32"), "{name}: {row}\n{text}");
        }
        assert!(last.contains("int8 in, scaled to floats"), "{name}: {last}\n{text}");
    }
}

#[test]
fn errors_have_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let (_, model) = models().into_iter().next().unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let x = input(&model);
    let fail = |inputs: &[(&str, &Tensor)]| pollster::block_on(session.run(inputs)).unwrap_err().to_string();
    let image = images(&mut Rng(1), 1);
    let narrow = Tensor::f32([1, 1, 28, 27], vec![0.0; 28 * 27]).unwrap();
    let flat = image.clone().reshape([1, 784]).unwrap();
    let half = Tensor::new([1, 1, 28, 28], Data::F16(vec![half::f16::ONE; 784])).unwrap();
    assert_eq!(half.element(), Element::F16);
    for (inputs, parts) in [
        (vec![], vec![x, "missing"]),
        (vec![(x, &narrow)], vec![x, "27", "28", "dimension 3"]),
        (vec![(x, &flat)], vec![x, "[1, 784]"]),
        (vec![(x, &image), ("other", &image)], vec!["other", x]),
        (vec![(x, &half)], vec![x, "F16", "F32"]),
    ] {
        let error = fail(&inputs);
        for part in parts {
            assert!(error.contains(part), "{error}: no {part}");
        }
    }
    // The session is as good as before.
    assert_eq!(pollster::block_on(session.run(&[(x, &image)])).unwrap()[0].shape(), [1, 10]);
}

#[test]
fn threads_that_share_a_session_get_their_own_results() {
    let Some(gpu) = gpu() else { return };
    let (_, model) = models().into_iter().next().unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let x = input(&model);
    let answer = |image: &Tensor| pollster::block_on(session.run(&[(x, image)])).unwrap();
    let mut rng = Rng(17);
    let work: Vec<(Tensor, Vec<Tensor>)> = (0..4)
        .map(|_| {
            let image = images(&mut rng, 1);
            let alone = answer(&image);
            (image, alone)
        })
        .collect();
    std::thread::scope(|threads| {
        for (image, alone) in &work {
            threads.spawn(move || (0..8).for_each(|_| assert_eq!(answer(image), *alone)));
        }
    });
}
