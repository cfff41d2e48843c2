//! Optimizations, value by value.

use weighbridge::calibrate::Ranges;
use weighbridge::graph::{Activation, Model, Op, Quant, ValueId, Window};
use weighbridge::optimize::{
    DynamicOptions, Policy, StaticOptions, WeightOnlyOptions, Which, dynamic_int8, half, observed_values,
    static_int8, weight_only,
};
use weighbridge::quant::{Observer, Range, Scheme};
use weighbridge::tensor::{Data, Element, Tensor};

const RELU: Activation = Activation::Relu;

/// Input [batch, 1, 4, 4] -> Conv+Relu -> MaxPool -> Flatten -> Linear+Relu -> Linear.
fn net() -> Model {
    let mut m = Model::new("net");
    let ramp = |n: usize| (0..n).map(|i| (i as f32 - 7.0) / 8.0).collect::<Vec<f32>>();
    let x = m.add_input("input", Element::F32, ["batch".into(), 1.into(), 4.into(), 4.into()]).unwrap();
    let w1 = m.add_constant("conv.weight", Tensor::f32([2, 1, 3, 3], ramp(18)).unwrap()).unwrap();
    let b1 = m.add_constant("conv.bias", Tensor::f32([2], vec![0.5, 1e6]).unwrap()).unwrap();
    let window = Window::new([3, 3], [1, 1]).padded([1, 1]);
    let conv = Op::Conv { window, groups: 1, activation: RELU };
    let h = m.add_node("conv", conv, &[x, w1, b1]).unwrap();
    let pool = Op::Pool { kind: weighbridge::graph::PoolKind::Max, window: Window::new([2, 2], [2, 2]) };
    let h = m.add_node("pool", pool, &[h]).unwrap();
    let h = m.add_node("flat", Op::Flatten { axis: 1 }, &[h]).unwrap();
    let w2 = m.add_constant("fc1.weight", Tensor::f32([3, 8], ramp(24)).unwrap()).unwrap();
    let h = m.add_node("fc1", Op::Linear { activation: RELU }, &[h, w2]).unwrap();
    let w3 = m
        .add_constant("fc2.weight", Tensor::f32([2, 3], vec![1.0, 0.5, -2.0, 0.0, 0.0, 0.0]).unwrap())
        .unwrap();
    let y = m.add_node("fc2", Op::Linear { activation: Activation::Identity }, &[h, w3]).unwrap();
    m.set_outputs(&[y]).unwrap();
    m.validate().unwrap();
    m
}

fn ranges(model: &Model) -> Ranges {
    let mut ranges = Ranges::new(Observer::MinMax);
    for id in observed_values(model) {
        ranges.values.insert(model.value(id).name.clone(), Range { min: -1.0, max: 1.55 });
    }
    ranges
}

fn id(model: &Model, name: &str) -> ValueId {
    model.value_by_name(name).unwrap_or_else(|| panic!("no value `{name}`"))
}

fn element(model: &Model, name: &str) -> Element {
    model.value(id(model, name)).element
}

fn ops(model: &Model) -> Vec<&str> {
    model.nodes().iter().map(|n| n.op.name()).collect()
}

#[test]
fn what_is_observed() {
    let m = net();
    let names: Vec<&str> = observed_values(&m).into_iter().map(|i| m.value(i).name.as_str()).collect();
    assert_eq!(names, ["input", "conv", "fc1"]);
}

