//! What a normalization does beside normalizing: the sum before it and the int8 after it are bit for bit those of the
//! separate ops, as kernels and as a plan lays them out.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Guarded, Rng, gpu};
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::graph::{self, Activation, Dim, Model, Op, Quant, ValueId};
use weighbridge::ops::{
    Add, AddBindings, AddDescriptor, Norm, NormBindings, NormDescriptor, NormInt8, Quantize,
    QuantizeBindings, QuantizeDescriptor, QuantizeRows, QuantizeRowsBindings, QuantizeRowsDescriptor, Team,
};
use weighbridge::plan::{Plan, PlanDescriptor};
use weighbridge::quant::{QuantParams, Scheme};
use weighbridge::tensor::{Element, Tensor, View};
use weighbridge::{Error, Gpu, Session};

/// As the separate kernels find it: nothing but the rows.
fn plain<'a>(x: View<'a>, out: View<'a>) -> NormBindings<'a> {
    let (addend, sum, scale, bias, int8) = (None, None, None, None, None);
    NormBindings { x, addend, sum, scale, bias, channels: 0, out: Some(out), int8 }
}

/// Rows with all that a range must stand: zeros, a NaN, infinities, and sizes far apart.
fn values(rows: usize, columns: usize) -> Vec<f32> {
    let mut rng = Rng((rows * 37 + columns) as u64);
    let mut all = Vec::new();
    for r in 0..rows {
        let size = 2f32.powi(r as i32 % 9 - 4);
        all.extend(rng.f32s(columns).iter().map(|x| (x + (r % 3) as f32) * size));
        let last = all.len() - 1;
        match r % 11 {
            5 => all[last] = f32::NAN,
            7 => all[last] = f32::INFINITY,
            9 => all[r * columns..].fill(0.0),
            _ => {}
        }
    }
    all
}

fn check(gpu: &Gpu, element: Element, [rows, columns]: [usize; 2], measure: Option<Scheme>, place: Place) {
    let x = float(element, [rows, columns], &values(rows, columns));
    let addend = float(element, [rows, columns], &Rng(3).f32s(rows * columns));
    let weights = [4, 5].map(|seed| float(Element::F32, [1, columns], &Rng(seed).f32s(columns)));
    let [x, addend] = [&x, &addend].map(|t| Input::new(gpu, t, place));
    let [scale, bias] = weights.each_ref().map(|t| Input::new(gpu, t, Place::default()));
    let given = [QuantParams::new(0.03, -7, -128, 127).unwrap()];
    let output = |element| Output::new(gpu, element, rows, columns, place);
    let kernels = gpu.kernels();
    for (i, (team, registers)) in
        [(Team::Thread, false), (Team::Workgroup, false), (Team::Thread, true)].into_iter().enumerate()
    {
        let d = NormDescriptor { element, rms: i == 1 && rows % 2 == 0, ..Default::default() };
        // One after the other.
        let dense = |element| Output::new(gpu, element, rows, columns, Place::default());
        let (sum, out, int8) = (dense(element), dense(element), dense(Element::I8));
        let shape = [rows, columns];
        let add = AddDescriptor { element, out: element, ..Default::default() };
        let (a, b) = (x.view(), addend.view());
        let bindings = AddBindings {
            out_params: None,
            a,
            a_shape: &shape,
            b,
            b_shape: &shape,
            params: None,
            out: sum.view(),
        };
        run(gpu, Add::with_kernels(kernels, &add).unwrap().bind(&bindings));
        let norm = Norm::with_kernels(kernels, &d).unwrap().with_team(team).with_registers(registers);
        run(
            gpu,
            norm.bind(&NormBindings {
                scale: Some(scale.view()),
                bias: Some(bias.view()),
                ..plain(sum.view(), out.view())
            }),
        );
        let count = if measure.is_some() { rows } else { 1 };
        let params = match measure {
            None => gpu.upload_words(bytemuck::cast_slice(&given)).unwrap(),
            Some(scheme) => {
                let params = gpu.upload_words(&vec![0; 4 * rows]).unwrap();
                let op = QuantizeRows::with_kernels(kernels, &QuantizeRowsDescriptor { element, scheme });
                let params_view = View::params(&params, rows);
                let b = QuantizeRowsBindings { x: out.view(), out: int8.view(), params: params_view };
                run(gpu, op.unwrap().with_team(team).bind(&b));
                params
            }
        };
        if measure.is_none() {
            let d = QuantizeDescriptor { element, ..Default::default() };
            let b = QuantizeBindings { x: out.view(), params: View::params(&params, 1), out: int8.view() };
            run(gpu, Quantize::with_kernels(kernels, &d).unwrap().bind(&b));
        }
        let want_params = pollster::block_on(gpu.read_words(&params, 0, 4 * count)).unwrap();
        let [want_sum, want, want_int8] = [&sum, &out, &int8].map(|o| o.read(gpu));
        // At once, from the sum's operands and from the sum itself.
        let norm = Norm::with_kernels(kernels, &NormDescriptor { measure, ..d }).unwrap();
        let norm = norm.with_team(team).with_registers(registers);
        for [add, keep, floats, quantize] in [
            [true, false, true, false],
            [true, true, true, false],
            [false, false, true, true],
            [false, false, false, true],
            [true, false, false, true],
            [true, false, true, true],
            [true, true, false, true],
            [true, true, true, true],
        ] {
            let what = format!(
                "{element:?} {rows}x{columns} {measure:?} {place:?} {team:?} {registers} {add} {keep} {floats}"
            );
            let (got_sum, got, got_int8) = (output(element), output(element), output(Element::I8));
            let made = Guarded::new(gpu, 4 * count);
            let params = match measure {
                None => View::params(&params, 1),
                Some(_) => View::params(&made.buffer, rows),
            };
            run(
                gpu,
                norm.bind(&NormBindings {
                    scale: Some(scale.view()),
                    bias: Some(bias.view()),
                    addend: add.then(|| addend.view()),
                    sum: keep.then(|| got_sum.view()),
                    out: floats.then(|| got.view()),
                    int8: quantize.then(|| NormInt8 { out: got_int8.view(), params }),
                    ..plain(if add { x.view() } else { sum.view() }, got.view())
                }),
            );
            let same = |got: &Output, want: &Tensor, name: &str| {
                let [got, want] = [&got.read(gpu), want].map(|t| t.to_device_words().unwrap());
                let differs = got.iter().zip(&want).position(|(a, b)| a != b);
                assert_eq!(differs, None, "{name}, word, {what}");
            };
            if keep {
                same(&got_sum, &want_sum, "sum");
            }
            if floats {
                same(&got, &want, "out");
            }
            if quantize {
                same(&got_int8, &want_int8, "int8");
                if measure.is_some() {
                    assert_eq!(made.words(gpu), want_params, "params, {what}");
                }
            }
        }
    }
}

