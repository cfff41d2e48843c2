//! Attention with its heads read and written where they lie, and its queries, keys and values made by one product: the
//! same numbers as step by step, in fewer dispatches.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/transformer.rs"]
mod transformer;

use gpu::{Rng, gpu};
use transformer::Encoder;
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::{Dim, Model, Op, ValueId};
use weighbridge::ops::Update;
use weighbridge::optimize::{self, DynamicOptions, WeightOnlyOptions};
use weighbridge::plan::{Observe, Plan, PlanDescriptor, Weights, state_stride};
use weighbridge::quant::Observer;
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Gpu, Session};

type Inputs = [(&'static str, Tensor)];

fn run(gpu: &Gpu, model: &Model, inputs: &Inputs) -> Vec<Tensor> {
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
    pollster::block_on(Session::new(gpu, model).unwrap().run(&inputs)).unwrap()
}

fn explain(gpu: &Gpu, model: &Model, inputs: &Inputs) -> String {
    let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
    Session::new(gpu, model).unwrap().explain(&shapes).unwrap()
}

/// Dispatches of an op.
fn count(explained: &str, op: &str) -> usize {
    explained.lines().filter(|l| l.split_whitespace().nth(1) == Some(op)).count()
}

/// Numbers that should be equal but for `apart`: kernels sum in the same order, but a GPU's compiler may contract what it
/// likes.
fn same(gpu: &Gpu, what: &str, got: &Tensor, want: &Tensor, apart: f32) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let (got, want) = (got.to_f32(), want.to_f32());
    let cpu = gpu.device().adapter_info().device_type == wgpu::DeviceType::Cpu;
    let bound = if cpu { apart } else { want.iter().fold(0f32, |m, x| m.max(x.abs())) * 1e-3 };
    for (i, (a, b)) in got.iter().zip(&want).enumerate() {
        assert!((a - b).abs() <= bound, "{what}, element {i}: {a}, not {b} +- {bound}");
    }
}

/// Dimensions moved: `order[i]` of x is dimension i.
fn moved(x: &Tensor, order: [usize; 4]) -> Tensor {
    let shape = x.shape();
    let v = x.to_f32();
    let to: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
    let mut apart = [1; 4];
    for d in (0..3).rev() {
        apart[d] = apart[d + 1] * shape[d + 1];
    }
    let data: Vec<f32> = (0..v.len())
        .map(|mut i| {
            let mut at = 0;
            for d in (0..4).rev() {
                at += i % to[d] * apart[order[d]];
                i /= to[d];
            }
            v[at]
        })
        .collect();
    Tensor::f32(to, data).unwrap()
}

/// Attention of `[batch, tokens, heads, d]`, as an exporter turns it; or of heads outside, where nothing is turned.
fn attention(turned: bool, two_steps: bool) -> Model {
    let mut model = Model::new("attention");
    let symbols = if turned { ["b", "m", "h", "d"] } else { ["b", "h", "m", "d"] };
    let dims = |symbols: [&str; 4]| symbols.iter().map(|s| Dim::Symbol((*s).into())).collect::<Vec<_>>();
    let q = model.add_input("q", Element::F32, dims(symbols)).unwrap();
    let k = if turned { ["b", "n", "h", "d"] } else { ["b", "h", "d", "n"] };
    let k = model.add_input("k", Element::F32, dims(k)).unwrap();
    let v = if turned { ["b", "n", "h", "e"] } else { ["b", "h", "n", "e"] };
    let v = model.add_input("v", Element::F32, dims(v)).unwrap();
    let mut turn = |name: &str, x: ValueId, order: [usize; 4]| {
        model.add_node(name, Op::Transpose { order: order.to_vec() }, &[x]).unwrap()
    };
    let parts = match (turned, two_steps) {
        (false, _) => [q, k, v],
        (true, false) => [
            turn("q.turned", q, [0, 2, 1, 3]),
            turn("k.turned", k, [0, 2, 3, 1]),
            turn("v.turned", v, [0, 2, 1, 3]),
        ],
        (true, true) => {
            let swapped = turn("k.swapped", k, [0, 2, 1, 3]);
            [
                turn("q.turned", q, [0, 2, 1, 3]),
                turn("k.turned", swapped, [0, 1, 3, 2]),
                turn("v.turned", v, [0, 2, 1, 3]),
            ]
        }
    };
    let mut y = model.add_node("attention", Op::Attention { scale: 0.3 }, &parts).unwrap();
    if turned {
        y = model.add_node("y.turned", Op::Transpose { order: vec![0, 2, 1, 3] }, &[y]).unwrap();
    }
    model.set_outputs(&[y]).unwrap();
    model
}

#[test]
fn heads_are_read_and_written_where_they_lie() {
    let Some(gpu) = gpu() else { return };
    // batch, heads, queries, keys, d, e
    for [b, h, m, n, d, e] in
        [[2, 3, 5, 7, 8, 8], [1, 1, 1, 1, 4, 4], [2, 2, 9, 33, 5, 6], [1, 4, 17, 2, 16, 3]]
    {
        let tensor =
            |seed, shape: [usize; 4]| Tensor::f32(shape, Rng(seed).f32s(shape.iter().product())).unwrap();
        let (q, k, v) = (tensor(1, [b, m, h, d]), tensor(2, [b, n, h, d]), tensor(3, [b, n, h, e]));
        let outside =
            [("q", moved(&q, [0, 2, 1, 3])), ("k", moved(&k, [0, 2, 3, 1])), ("v", moved(&v, [0, 2, 1, 3]))];
        let inputs = [("q", q), ("k", k), ("v", v)];
        for half in [false, true] {
            let of = |model: Model| if half { optimize::half(&model).unwrap().model } else { model };
            let want = run(gpu, &of(attention(false, false)), &outside).remove(0);
            let want = moved(&want, [0, 2, 1, 3]);
            for two_steps in [false, true] {
                let what = format!("{b} x {h} heads, {m} by {n}, {d} and {e}, half {half}, {two_steps}");
                let model = of(attention(true, two_steps));
                let explained = explain(gpu, &model, &inputs);
                // One kernel rounds neither scores nor weights to what they are stored in: of weights that sum to 1, and
                // values up to 1, both are half a unit of f16 off, or a few dozen of f32's.
                let one = count(&explained, "attention") == 1;
                let apart = match (one, half) {
                    (false, _) => 0.0,
                    (true, true) => 4.0 / 1024.0,
                    (true, false) => 64.0 * f32::EPSILON,
                };
                same(gpu, &what, &run(gpu, &model, &inputs).remove(0), &want, apart);
                // Heads of halves of words are turned, and Explain says so.
                let odd = |n: usize| half && n % 2 == 1;
                let turned = if odd(d) { 2 } else { 0 } + if odd(e) { 2 } else { 0 };
                let steps = turned + usize::from(odd(d) && two_steps);
                assert_eq!(count(&explained, "permute"), steps, "{what}:\n{explained}");
                let why = "not all that reads it can take it as it lies";
                assert_eq!(explained.contains(why), odd(d) || odd(e), "{explained}");
            }
        }
    }
}

const SMALL: Encoder = Encoder {
    layers: 2,
    heads: 3,
    d: 8,
    inner: 64,
    masked: true,
    two_steps: false,
    key_bias: true,
    exposed: false,
};

fn calibrated(gpu: &Gpu, encoder: &Encoder) -> Model {
    let model = encoder.model();
    let mut calibrator = Calibrator::new(gpu, &model, Observer::MinMax).unwrap();
    let inputs = encoder.inputs(2, 9, 5);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
    calibrator.observe(&inputs).unwrap();
    let ranges = pollster::block_on(calibrator.finish()).unwrap();
    optimize::static_int8(&model, &ranges, &Default::default()).unwrap()
}

/// An encoder in every mode.
fn modes(gpu: &Gpu, encoder: &Encoder) -> Vec<(&'static str, Model)> {
    let model = encoder.model();
    let per_tensor = DynamicOptions { per_row: false, ..Default::default() };
    let groups = WeightOnlyOptions { group: Some(32), ..Default::default() };
    let mut all = vec![
        ("half", optimize::half(&model).unwrap().model),
        ("static", calibrated(gpu, encoder)),
        ("dynamic", optimize::dynamic_int8(&model, &Default::default()).unwrap()),
        ("dynamic by tensor", optimize::dynamic_int8(&model, &per_tensor).unwrap()),
        ("weights alone", optimize::weight_only(&model, &Default::default()).unwrap()),
    ];
    if encoder.width().is_multiple_of(32) {
        all.push(("weights alone in groups", optimize::weight_only(&model, &groups).unwrap()));
    }
    all.push(("float", model));
    all
}

#[test]
fn linears_that_read_the_same_are_one_product() {
    let Some(gpu) = gpu() else { return };
    for base in [SMALL, Encoder { heads: 2, d: 16, key_bias: false, two_steps: true, masked: false, ..SMALL }]
    {
        // Where their results leave the model too, nothing is put together.
        let exposed = Encoder { exposed: true, ..base };
        let apart = modes(gpu, &exposed);
        for ((mode, together), (_, apart)) in modes(gpu, &base).into_iter().zip(apart) {
            let inputs = base.inputs(2, 9, 3);
            let (got, want) = (run(gpu, &together, &inputs), run(gpu, &apart, &inputs));
            same(gpu, mode, &got[0], &want[0], 0.0);
            let explained = explain(gpu, &together, &inputs);
            // A product for q, k and v, two for attention, one after it and two of the block.
            // Where one kernel does attention, none.
            let one = count(&explained, "attention");
            assert!(one == 0 || one == base.layers, "{mode}:\n{explained}");
            assert_eq!(count(&explained, "gemm"), 6 * base.layers - 2 * one, "{mode}:\n{explained}");
            assert_eq!(count(&explained, "permute"), 0, "{mode}:\n{explained}");
            assert_eq!(count(&explained, "strided"), 0, "{mode}:\n{explained}");
            assert!(explained.contains("; fused: k.0, v.0"), "{mode}:\n{explained}");
            let explained = explain(gpu, &apart, &inputs);
            assert_eq!(count(&explained, "gemm"), 8 * base.layers - 2 * one, "{mode}:\n{explained}");
        }
    }
}

#[test]
fn heads_that_are_no_whole_words_are_made_one_by_one() {
    let Some(gpu) = gpu() else { return };
    let odd = Encoder { heads: 2, d: 7, ..SMALL };
    let (inputs, half) = (odd.inputs(2, 9, 3), optimize::half(&odd.model()).unwrap().model);
    let explained = explain(gpu, &half, &inputs);
    assert_eq!(count(&explained, "gemm"), 8 * odd.layers, "{explained}");
    let (got, want) = (run(gpu, &half, &inputs), run(gpu, &odd.model(), &inputs));
    let (got, want) = (got[0].to_f32(), want[0].to_f32());
    let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (a, b) in got.iter().zip(&want) {
        assert!((a - b).abs() <= 0.02 * largest, "{a}, not {b}");
    }
}

/// Plans of two shapes share what is packed, and what an observer sees is each linear layer's own.
#[test]
fn weights_are_shared_and_columns_observed() {
    let Some(gpu) = gpu() else { return };
    let model = SMALL.model();
    let weights = Weights::default();
    let values: Vec<String> = ["q.0", "k.0", "v.0", "k.split.0", "k.turned.0"].map(String::from).to_vec();
    let stride = state_stride(gpu.device());
    let words = stride as usize / 4;
    let observed = |values: &[String], tokens: usize| {
        let states = gpu.upload_words(&vec![0; words * values.len()]).unwrap();
        let inputs = SMALL.inputs(2, tokens, 3);
        let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(n, t)| (*n, t.shape())).collect();
        let observe = Observe { values, states: &states, update: Update::default() };
        let descriptor = PlanDescriptor {
            inputs: &shapes,
            observe: Some(observe),
            weights: Some(&weights),
            ..Default::default()
        };
        let plan = Plan::with_kernels(gpu.kernels(), &model, &descriptor).unwrap();
        let mut buffers: Vec<wgpu::Buffer> = inputs.iter().map(|(_, t)| gpu.upload(t).unwrap()).collect();
        buffers.extend(plan.outputs().iter().map(|p| gpu.buffer(p.bytes()).unwrap()));
        let ports = plan.inputs().iter().chain(plan.outputs()).zip(&buffers);
        let views: Vec<_> = ports.map(|(port, buffer)| (port.name.as_str(), port.view(buffer))).collect();
        let frame = plan.bind(&views).unwrap();
        gpu.submit(|pass| frame.record(pass));
        let all = pollster::block_on(gpu.read_words(&states, 0, words * values.len())).unwrap();
        all.chunks(words).map(|s| [s[0], s[1]]).collect::<Vec<_>>()
    };
    for tokens in [9, 4] {
        let exposed = Encoder { exposed: true, ..SMALL };
        let outputs = run(gpu, &exposed.model(), &SMALL.inputs(2, tokens, 3));
        let ranges = observed(&values, tokens);
        // q, q.turned, k, k.turned, v, v.turned after the result itself.
        for (got, of) in ranges.into_iter().zip([1, 3, 5, 3, 3]) {
            let v = outputs[of].to_f32();
            let want =
                [v.iter().copied().fold(f32::MAX, f32::min), v.iter().copied().fold(f32::MIN, f32::max)];
            assert_eq!(got.map(f32::from_bits), want, "output {of}");
        }
    }
}