#[test]
fn static_values() {
    let m = net();
    let q = static_int8(&m, &ranges(&m), &StaticOptions::default()).unwrap();
    assert_eq!(ops(&q), ["Quantize", "Conv", "MaxPool", "Flatten", "Linear", "Linear"]);
    for name in ["input.int8", "conv", "pool", "flat", "fc1", "conv.weight", "fc1.weight", "fc2.weight"] {
        assert_eq!(element(&q, name), Element::I8, "{name}");
        assert!(q.value(id(&q, name)).quant.is_some(), "{name}");
    }
    for name in ["input", "fc2", "conv.bias"] {
        assert_eq!(element(&q, name), Element::F32, "{name}");
        assert_eq!(q.value(id(&q, name)).quant, None, "{name}");
    }
    let quant = |name: &str| q.value(id(&q, name)).quant.clone();
    assert_eq!(quant("pool"), quant("conv"));
    assert_eq!(quant("flat"), quant("conv"));
    let expected = Scheme::int8_affine().params(Range { min: -1.0, max: 1.55 }).unwrap();
    assert_eq!(quant("conv"), Some(Quant::Static { axis: None, params: vec![expected] }));
}

#[test]
fn weights_by_the_formula() {
    let m = net();
    for per_channel in [true, false] {
        let options = StaticOptions { per_channel, ..StaticOptions::default() };
        let q = static_int8(&m, &ranges(&m), &options).unwrap();
        for name in ["conv.weight", "fc1.weight", "fc2.weight"] {
            let real = m.constant(id(&m, name)).unwrap();
            let value = q.value(id(&q, name));
            let Some(Quant::Static { axis, params }) = &value.quant else {
                panic!("{name}: {:?}", value.quant)
            };
            assert_eq!(*axis, per_channel.then_some(0));
            let Data::I8(got) = value.constant.as_ref().unwrap().data() else { panic!("{name}") };
            let columns = real.len() / params.len();
            for (c, row) in real.as_f32().unwrap().chunks(columns).enumerate() {
                // PyTorch's observer for -128..=127: absmax / 127.5, at least 2^-23.
                let scale = (row.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.5).max(f32::EPSILON);
                assert_eq!((params[c].scale, params[c].zero_point), (scale, 0), "{name} {c}");
                for (x, q) in row.iter().zip(&got[c * columns..]) {
                    let expected = (x * (1.0 / scale)).round_ties_even().clamp(-128.0, 127.0);
                    assert_eq!(f32::from(*q), expected, "{name} {c}: {x}");
                }
            }
        }
    }
}

#[test]
fn skipped_nodes_stay_float() {
    let m = net();
    let skip = |names: &[&str]| StaticOptions {
        policy: Policy::skip(names.iter().copied()),
        ..StaticOptions::default()
    };
    let q = static_int8(&m, &ranges(&m), &skip(&["fc1"])).unwrap();
    // Nothing reads the convolution's result as int8, so it makes f32 itself.
    assert_eq!(ops(&q), ["Quantize", "Conv", "MaxPool", "Flatten", "Linear", "Quantize", "Linear"]);
    assert_eq!(element(&q, "fc1.weight"), Element::F32);
    assert_eq!(element(&q, "fc1.int8"), Element::I8);
    let q = static_int8(&m, &ranges(&m), &skip(&["conv"])).unwrap();
    assert_eq!(ops(&q), ["Conv", "Quantize", "MaxPool", "Flatten", "Linear", "Linear"]);
    let error = static_int8(&m, &ranges(&m), &skip(&["cnov"])).unwrap_err().to_string();
    assert!(error.contains("`cnov`"), "{error}");
    let by_op = |policy| static_int8(&m, &ranges(&m), &StaticOptions { policy, ..Default::default() });
    let no_linear = Policy::default().float(Which::Op("Linear".into()));
    assert_eq!(element(&by_op(no_linear.clone()).unwrap(), "fc1.weight"), Element::F32);
    let but_one = no_linear.int8(Which::Node("fc1".into()));
    let q = by_op(but_one).unwrap();
    assert_eq!((element(&q, "fc1.weight"), element(&q, "fc2.weight")), (Element::I8, Element::F32));
    let error = by_op(Policy::default().float(Which::Op("Gemm".into()))).unwrap_err().to_string();
    assert!(error.contains("`Gemm`") && error.contains("Linear"), "{error}");
}

