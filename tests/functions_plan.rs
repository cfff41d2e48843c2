//! Functions that a Conv or Linear ends in: when they are taken in, that it changes nothing, and that optimizations and
//! files keep them.

#[path = "common/ending.rs"]
mod ending;
#[path = "common/gpu.rs"]
mod gpu;

use ending::{GELU, HARD_SWISH, ended};
use gpu::{Rng, gpu};
use weighbridge::calibrate::Ranges;
use weighbridge::graph::{Activation, Dim, Model, Op, UnaryOp, Window};
use weighbridge::optimize::{self, observed_values};
use weighbridge::quant::{Observer, Range};
use weighbridge::reference::{self, BLayout, Gemm, Storage};
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Gpu, Session};

const IDENTITY: Activation = Activation::Identity;

fn function(activation: Activation) -> Op {
    match activation {
        Activation::Function(f) => Op::Unary(f),
        other => Op::Activation(other),
    }
}

/// `[batch, 3, 4, 4]` -> 1x1 Conv -> function -> Flatten -> Linear -> function.
fn net(first: Activation, second: Activation) -> Model {
    let mut rng = Rng(5);
    let mut m = Model::new("net");
    let shape = ["batch".into(), 3.into(), 4.into(), 4.into()];
    let x = m.add_input("x", Element::F32, shape).unwrap();
    let w = m.add_constant("w1", Tensor::f32([5, 3, 1, 1], rng.f32s(15)).unwrap()).unwrap();
    let conv = Op::Conv { window: Window::new([1, 1], [1, 1]), groups: 1, activation: IDENTITY };
    let h = m.add_node("conv", conv, &[x, w]).unwrap();
    let h = m.add_node("f1", function(first), &[h]).unwrap();
    let h = m.add_node("flat", Op::Flatten { axis: 1 }, &[h]).unwrap();
    let w = m.add_constant("w2", Tensor::f32([7, 80], rng.f32s(560)).unwrap()).unwrap();
    let b = m.add_constant("b2", Tensor::f32([7], rng.f32s(7)).unwrap()).unwrap();
    let h = m.add_node("linear", Op::Linear { activation: IDENTITY }, &[h, w, b]).unwrap();
    let y = m.add_node("f2", function(second), &[h]).unwrap();
    m.set_outputs(&[y]).unwrap();
    m
}

fn endings(model: &Model) -> Vec<Activation> {
    model.nodes().iter().filter_map(|n| n.op.activation()).collect()
}

fn run(gpu: &Gpu, model: &Model, x: &Tensor) -> Vec<f32> {
    let session = Session::new(gpu, model).unwrap();
    pollster::block_on(session.run(&[("x", x)])).unwrap().remove(0).to_f32()
}

#[test]
fn fused_and_not_fused_agree() {
    let Some(gpu) = gpu() else { return };
    let (m, k, n) = (9, 33, 21);
    let mut rng = Rng(7);
    let (x, w, b) = (rng.f32s(m * k), rng.f32s(n * k), rng.f32s(n));
    for activation in [GELU, HARD_SWISH] {
        let mut model = Model::new("one");
        let input = model.add_input("x", Element::F32, [Dim::Fixed(m), Dim::Fixed(k)]).unwrap();
        let weight = model.add_constant("w", Tensor::f32([n, k], w.clone()).unwrap()).unwrap();
        let bias = model.add_constant("b", Tensor::f32([n], b.clone()).unwrap()).unwrap();
        let linear = Op::Linear { activation: IDENTITY };
        let h = model.add_node("linear", linear, &[input, weight, bias]).unwrap();
        let y = model.add_node("f", function(activation), &[h]).unwrap();
        model.set_outputs(&[y]).unwrap();
        let fused = model.clone().simplify().unwrap();
        assert_eq!(endings(&fused), [activation]);
        assert_eq!((fused.nodes().len(), fused.nodes()[0].fused.as_slice()), (1, &["f".to_owned()][..]));
        let args = Gemm {
            batch: 1,
            m,
            n,
            k,
            a: &x,
            b: &w,
            layout: BLayout::Nk,
            bias: Some(&b),
            activation: IDENTITY,
        };
        let bound = reference::gemm_bound(&args, Storage::F32).unwrap();
        let given = Tensor::f32([m, k], x.clone()).unwrap();
        let (one, two) = (run(gpu, &model, &given), run(gpu, &fused, &given));
        for (i, &sum) in reference::gemm(&args).unwrap().iter().enumerate() {
            let (y, bound) = ended(activation, sum, bound[i]);
            let near = |got: f32| (f64::from(got) - y).abs() <= bound;
            assert!(near(one[i]) && near(two[i]), "{activation:?} at {i}: {} {} {y}", one[i], two[i]);
        }
    }
}