#[test]
fn equals_the_separate_kernels() {
    let Some(gpu) = gpu() else { return };
    let schemes = [None, Some(Scheme::per_token_symmetric()), Some(Scheme::int8_affine())];
    // Around the eight rows of a workgroup of threads, and the lanes that share a row.
    let shapes =
        [[0, 16], [1, 32], [7, 16], [8, 48], [9, 64], [19, 80], [5, 384], [3, 1040], [2, 2064], [1, 4112]];
    let elements = [Element::F32, Element::F16];
    for (i, shape) in shapes.into_iter().enumerate() {
        // Pitches of 4 words only.
        check(gpu, elements[i % 2], shape, schemes[i % 3], [PLACES[0], PLACES[2]][i % 2]);
    }
    for (element, measure) in elements.into_iter().flat_map(|e| schemes.map(|s| (e, s))) {
        check(gpu, element, [17, 64], measure, PLACES[2]);
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let zeros = |columns: usize| float(Element::F32, [4, columns], &vec![0.0; 4 * columns]);
    let place = Place::default();
    for columns in [16, 20] {
        let x = Input::new(gpu, &zeros(columns), place);
        let out = Output::new(gpu, Element::F32, 4, columns, place);
        let int8 = Output::new(gpu, Element::I8, 4, columns, place);
        let params = gpu.upload_words(&[0; 16]).unwrap();
        let bind = |b: NormBindings<'_>, measure| {
            let d = NormDescriptor { measure, ..Default::default() };
            Norm::new(gpu.device(), &d).unwrap().bind(&b)
        };
        let plain = plain(x.view(), out.view());
        let with = |rows| NormInt8 { out: int8.view(), params: View::params(&params, rows) };
        let some = Some(Scheme::int8_affine());
        let fits = columns == 16;
        for (b, measure, right) in [
            (plain, None, true),
            (NormBindings { addend: Some(x.view()), ..plain }, None, fits),
            (NormBindings { int8: Some(with(1)), ..plain }, None, fits),
            (NormBindings { int8: Some(with(4)), ..plain }, some, fits),
            (NormBindings { int8: Some(with(4)), ..plain }, None, false),
            (NormBindings { int8: Some(with(1)), ..plain }, some, false),
        ] {
            let found = bind(b, measure).err();
            assert!(found.is_none() == right, "{columns} columns: {found:?}");
            assert!(matches!(found, None | Some(Error::Shape { .. })), "{found:?}");
        }
        let nothing = bind(NormBindings { out: None, ..plain }, None);
        assert!(matches!(nothing, Err(Error::Argument { .. })));
        let sum_of_nothing = bind(NormBindings { sum: Some(out.view()), ..plain }, None);
        assert!(matches!(sum_of_nothing, Err(Error::Argument { .. })));
    }
    let scheme = Scheme { symmetric: true, ..Scheme::onnx_dynamic() };
    let d = NormDescriptor { measure: Some(scheme), ..Default::default() };
    assert!(matches!(Norm::new(gpu.device(), &d), Err(Error::Argument { .. })));
}