/// A transformer's tail: a table, a residual sum and a norm stay out of the integers, the products do not.
#[test]
fn a_residual_stream_stays_float() {
    let mut m = Model::new("block");
    let ids = m.add_input("ids", Element::I64, ["batch".into(), "seq".into()]).unwrap();
    let ramp = |n: usize| (0..n).map(|i| (i % 13) as f32 / 8.0 - 0.7).collect::<Vec<f32>>();
    let table = m.add_constant("table", Tensor::f32([8192, 8], ramp(65536)).unwrap()).unwrap();
    let table = |m: &mut Model| m.add_node("embed", Op::Gather { axis: 0 }, &[table, ids]).unwrap();
    let x = table(&mut m);
    let w = m.add_constant("w", Tensor::f32([8, 8], ramp(64)).unwrap()).unwrap();
    let linear = Op::Linear { activation: Activation::Identity };
    let h = m.add_node("fc", linear.clone(), &[x, w]).unwrap();
    let sum = Op::Add { activation: Activation::Identity };
    let h = m.add_node("residual", sum.clone(), &[x, h]).unwrap();
    let h2 = m.add_node("fc2", linear, &[h, w]).unwrap();
    let y = m.add_node("residual2", sum, &[h, h2]).unwrap();
    let y = m.add_node("norm", Op::LayerNorm { axis: 2, epsilon: 1e-5, rms: false }, &[y]).unwrap();
    m.set_outputs(&[y]).unwrap();
    let q = static_int8(&m, &ranges(&m), &StaticOptions::default()).unwrap();
    let expected = ["Gather", "Quantize", "Linear", "Add", "Quantize", "Linear", "Add", "LayerNormalization"];
    assert_eq!(ops(&q), expected);
    assert_eq!((element(&q, "table"), element(&q, "w")), (Element::I8, Element::I8));
    assert_eq!((element(&q, "residual"), element(&q, "ids")), (Element::F32, Element::I64));
    let table = q.value(q.value_by_name("table").unwrap());
    assert!(matches!(&table.quant, Some(Quant::Static { axis: Some(0), params }) if params.len() == 8192));
    let d = dynamic_int8(&m, &DynamicOptions::default()).unwrap();
    assert_eq!(ops(&d), expected);
    let h = half(&m).unwrap().model;
    assert_eq!((element(&h, "residual"), element(&h, "ids")), (Element::F16, Element::I64));
}

#[test]
fn weight_only_values() {
    let m = net();
    let q = weight_only(&m, &WeightOnlyOptions::default()).unwrap();
    assert_eq!(ops(&q), ops(&m));
    assert_eq!((element(&q, "conv.weight"), element(&q, "fc1.weight")), (Element::F32, Element::I8));
    assert!(["input", "conv", "flat", "fc1", "fc2"].iter().all(|n| element(&q, n) == Element::F32));
    let d = dynamic_int8(&m, &DynamicOptions::default()).unwrap();
    let (ours, theirs) = (q.value(id(&q, "fc1.weight")), d.value(id(&d, "fc1.weight")));
    assert_eq!((&ours.quant, &ours.constant), (&theirs.quant, &theirs.constant));

    // In groups of 32, of which one is zeros; a table that a Linear reads too has both forms.
    let mut m = Model::new("groups");
    let ids = m.add_input("ids", Element::I64, ["batch".into()]).unwrap();
    let reals: Vec<f32> =
        (0..65536).map(|i| if i / 32 == 3 { 0.0 } else { (i % 45) as f32 / 8.0 - 2.5 }).collect();
    let table = m.add_constant("table", Tensor::f32([1024, 64], reals.clone()).unwrap()).unwrap();
    let x = m.add_node("embed", Op::Gather { axis: 0 }, &[table, ids]).unwrap();
    let y = m.add_node("head", Op::Linear { activation: Activation::Identity }, &[x, table]).unwrap();
    m.set_outputs(&[y]).unwrap();
    let options = |group| WeightOnlyOptions { group, ..Default::default() };
    let q = weight_only(&m, &options(Some(32))).unwrap();
    let read = |node: usize, i: usize| q.value(q.nodes()[node].inputs[i].unwrap());
    assert!(
        matches!(&read(0, 0).quant, Some(Quant::Static { axis: Some(0), params }) if params.len() == 1024)
    );
    let weight = read(1, 1);
    let Some(Quant::Grouped { group: 32, params }) = &weight.quant else { panic!("{:?}", weight.quant) };
    let Data::I8(got) = weight.constant.as_ref().unwrap().data() else { panic!("not int8") };
    assert_eq!(params.len(), 2048);
    for (g, run) in reals.chunks(32).enumerate() {
        let scale = (run.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.5).max(f32::EPSILON);
        assert_eq!((params[g].scale, params[g].zero_point), (scale, 0), "{g}");
        for (x, q) in run.iter().zip(&got[g * 32..]) {
            let expected = (x * (1.0 / scale)).round_ties_even().clamp(-128.0, 127.0);
            assert_eq!(f32::from(*q), expected, "{g}: {x}");
        }
    }
    assert_eq!(q.constant_bytes(), 2 * 65536 + 16 * (1024 + 2048));
    // Without groups one form serves both.
    let q = weight_only(&m, &options(None)).unwrap();
    assert_eq!(q.constants().count(), 1);
}

