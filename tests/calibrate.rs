//! Calibration on the device: the ranges are those of the values that the model computes, to the last bit.

#[path = "common/gpu.rs"]
mod gpu;

use futures_util::stream;
use gpu::{Rng, gpu};
use weighbridge::calibrate::{Calibrator, Ranges};
use weighbridge::graph::{Activation, Dim, Model, Op, PoolKind, Window};
use weighbridge::quant::{Observer, Range};
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Error, Gpu, Session, optimize};

/// Convolution with ReLU, max pool, linear, linear: every kind of value that is observed.
fn model() -> Model {
    let mut rng = Rng(7);
    let mut m = Model::new("small");
    let shape = [Dim::from("batch"), 3.into(), 8.into(), 8.into()];
    let x = m.add_input("x", Element::F32, shape).unwrap();
    let mut constant = |m: &mut Model, name: &str, shape: &[usize]| {
        let data = rng.f32s(shape.iter().product());
        m.add_constant(name, Tensor::f32(shape, data).unwrap()).unwrap()
    };
    let (w1, b1) = (constant(&mut m, "w1", &[6, 3, 3, 3]), constant(&mut m, "b1", &[6]));
    let (w2, w3) = (constant(&mut m, "w2", &[9, 96]), constant(&mut m, "w3", &[4, 9]));
    let window = Window::new([3, 3], [1, 1]).padded([1, 1]);
    let conv = Op::Conv { window, groups: 1, activation: Activation::Relu };
    let y = m.add_node("conv", conv, &[x, w1, b1]).unwrap();
    let pool = Op::Pool { kind: PoolKind::Max, window: Window::new([2, 2], [2, 2]) };
    let y = m.add_node("pool", pool, &[y]).unwrap();
    let y = m.add_node("flat", Op::Flatten { axis: 1 }, &[y]).unwrap();
    let y = m.add_node("hidden", Op::Linear { activation: Activation::Identity }, &[y, w2]).unwrap();
    let y = m.add_node("y", Op::Linear { activation: Activation::Identity }, &[y, w3]).unwrap();
    m.set_outputs(&[y]).unwrap();
    m
}

fn batch(rng: &mut Rng, n: usize) -> Tensor {
    // Batches of different widths, so that an average differs from a union.
    let width = 1.0 + 3.0 * rng.unit().abs();
    let data: Vec<f32> = rng.f32s(n * 192).iter().map(|x| x * width).collect();
    Tensor::f32([n, 3, 8, 8], data).unwrap()
}

/// What the model computes for a value, read back.
fn value(gpu: &Gpu, model: &Model, name: &str, x: &Tensor) -> Vec<f32> {
    let mut model = model.clone();
    let id = model.value_by_name(name).unwrap();
    model.set_outputs(&[id]).unwrap();
    let session = Session::new(gpu, &model).unwrap();
    pollster::block_on(session.run(&[("x", x)])).unwrap()[0].to_f32()
}

fn calibrate(
    gpu: &Gpu,
    model: &Model,
    observer: Observer,
    batches: &[Tensor],
) -> weighbridge::Result<Ranges> {
    let items = batches.iter().map(|b| Ok(vec![("x".to_owned(), b.clone())]));
    let mut calibrator = Calibrator::new(gpu, model, observer)?;
    pollster::block_on(calibrator.observe_all(stream::iter(items)))?;
    pollster::block_on(calibrator.finish())
}

#[test]
fn ranges_are_those_of_the_values() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let mut rng = Rng(3);
    // More batches than are ever in flight, and a last one of another size.
    let batches: Vec<Tensor> = [4, 4, 4, 4, 4, 4, 2].iter().map(|&n| batch(&mut rng, n)).collect();
    for observer in [Observer::MinMax, Observer::moving_average()] {
        let ranges = calibrate(gpu, &model, observer, &batches).unwrap();
        assert_eq!(ranges.batches, 7);
        let observed: Vec<String> =
            optimize::observed_values(&model).iter().map(|&id| model.value(id).name.clone()).collect();
        assert_eq!(observed.len(), 3, "{observed:?}");
        for name in &observed {
            let mut want: Option<Range> = None;
            for x in &batches {
                let v = if name == "x" { x.to_f32() } else { value(gpu, &model, name, x) };
                let b = Range::new(
                    v.iter().copied().fold(f32::INFINITY, f32::min),
                    v.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                );
                want = Some(want.map_or(b, |seen| observer.update(seen, b)));
            }
            let (got, want) = (ranges.get(name).unwrap(), want.unwrap());
            // A moving average is two f32 operations, whose rounding WGSL leaves open.
            let close = |a: f32, b: f32| match observer {
                Observer::MinMax => a == b,
                _ => (a - b).abs() <= 7.0 * 2.0 * f32::EPSILON * b.abs().max(1.0),
            };
            assert!(close(got.min, want.min) && close(got.max, want.max), "{name}: {got:?} is not {want:?}");
        }
    }
}

#[test]
fn what_is_not_finite_is_an_error_that_names_the_value() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    for (poison, what) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinity")] {
        let mut data = vec![0.5; 192];
        data[77] = poison;
        let bad = Tensor::f32([1, 3, 8, 8], data).unwrap();
        let error = calibrate(gpu, &model, Observer::MinMax, &[bad]).unwrap_err();
        assert!(matches!(&error, Error::Calibration { value, .. } if value == "x"), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = calibrate(gpu, &model, Observer::MinMax, &[]).unwrap_err();
    assert!(error.to_string().contains("0 batches"), "{error}");
    let Err(error) = Calibrator::new(gpu, &model, Observer::MovingAverage { constant: 1.5 }) else {
        panic!("a constant of 1.5 was taken");
    };
    assert!(error.to_string().contains("1.5"), "{error}");
}

#[test]
fn ranges_merge_as_if_seen_together() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let mut rng = Rng(11);
    let batches: Vec<Tensor> = (0..4).map(|_| batch(&mut rng, 2)).collect();
    let whole = calibrate(gpu, &model, Observer::MinMax, &batches).unwrap();
    let mut merged = calibrate(gpu, &model, Observer::MinMax, &batches[..1]).unwrap();
    merged.merge(&calibrate(gpu, &model, Observer::MinMax, &batches[1..]).unwrap()).unwrap();
    assert_eq!(merged, whole);
}