const SHAPE: [usize; 3] = [2, 5, 48];

/// A model under construction: float values of one shape.
struct Net {
    model: Model,
    element: Element,
}

impl Net {
    fn new(element: Element) -> Self {
        Self { model: Model::new("beside"), element }
    }

    fn input(&mut self, name: &str) -> ValueId {
        self.model.add_input(name, self.element, SHAPE.map(Dim::Fixed).to_vec()).unwrap()
    }

    fn op(&mut self, name: &str, op: Op, inputs: &[ValueId], quant: Option<Quant>) -> ValueId {
        let element = if quant.is_some() { Element::I8 } else { self.element };
        let output = graph::Output { name: name.into(), element, quant };
        self.model.add_node_as(format!("{name}_node"), op, inputs, output).unwrap()
    }

    fn norm(&mut self, x: ValueId) -> ValueId {
        let weights = [8, 9].map(|seed| Tensor::f32([SHAPE[2]], Rng(seed).f32s(SHAPE[2])).unwrap());
        let ids = ["scale", "bias"].into_iter().zip(weights).map(|(name, t)| {
            let t = if self.element == Element::F16 { half(&t) } else { t };
            self.model.add_constant(name, t).unwrap()
        });
        let ids: Vec<ValueId> = std::iter::once(x).chain(ids).collect();
        self.op("normed", Op::LayerNorm { axis: 2, epsilon: 1e-5, rms: false }, &ids, None)
    }

    fn sum(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op("sum", Op::Add { activation: Activation::Identity }, &[a, b], None)
    }

    /// Int8 and back, so that the integers and their parameters are seen in floats.
    fn quantized(&mut self, x: ValueId, quant: Quant) -> ValueId {
        let q = self.op("int8", Op::Quantize, &[x], Some(quant));
        self.op("reals", Op::Dequantize, &[q], None)
    }

    /// The outputs, and the kernels that make them.
    fn run(mut self, gpu: &Gpu, outputs: &[ValueId], inputs: &[(&str, &Tensor)]) -> (Vec<Tensor>, String) {
        self.model.set_outputs(outputs).unwrap();
        let session = Session::new(gpu, &self.model).unwrap();
        let made = pollster::block_on(session.run(inputs)).unwrap();
        let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, _)| (*n, SHAPE.to_vec())).collect();
        (made, session.explain(&shapes).unwrap())
    }
}

fn half(t: &Tensor) -> Tensor {
    float(Element::F16, t.shape().to_vec(), &t.to_f32())
}

fn count(explained: &str, kernel: &str) -> usize {
    explained.matches(&format!(" {kernel}/")).count()
}