#[test]
fn weight_only_refuses() {
    let m = net();
    let fail = |options: WeightOnlyOptions| weight_only(&m, &options).unwrap_err().to_string();
    let group = |group| WeightOnlyOptions { group: Some(group), ..Default::default() };
    let error = fail(group(32));
    assert!(["`fc1`", "groups of 32", "k of 8"].iter().all(|s| error.contains(s)), "{error}");
    let policy = Policy::skip(["fc1", "fc2"]);
    let q = weight_only(&m, &WeightOnlyOptions { policy, ..group(32) }).unwrap();
    assert!(q.values().iter().all(|v| v.quant.is_none()));
    assert!(fail(group(48)).contains("groups of 48: a multiple of 32"));
    assert!(fail(group(0)).contains("groups of 0"));
    let weights = Scheme::int8_affine();
    assert!(fail(WeightOnlyOptions { weights, ..Default::default() }).contains("symmetric"));
    let policy = Policy::skip(["cnov"]);
    assert!(fail(WeightOnlyOptions { policy, ..Default::default() }).contains("`cnov`"));
    let q = weight_only(&m, &WeightOnlyOptions::default()).unwrap();
    assert!(
        weight_only(&q, &WeightOnlyOptions::default()).unwrap_err().to_string().contains("already quantized")
    );
}

#[test]
fn a_missing_range_is_named() {
    let m = net();
    let mut ranges = ranges(&m);
    ranges.values.remove("conv");
    let error = static_int8(&m, &ranges, &StaticOptions::default()).unwrap_err().to_string();
    assert!(error.contains("`conv`"), "{error}");
}

#[test]
fn dynamic_values() {
    let m = net();
    let q = dynamic_int8(&m, &DynamicOptions::default()).unwrap();
    assert_eq!(
        ops(&q),
        ["Quantize", "Conv", "MaxPool", "Flatten", "Quantize", "Linear", "Quantize", "Linear"]
    );
    let per_row = |name: &str| match q.value(id(&q, name)).quant {
        Some(Quant::Dynamic { per_row, .. }) => per_row,
        ref other => panic!("{name}: {other:?}"),
    };
    assert!(!per_row("input.int8"));
    assert!(per_row("flat.int8") && per_row("fc1.int8"));
    assert!(["conv", "pool", "flat", "fc1", "fc2"].iter().all(|n| element(&q, n) == Element::F32));
    let q = dynamic_int8(&m, &DynamicOptions { convs: false, ..DynamicOptions::default() }).unwrap();
    assert_eq!(element(&q, "conv.weight"), Element::F32);
    assert_eq!(element(&q, "fc1.weight"), Element::I8);
}

