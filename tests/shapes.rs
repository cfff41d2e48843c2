//! Batch and sequence lengths that vary, in a network that computes shapes from its input's shape.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use std::collections::HashMap;
use weighbridge::graph::{Activation, BinaryOp, Deferred, Dim, Model, Node, Op, Output, ReduceOp, ValueId};
use weighbridge::optimize::{DynamicOptions, dynamic_int8, half};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Session, reference};

const WIDTH: usize = 16;
const HEADS: usize = 2;
const VOCABULARY: usize = 50;

/// One block of a transformer as exporters write it: positions are sliced to the sequence's length, heads are split by a
/// shape that is put together from the input's, and the mean is over a sequence whose length nobody knows.
fn transformer() -> Model {
    let mut m = Model::new("transformer");
    let mut rng = Rng(3);
    let mut floats = |m: &mut Model, name: &str, shape: &[usize]| {
        let data = rng.f32s(shape.iter().product());
        m.add_constant(name, Tensor::f32(shape, data).unwrap()).unwrap()
    };
    let longs = |m: &mut Model, name: &str, data: &[i64]| {
        m.add_constant(name, Tensor::new([data.len()], Data::I64(data.to_vec())).unwrap()).unwrap()
    };
    let output = |name: &str, element: Element| Output { name: name.into(), element, quant: None };
    let ids = m.add_input("ids", Element::I64, ["batch".into(), "seq".into()]).unwrap();
    let mask = m.add_input("mask", Element::I64, ["batch".into(), "seq".into()]).unwrap();
    let table = floats(&mut m, "table", &[VOCABULARY, WIDTH]);
    let positions = floats(&mut m, "positions", &[64, WIDTH]);

    let shape = Op::Deferred(Deferred::Shape { start: 0, end: None });
    let shape = m.add_node_as("shape", shape, &[ids], output("shape", Element::I64)).unwrap();
    let (zero, one) = (longs(&mut m, "zero", &[0]), longs(&mut m, "one", &[1]));
    let seq = m.add_node("seq", Op::Gather { axis: 0 }, &[shape, one]).unwrap();
    let tail = longs(&mut m, "tail", &[HEADS as i64, (WIDTH / HEADS) as i64]);
    let split = m.add_node("split", Op::Concat { axis: 0 }, &[shape, tail]).unwrap();
    let whole = longs(&mut m, "whole", &[-1]);
    let merged = m.add_node("merged", Op::Concat { axis: 0 }, &[shape, whole]).unwrap();

    let x = m.add_node("embed", Op::Gather { axis: 0 }, &[table, ids]).unwrap();
    let position = Op::Deferred(Deferred::Slice);
    let position = m.add_node("position", position, &[positions, zero, seq]).unwrap();
    let sum = Op::Add { activation: Activation::Identity };
    let x = m.add_node("x", sum.clone(), &[x, position]).unwrap();
    let mut heads = Vec::new();
    for (name, order) in [("q", vec![0, 2, 1, 3]), ("k", vec![0, 2, 3, 1]), ("v", vec![0, 2, 1, 3])] {
        let w = floats(&mut m, &format!("{name}.weight"), &[WIDTH, WIDTH]);
        let h = m.add_node(name, Op::Linear { activation: Activation::Identity }, &[x, w]).unwrap();
        let reshape = Op::Deferred(Deferred::Reshape { allow_zero: false });
        let h = m.add_node(format!("{name}.split"), reshape, &[h, split]).unwrap();
        heads.push(m.add_node(format!("{name}.heads"), Op::Transpose { order }, &[h]).unwrap());
    }
    // (1 - mask) * -10000, over [batch, 1, 1, seq].
    let real = m.add_node_as("real", Op::Cast, &[mask], output("real", Element::F32)).unwrap();
    let wide = m.add_node("wide", Op::Unsqueeze { axes: vec![1, 2] }, &[real]).unwrap();
    let unit = m.add_constant("unit", Tensor::f32([], [1.0]).unwrap()).unwrap();
    let gone = m.add_node("gone", Op::Binary(BinaryOp::Sub), &[unit, wide]).unwrap();
    let much = m.add_constant("much", Tensor::f32([], [-10000.0]).unwrap()).unwrap();
    let bias = m.add_node("bias", Op::Binary(BinaryOp::Mul), &[gone, much]).unwrap();
    let scores = m.add_node("scores", Op::MatMul, &[heads[0], heads[1]]).unwrap();
    let scale = m.add_constant("scale", Tensor::f32([], [0.25]).unwrap()).unwrap();
    let scaled = m.add_node("scaled", Op::Binary(BinaryOp::Mul), &[scores, scale]).unwrap();
    let masked = m.add_node("masked", sum.clone(), &[scaled, bias]).unwrap();
    let weights = m.add_node("weights", Op::Softmax { axis: 3, log: false }, &[masked]).unwrap();
    let mixed = m.add_node("mixed", Op::MatMul, &[weights, heads[2]]).unwrap();
    let back = m.add_node("back", Op::Transpose { order: vec![0, 2, 1, 3] }, &[mixed]).unwrap();
    let reshape = Op::Deferred(Deferred::Reshape { allow_zero: false });
    let joined = m.add_node("joined", reshape, &[back, merged]).unwrap();
    let y = m.add_node("residual", sum, &[x, joined]).unwrap();
    let y = m.add_node("norm", Op::LayerNorm { axis: 2, epsilon: 1e-5, rms: false }, &[y]).unwrap();
    let mean = Op::Reduce { op: ReduceOp::Mean, axes: vec![1], keep: false };
    let y = m.add_node("mean", mean, &[y]).unwrap();
    m.set_outputs(&[y]).unwrap();
    m
}