#[test]
fn a_plan_makes_what_the_separate_steps_make() {
    let Some(gpu) = gpu() else { return };
    let params = vec![QuantParams::new(0.02, 5, -128, 127).unwrap()];
    let by_row = |scheme| Quant::Dynamic { scheme, per_row: true };
    for element in [Element::F32, Element::F16] {
        let random = |seed| float(element, SHAPE, &Rng(seed).f32s(SHAPE.iter().product()));
        let (a, b) = (random(1), random(2));
        for quant in [
            Quant::Static { axis: None, params: params.clone() },
            by_row(Scheme::int8_affine()),
            by_row(Scheme::per_token_symmetric()),
        ] {
            // Each step in a model of its own.
            let mut net = Net::new(element);
            let [x, y] = ["a", "b"].map(|n| net.input(n));
            let sum = net.sum(x, y);
            let sum = net.run(gpu, &[sum], &[("a", &a), ("b", &b)]).0.remove(0);
            let mut net = Net::new(element);
            let x = net.input("x");
            let normed = net.norm(x);
            let normed = net.run(gpu, &[normed], &[("x", &sum)]).0.remove(0);
            let mut net = Net::new(element);
            let x = net.input("x");
            let reals = net.quantized(x, quant.clone());
            let reals = net.run(gpu, &[reals], &[("x", &normed)]).0.remove(0);

            // Together: alone, with the floats, with the sum, with both.
            for [with_sum, with_floats] in [[false, false], [false, true], [true, false], [true, true]] {
                let mut net = Net::new(element);
                let [x, y] = ["a", "b"].map(|n| net.input(n));
                let summed = net.sum(x, y);
                let norm = net.norm(summed);
                let last = net.quantized(norm, quant.clone());
                let mut outputs = vec![last];
                let mut want = vec![&reals];
                if with_sum {
                    outputs.push(summed);
                    want.push(&sum);
                }
                if with_floats {
                    outputs.push(norm);
                    want.push(&normed);
                }
                let (got, explained) = net.run(gpu, &outputs, &[("a", &a), ("b", &b)]);
                let what = format!("{element:?} {quant:?} {with_sum} {with_floats}\n{explained}");
                for (got, want) in got.iter().zip(want) {
                    assert_eq!(got.data(), want.data(), "{what}");
                }
                for (kernel, times) in [("norm", 1), ("add", 0), ("quantize", 0), ("quantize_rows", 0)] {
                    assert_eq!(count(&explained, kernel), times, "{kernel} in {what}");
                }
                assert!(explained.contains("; fused: sum_node, int8_node"), "{what}");
            }
        }
    }
}

#[test]
fn what_must_be_made_by_itself_is() {
    let Some(gpu) = gpu() else { return };
    let one = |quant: Quant, before: bool| {
        let mut net = Net::new(Element::F32);
        let [x, y] = ["a", "b"].map(|n| net.input(n));
        let sum = net.sum(x, y);
        // Something else reads the sum first.
        let first = before.then(|| net.op("negative", Op::Unary(graph::UnaryOp::Neg), &[sum], None));
        let norm = net.norm(sum);
        let last = net.quantized(norm, quant);
        let outputs: Vec<ValueId> = [last].into_iter().chain(first).collect();
        net.model.set_outputs(&outputs).unwrap();
        net.model
    };
    let scheme = Scheme::int8_affine();
    let shapes = [("a", &SHAPE[..]), ("b", &SHAPE[..])];
    let explain = |model: &Model, observe: &[String]| {
        let states = gpu.buffer(4096).unwrap();
        let update = weighbridge::ops::Update::Replace;
        let observe = weighbridge::plan::Observe { values: observe, states: &states, update };
        let d = PlanDescriptor { inputs: &shapes, observe: Some(observe), ..Default::default() };
        Plan::new(gpu.device(), model, &d).unwrap().explain().unwrap()
    };
    let by_row = |per_row| Quant::Dynamic { scheme, per_row };
    // The range of the whole tensor is known when all rows are.
    let explained = explain(&one(by_row(false), false), &[]);
    assert_eq!((count(&explained, "quantize"), count(&explained, "add")), (1, 0), "{explained}");
    let explained = explain(&one(by_row(true), true), &[]);
    assert_eq!((count(&explained, "quantize_rows"), count(&explained, "add")), (0, 1), "{explained}");
    // What is observed is written, by its own step.
    let model = one(by_row(true), false);
    let explained = explain(&model, &["sum".into()]);
    assert_eq!((count(&explained, "quantize_rows"), count(&explained, "add")), (0, 1), "{explained}");
    let explained = explain(&model, &["normed".into()]);
    assert_eq!((count(&explained, "quantize_rows"), count(&explained, "add")), (1, 0), "{explained}");
}

