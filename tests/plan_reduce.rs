//! Reductions, softmax, normalizations and attention as a plan lays them out, against the same ops on the host.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use weighbridge::graph::{Dim, Model, Op, Output, PoolKind, ReduceOp, ValueId, Window};
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Gpu, Session};

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::Fixed(n)).collect()
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    Tensor::f32(shape, Rng(seed).f32s(shape.iter().product())).unwrap()
}

/// The op on a device, its first input given at run time and the others constants.
fn planned(gpu: &Gpu, op: &Op, inputs: &[&Tensor], element: Element) -> Tensor {
    let mut model = Model::new("one");
    let mut ids: Vec<ValueId> =
        vec![model.add_input("x", inputs[0].element(), dims(inputs[0].shape())).unwrap()];
    for (i, &t) in inputs.iter().enumerate().skip(1) {
        ids.push(model.add_constant(format!("c{i}"), t.clone()).unwrap());
    }
    let output = Output { name: "y".into(), element, quant: None };
    let y = model.add_node_as("node", op.clone(), &ids, output).unwrap();
    model.set_outputs(&[y]).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let out = pollster::block_on(session.run(&[("x", inputs[0])]));
    out.unwrap_or_else(|e| panic!("{op:?}: {e}")).remove(0)
}

fn check(gpu: &Gpu, op: Op, inputs: &[&Tensor], element: Element) {
    let got = planned(gpu, &op, inputs, element);
    let given: Vec<Option<&Tensor>> = inputs.iter().map(|&t| Some(t)).collect();
    let want = reference::evaluate(&op, &given, element).unwrap().unwrap();
    let what = format!("{op:?} of {:?}", inputs[0].shape());
    assert_eq!((got.shape(), got.element()), (want.shape(), want.element()), "{what}");
    if !matches!(element, Element::F32 | Element::F16) {
        assert_eq!(got.data(), want.data(), "{what}");
        return;
    }
    // The kernels' own tests hold them to derived bounds; layouts that are wrong are wrong by far more than this:
    // at most 120 terms of at most 1 are summed, then scaled by less than 10 (normalizations).
    let error = if element == Element::F16 { 2f32.powi(-8) } else { 1200.0 * f32::EPSILON };
    for (i, (got, want)) in got.to_f32().iter().zip(want.to_f32()).enumerate() {
        assert!((got - want).abs() <= error * want.abs().max(1.0), "{what} at {i}: {got} is not {want}");
    }
}

#[test]
fn reductions_over_any_axes() {
    let Some(gpu) = gpu() else { return };
    let x = random(&[2, 3, 4, 5], 1);
    let ints: Vec<i32> = (0..120).map(|i| i * 7 % 11 - 5).collect();
    let ints = Tensor::new([2, 3, 4, 5], Data::I32(ints)).unwrap();
    let all: [&[usize]; 8] = [&[0], &[3], &[1, 2], &[0, 2], &[1, 3], &[0, 3], &[0, 1, 2, 3], &[]];
    for (i, axes) in all.into_iter().enumerate() {
        for op in [ReduceOp::Mean, ReduceOp::Max, ReduceOp::L1] {
            let op = Op::Reduce { op, axes: axes.to_vec(), keep: i % 2 == 0 };
            check(gpu, op.clone(), &[&x], Element::F32);
            check(gpu, op, &[&ints], Element::I32);
        }
    }
    for axis in 0..4 {
        let op = Op::ArgReduce { max: axis % 2 == 0, axis, keep: axis < 2, last: axis == 3 };
        check(gpu, op.clone(), &[&x], Element::I64);
        check(gpu, op, &[&ints], Element::I64);
        let op = Op::CumSum { axis, exclusive: axis == 1, reverse: axis == 2 };
        check(gpu, op.clone(), &[&x], Element::F32);
        check(gpu, op, &[&ints], Element::I32);
    }
}

#[test]
fn rows_that_are_normalized() {
    let Some(gpu) = gpu() else { return };
    let half = |t: &Tensor| {
        let shape = t.shape().to_vec();
        let v = t.to_f32().into_iter().map(half::f16::from_f32).collect();
        Tensor::new(shape, Data::F16(v)).unwrap()
    };
    for shape in [[2, 3, 4, 6], [2, 6, 5, 3]] {
        let wide = random(&shape, 2);
        for x in [&wide, &half(&wide)] {
            let element = x.element();
            for axis in 0..4 {
                check(gpu, Op::Softmax { axis, log: axis == 1 }, &[x], element);
            }
            let like = |t: Tensor| if element == Element::F16 { half(&t) } else { t };
            for axis in 1..4 {
                let scale = like(random(&shape[axis..], 3));
                let bias = like(random(&shape[3..], 4));
                for rms in [false, true] {
                    check(gpu, Op::LayerNorm { axis, epsilon: 1e-2, rms }, &[x, &scale, &bias], element);
                }
                check(gpu, Op::LayerNorm { axis, epsilon: 1e-2, rms: true }, &[x], element);
            }
            let scale = like(random(&[shape[1]], 5));
            for groups in [1, 3, shape[1]] {
                check(gpu, Op::GroupNorm { groups, epsilon: 1e-2 }, &[x, &scale, &scale], element);
            }
        }
    }
}