fn inputs(batch: usize, seq: usize) -> [Tensor; 2] {
    let ids = (0..batch * seq).map(|i| (i * 7 % VOCABULARY) as i64).collect();
    let mask = (0..batch * seq).map(|i| i64::from(i % seq <= seq / 2 || i / seq == 0)).collect();
    [ids, mask].map(|data| Tensor::new([batch, seq], Data::I64(data)).unwrap())
}

/// Products, which `reference::evaluate` leaves to others, in f64.
fn product(a: &Tensor, b: &Tensor, transposed: bool) -> Tensor {
    let (a_shape, b_shape) = (a.shape(), b.shape());
    let (m, k) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1]);
    let n = if transposed { b_shape[b_shape.len() - 2] } else { b_shape[b_shape.len() - 1] };
    let (av, bv) = (a.to_f32(), b.to_f32());
    let batch = av.len() / (m * k);
    let step = if b_shape.len() > 2 { k * n } else { 0 };
    let mut y = Vec::with_capacity(batch * m * n);
    for (i, row) in av.chunks(k).enumerate() {
        let b = &bv[i / m * step..];
        let at = |j: usize, l: usize| f64::from(if transposed { b[j * k + l] } else { b[l * n + j] });
        y.extend(
            (0..n).map(|j| row.iter().enumerate().map(|(l, &x)| f64::from(x) * at(j, l)).sum::<f64>() as f32),
        );
    }
    let shape = [&a_shape[..a_shape.len() - 1], &[n]].concat();
    Tensor::f32(shape, y).unwrap()
}

/// The specification's answer, node by node.
fn evaluate(model: &Model, inputs: &[(&str, &Tensor)]) -> Tensor {
    let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
    let model = model.specialize(&shapes).unwrap();
    let mut known: HashMap<ValueId, Tensor> = HashMap::new();
    for (name, tensor) in inputs {
        known.insert(model.value_by_name(name).unwrap(), (*tensor).clone());
    }
    let find = |known: &HashMap<ValueId, Tensor>, id: ValueId| {
        known.get(&id).cloned().unwrap_or_else(|| model.constant(id).unwrap().clone())
    };
    for Node { op, inputs, outputs, .. } in model.nodes() {
        let read: Vec<Tensor> = inputs.iter().map(|id| find(&known, id.unwrap())).collect();
        let value = model.value(outputs[0]);
        let made = match op {
            Op::Linear { .. } => product(&read[0], &read[1], true),
            Op::MatMul => product(&read[0], &read[1], false),
            Op::Add { .. } => reference::binary(BinaryOp::Add, &read[0], &read[1]).unwrap(),
            Op::Reshape { .. } | Op::Unsqueeze { .. } => {
                read[0].clone().reshape(value.fixed_shape().unwrap()).unwrap()
            }
            op => {
                let read: Vec<Option<&Tensor>> = read.iter().map(Some).collect();
                reference::evaluate(op, &read, value.element).unwrap().unwrap()
            }
        };
        known.insert(outputs[0], made);
    }
    find(&known, model.outputs()[0])
}