/// Everything in one buffer: what is read, what is written, and poison between.
#[test]
fn what_is_read_may_lie_beside_what_is_written() {
    let Some(gpu) = gpu() else { return };
    let (rows, columns) = (9, 64);
    let params = gpu.upload_words(bytemuck::cast_slice(&[QuantParams::new(0.03, -7, -128, 127).unwrap()]));
    let params = params.unwrap();
    for element in [Element::F32, Element::F16] {
        let tensors = [1, 2].map(|seed| float(element, [rows, columns], &Rng(seed).f32s(rows * columns)));
        let words = tensors.each_ref().map(|t| t.to_device_words().unwrap());
        // 768 words hold any of them, and poison.
        let part = 768;
        let mut all = vec![gpu::POISON; 5 * part];
        words.iter().enumerate().for_each(|(i, w)| all[i * part..i * part + w.len()].copy_from_slice(w));
        let kernel = |team, registers| {
            let d = NormDescriptor { element, ..Default::default() };
            let op = Norm::with_kernels(gpu.kernels(), &d).unwrap();
            op.with_team(team).with_registers(registers)
        };
        for (team, registers) in [(Team::Thread, false), (Team::Workgroup, false), (Team::Thread, true)] {
            let whole = gpu.upload_words(&all).unwrap();
            let each = words.each_ref().map(|w| gpu.upload_words(w).unwrap());
            let apart =
                [element, element, Element::I8].map(|e| Output::new(gpu, e, rows, columns, PLACES[0]));
            let at = |i: usize, e| View::new(&whole, e, rows, columns).at((i * part * 4) as u64);
            let bind = |x, addend, sum, out, int8| {
                let int8 = NormInt8 { out: int8, params: View::params(&params, 1) };
                let b =
                    NormBindings { addend: Some(addend), sum: Some(sum), int8: Some(int8), ..plain(x, out) };
                kernel(team, registers).bind(&b)
            };
            let [x, addend] = each.each_ref().map(|b| View::new(b, element, rows, columns));
            run(gpu, bind(x, addend, apart[0].view(), apart[1].view(), apart[2].view()));
            run(
                gpu,
                bind(at(0, element), at(1, element), at(2, element), at(3, element), at(4, Element::I8)),
            );
            let got = pollster::block_on(gpu.read_words(&whole, 0, all.len())).unwrap();
            for (i, output) in apart.iter().enumerate() {
                let want = output.read(gpu).to_device_words().unwrap();
                let (got, rest) = got[(2 + i) * part..(3 + i) * part].split_at(want.len());
                assert!(got == want, "{element:?} {team:?} {registers}, output {i}");
                assert!(
                    rest.iter().all(|&w| w == gpu::POISON),
                    "{element:?} {team:?} {registers}, after {i}"
                );
            }
            assert_eq!(got[..2 * part], all[..2 * part], "{element:?} {team:?} {registers}, what is read");
            let error =
                bind(at(0, element), at(1, element), at(2, element), at(0, element), at(4, Element::I8));
            let told = error.err().unwrap().to_string();
            assert!(told.contains("x is bytes 0 to ") && told.contains("out 0 to "), "{told}");
        }
    }
}

/// Nothing but the parameters of each row is written into the buffer of what is read.
#[test]
fn measured_parameters_may_lie_beside_what_is_read() {
    let Some(gpu) = gpu() else { return };
    let (rows, columns, part) = (9, 64, 768);
    let measure = Some(Scheme::int8_affine());
    let x = float(Element::F32, [rows, columns], &Rng(7).f32s(rows * columns)).to_device_words().unwrap();
    let mut all = vec![gpu::POISON; 2 * part];
    all[..x.len()].copy_from_slice(&x);
    for (team, registers) in [(Team::Thread, false), (Team::Workgroup, false), (Team::Thread, true)] {
        let (whole, alone) = (gpu.upload_words(&all).unwrap(), gpu.upload_words(&x).unwrap());
        let apart = Guarded::new(gpu, 4 * rows);
        let [want, got] = [0, 1].map(|_| Output::new(gpu, Element::I8, rows, columns, PLACES[0]));
        let d = NormDescriptor { measure, ..Default::default() };
        let norm = Norm::with_kernels(gpu.kernels(), &d).unwrap();
        let norm = norm.with_team(team).with_registers(registers);
        let bind = |x: &wgpu::Buffer, params, int8: &Output| {
            let x = View::new(x, Element::F32, rows, columns);
            let int8 = Some(NormInt8 { out: int8.view(), params });
            run(gpu, norm.bind(&NormBindings { out: None, int8, ..plain(x, x) }));
        };
        bind(&alone, View::params(&apart.buffer, rows), &want);
        bind(&whole, View::params(&whole, rows).at(4 * part as u64), &got);
        assert_eq!(got.read(gpu).data(), want.read(gpu).data(), "{team:?} {registers}");
        let read = pollster::block_on(gpu.read_words(&whole, 0, all.len())).unwrap();
        assert_eq!(read[..part], all[..part], "{team:?} {registers}, what is read");
        assert_eq!(read[part..part + 4 * rows], apart.words(gpu), "{team:?} {registers}, parameters");
        assert!(read[part + 4 * rows..].iter().all(|&w| w == gpu::POISON), "{team:?} {registers}, after");
    }
}