#[test]
fn one_quantize_for_all_readers_and_add_in_int8() {
    let mut m = Model::new("branches");
    let x = m.add_input("x", Element::F32, ["batch".into(), 2.into()]).unwrap();
    let w = m.add_constant("w", Tensor::f32([2, 2], vec![1.0; 4]).unwrap()).unwrap();
    let linear = Op::Linear { activation: Activation::Identity };
    let a = m.add_node("a", linear.clone(), &[x, w]).unwrap();
    let b = m.add_node("b", linear, &[x, w]).unwrap();
    let y = m.add_node("y", Op::Add { activation: RELU }, &[a, b]).unwrap();
    m.set_outputs(&[y]).unwrap();
    assert_eq!(
        ops(&dynamic_int8(&m, &DynamicOptions::default()).unwrap()),
        ["Quantize", "Linear", "Linear", "Add"]
    );
    let policy = Policy::default().int8(Which::Op("Add".into()));
    let q = static_int8(&m, &ranges(&m), &StaticOptions { policy, ..Default::default() }).unwrap();
    assert_eq!(ops(&q), ["Quantize", "Linear", "Linear", "Add", "Dequantize"]);
    assert_eq!(q.value(q.outputs()[0]).name, "y");
    assert_eq!(q.constants().count(), 1);
    let options = StaticOptions { policy: Policy::skip(["a"]), ..StaticOptions::default() };
    static_int8(&m, &ranges(&m), &options).unwrap().validate().unwrap();
}

#[test]
fn half_saturates_and_counts() {
    let m = net();
    let h = half(&m).unwrap();
    assert_eq!((h.saturated, h.flushed), (1, 0));
    let Data::F16(bias) = h.model.constant(id(&h.model, "conv.bias")).unwrap().data() else { panic!() };
    assert_eq!(bias[1].to_f32(), 65504.0);
    assert_eq!(ops(&h.model), ["Cast", "Conv", "MaxPool", "Flatten", "Linear", "Linear", "Cast"]);
    assert_eq!((element(&h.model, "input"), element(&h.model, "fc2")), (Element::F32, Element::F32));
    assert_eq!((element(&h.model, "conv"), element(&h.model, "fc2.f16")), (Element::F16, Element::F16));
    let again = half(&h.model).unwrap_err().to_string();
    assert!(again.contains("not f32"), "{again}");
}

#[test]
fn ranges_merge_by_their_observer() {
    let run = |observer, batches, min, max| {
        let mut ranges = Ranges::new(observer);
        ranges.batches = batches;
        ranges.values.insert("x".into(), Range { min, max });
        ranges
    };
    let mut a = run(Observer::MinMax, 1, -1.0, 1.0);
    a.merge(&run(Observer::MinMax, 3, -0.5, 2.0)).unwrap();
    assert_eq!((a.batches, a.get("x").unwrap()), (4, Range { min: -1.0, max: 2.0 }));
    let mut a = run(Observer::moving_average(), 1, -1.0, 1.0);
    a.merge(&run(Observer::moving_average(), 3, -2.0, 5.0)).unwrap();
    assert_eq!(a.get("x").unwrap(), Range { min: -1.75, max: 4.0 });
    assert!(a.merge(&run(Observer::MinMax, 1, 0.0, 1.0)).is_err());
    assert!(a.get("y").unwrap_err().to_string().contains("`y`"));
}

#[cfg(feature = "serde")]
#[test]
fn ranges_as_json() {
    let mut ranges = ranges(&net());
    let text = ranges.to_json().unwrap();
    assert_eq!(Ranges::from_json(&text).unwrap(), ranges);
    assert!(Ranges::from_json(&text.replace("1.55", "-2.0")).is_err());
    ranges.values.insert("conv".into(), Range { min: f32::NAN, max: 0.0 });
    assert!(ranges.to_json().unwrap_err().to_string().contains("`conv`"));
}