#[test]
fn images_are_reduced_as_they_lie() {
    let Some(gpu) = gpu() else { return };
    let x = random(&[2, 3, 6, 7], 6);
    let mut model = Model::new("image");
    let id = model.add_input("x", Element::F32, dims(x.shape())).unwrap();
    let pool = Op::Pool { kind: PoolKind::Max, window: Window::new([2, 2], [1, 1]) };
    let pooled = model.add_node("pool", pool, &[id]).unwrap();
    let op = Op::Reduce { op: ReduceOp::Max, axes: vec![2, 3], keep: false };
    let y = model.add_node("most", op, &[pooled]).unwrap();
    model.set_outputs(&[y]).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    let got = pollster::block_on(session.run(&[("x", &x)])).unwrap().remove(0);
    let want = reference::reduce(ReduceOp::Max, &x, &[2, 3], false).unwrap();
    assert_eq!(got, want);
    let explained = session.explain(&[("x", vec![2, 3, 6, 7])]).unwrap();
    assert_eq!(explained.matches("permute").count(), 2, "one to channels last, none back:\n{explained}");
}

/// `[outer, rows, columns]` of a tensor repeated to `outer`, in f64.
fn repeated(t: &Tensor, outer: &[usize]) -> Vec<f64> {
    let shape = t.shape();
    let [rows, columns] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    let own = [vec![1; outer.len() + 2 - shape.len()], shape[..shape.len() - 2].to_vec()].concat();
    let v = t.to_f32();
    let mut all = Vec::new();
    for batch in 0..outer.iter().product::<usize>() {
        let (mut at, mut step, mut i) = (0, 1, batch);
        for (&a, &b) in own.iter().zip(outer).rev() {
            at += if a == 1 { 0 } else { i % b * step };
            (i, step) = (i / b, step * a);
        }
        all.extend(v[at * rows * columns..(at + 1) * rows * columns].iter().map(|&x| f64::from(x)));
    }
    all
}

#[test]
fn attention_with_and_without_a_mask() {
    let Some(gpu) = gpu() else { return };
    let [m, d, n, e] = [5, 8, 7, 6];
    let scale = 0.35f32;
    // Outer dimensions of all, of k, and of the mask with its rows and columns.
    type Case<'a> = (&'a [usize], &'a [usize], Option<&'a [usize]>);
    let cases: [Case<'_>; 6] = [
        (&[2, 3], &[2, 3], None),
        (&[2, 3], &[2, 3], Some(&[2, 1, 1, 7])),
        (&[2, 3], &[2, 1], Some(&[5, 7])),
        (&[2, 3], &[2, 3], Some(&[1, 3, 5, 7])),
        (&[2, 3], &[1, 1], Some(&[2, 3, 5, 1])),
        (&[4], &[4], Some(&[4, 1, 7])),
    ];
    for (outer, k_outer, mask_shape) in cases {
        let q = random(&[outer, &[m, d]].concat(), 11);
        let k = random(&[k_outer, &[d, n]].concat(), 12);
        let v = random(&[k_outer, &[n, e]].concat(), 13);
        let mask = mask_shape.map(|shape| {
            let mut v = random(shape, 14).to_f32();
            v.iter_mut().step_by(4).for_each(|x| *x = -1e4);
            Tensor::f32(shape, v).unwrap()
        });
        let inputs: Vec<&Tensor> = [&q, &k, &v].into_iter().chain(&mask).collect();
        let got = planned(gpu, &Op::Attention { scale }, &inputs, Element::F32);
        let batch: usize = outer.iter().product();
        let (kk, vv) = (repeated(&k, outer), repeated(&v, outer));
        let qq = repeated(&q, outer);
        let masks = mask.as_ref().map(|mask| {
            // Its rows and columns are broadcast too.
            let full = reference::add(
                (&mask.to_f32(), mask.shape()),
                (&vec![0.0; batch * m * n], &[outer, &[m, n]].concat()),
                weighbridge::graph::Activation::Identity,
            );
            full.unwrap().0
        });
        assert_eq!(got.shape(), [outer, &[m, e]].concat());
        let got = got.to_f32();
        for row in 0..batch * m {
            let b = row / m;
            let scores: Vec<f64> = (0..n)
                .map(|j| {
                    let dot: f64 = (0..d).map(|i| qq[row * d + i] * kk[(b * d + i) * n + j]).sum();
                    f64::from(scale) * dot + masks.as_ref().map_or(0.0, |v| f64::from(v[row * n + j]))
                })
                .collect();
            let max = scores.iter().fold(f64::MIN, |a, &b| a.max(b));
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            for c in 0..e {
                let want: f64 = (0..n).map(|j| (scores[j] - max).exp() / sum * vv[(b * n + j) * e + c]).sum();
                // The products are off by d eps |q||k| <= 64 eps and rounded when the mask is added; e^d is off by as much
                // and 3 + 2|d| <= 15 units, the sums by n.
                let rounded = 2.0 * (max.abs() + 8.0);
                let error = f64::from(f32::EPSILON) * 2.0 * (64.0 + 15.0 + rounded + 2.0 * n as f64);
                let got = f64::from(got[row * e + c]);
                assert!(
                    (got - want).abs() <= error,
                    "{outer:?} {k_outer:?} {mask_shape:?} at {row}, {c}: {got} is not {want}"
                );
            }
        }
    }
}