#[test]
fn shapes_keep_their_symbols() {
    let model = transformer().simplify().unwrap();
    let shape = |name: &str| model.value(model.value_by_name(name).unwrap()).shape.clone();
    let [batch, seq] = ["batch", "seq"].map(|s| Dim::Symbol(s.into()));
    let fixed = Dim::Fixed;
    assert_eq!(shape("q.split"), [batch.clone(), seq, fixed(HEADS), fixed(WIDTH / HEADS)]);
    assert_eq!(shape("mean"), [batch, fixed(WIDTH)]);
    let ops: Vec<&str> = model.nodes().iter().map(|n| n.op.name()).collect();
    assert!(ops.contains(&"Attention") && !ops.contains(&"Softmax"), "{ops:?}");
}

#[test]
fn any_batch_and_length() {
    let Some(gpu) = gpu() else { return };
    let plain = transformer();
    let fused = plain.clone().simplify().unwrap();
    let sessions = [&plain, &fused].map(|m| Session::new(gpu, m).unwrap());
    // More shapes than a session keeps plans, and some of them again.
    let mut shapes: Vec<(usize, usize)> = (1..=6).flat_map(|b| [(b, 3 + b), (7 - b, 5 * b)]).collect();
    shapes.extend_from_within(..3);
    for (batch, seq) in shapes {
        let [ids, mask] = inputs(batch, seq);
        let named = [("ids", &ids), ("mask", &mask)];
        let want = evaluate(&plain, &named);
        for (session, what) in sessions.iter().zip(["written out", "fused"]) {
            let got = pollster::block_on(session.run(&named)).unwrap().remove(0);
            assert_eq!(got.shape(), want.shape());
            // Values are up to 4 = sqrt(16). Scores of up to 256 * 0.25 round to 2^-18 and exp makes that relative; sums
            // are of at most 30 terms, and a few more roundings follow: 2^-14 of the largest is ample and says enough.
            for (i, (a, b)) in got.to_f32().iter().zip(want.to_f32()).enumerate() {
                assert!(
                    (a - b).abs() < 4.0 * 2f32.powi(-14),
                    "{what} [{batch}, {seq}] at {i}: {a} is not {b}"
                );
            }
        }
    }
}

#[test]
fn optimized_forms_take_any_shape_too() {
    let Some(gpu) = gpu() else { return };
    let model = transformer().simplify().unwrap();
    let variants = [half(&model).unwrap().model, dynamic_int8(&model, &DynamicOptions::default()).unwrap()];
    let exact = Session::new(gpu, &model).unwrap();
    for variant in &variants {
        let session = Session::new(gpu, variant).unwrap();
        for (batch, seq) in [(1, 1), (2, 9), (3, 4), (1, 33)] {
            let [ids, mask] = inputs(batch, seq);
            let named = [("ids", &ids), ("mask", &mask)];
            let [a, b] =
                [&exact, &session].map(|s| pollster::block_on(s.run(&named)).unwrap().remove(0).to_f32());
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            assert!(cosine > 0.995, "[{batch}, {seq}]: {cosine}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let model = transformer();
    let infer = |ids: [usize; 2], mask: [usize; 2]| {
        model.infer_shapes(&[("ids", ids.to_vec()), ("mask", mask.to_vec())])
    };
    assert!(infer([2, 5], [2, 5]).is_ok());
    let error = infer([2, 5], [2, 6]).unwrap_err().to_string();
    assert!(error.contains("`mask`") && error.contains('6') && error.contains('5'), "{error}");
    // There are 64 positions.
    let error = infer([2, 65], [2, 65]).unwrap_err();
    assert!(matches!(&error, Error::Node { node, .. } if node == "x"), "{error}");
    assert!(error.to_string().contains("64") && error.to_string().contains("65"), "{error}");
}