#[test]
fn what_is_taken_in() {
    let model = net(GELU, Activation::Function(UnaryOp::Swish { alpha: 1.5 })).simplify().unwrap();
    assert_eq!(endings(&model), [GELU, Activation::Function(UnaryOp::Swish { alpha: 1.5 })]);
    assert_eq!(model.nodes().len(), 3);
    // Read by another, it stays.
    let mut model = net(GELU, GELU);
    let h = model.value_by_name("linear").unwrap();
    let y = model.outputs()[0];
    model.set_outputs(&[y, h]).unwrap();
    assert_eq!(endings(&model.simplify().unwrap()), [GELU, IDENTITY]);
    // Predicates and sums.
    let mut model = Model::new("not");
    let x = model.add_input("x", Element::F32, [Dim::Fixed(3)]).unwrap();
    let sum = model.add_node("sum", Op::Add { activation: GELU }, &[x, x]);
    assert!(sum.unwrap_err().to_string().contains("only Conv and Linear"));
    assert!(model.add_node("lone", Op::Activation(GELU), &[x]).is_err());
    let sum = model.add_node("sum", Op::Add { activation: IDENTITY }, &[x, x]).unwrap();
    let y = model.add_node("f", function(GELU), &[sum]).unwrap();
    model.set_outputs(&[y]).unwrap();
    assert_eq!(model.simplify().unwrap().nodes().len(), 2);
}

#[test]
fn optimizations_and_files_keep_it() {
    let fused = net(HARD_SWISH, GELU).simplify().unwrap();
    let mut ranges = Ranges::new(Observer::MinMax);
    for id in observed_values(&fused) {
        ranges.values.insert(fused.value(id).name.clone(), Range { min: -3.0, max: 9.0 });
    }
    let half = optimize::half(&fused).unwrap().model;
    let fixed = optimize::static_int8(&fused, &ranges, &Default::default()).unwrap();
    // A file's ranges are the whole tensor's.
    let options = optimize::DynamicOptions { per_row: false, ..Default::default() };
    let dynamic = optimize::dynamic_int8(&fused, &options).unwrap();
    let per_row = optimize::dynamic_int8(&fused, &Default::default()).unwrap();
    assert_eq!(endings(&per_row), [HARD_SWISH, GELU]);
    let made: Vec<Element> = fixed
        .nodes()
        .iter()
        .filter(|n| n.op.activation().is_some())
        .map(|n| fixed.value(n.outputs[0]).element)
        .collect();
    assert_eq!(made, [Element::I8, Element::F32]);
    let x = Tensor::f32([2, 3, 4, 4], Rng(2).f32s(96)).unwrap();
    // Its pixels are five channels: not whole words of int8, where the image is a row.
    if let Some(gpu) = gpu() {
        assert_eq!(run(gpu, &per_row, &x).len(), 14);
    }
    for model in [&fused, &half, &fixed, &dynamic] {
        assert_eq!(endings(model), [HARD_SWISH, GELU]);
        let again = Model::from_onnx_bytes(&model.to_onnx_bytes().unwrap()).unwrap();
        assert_eq!(endings(&again), [HARD_SWISH, GELU]);
        if let Some(gpu) = gpu() {
            let (one, two) = (run(gpu, model, &x), run(gpu, &again, &x));
            // A file's bias is int32 of the operands' scale: within half of that, which is of this size here.
            let apart = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 1.13 * 12.0 / 255.0 * 2.0 / 255.0, "{apart}");
        }
    }
}
