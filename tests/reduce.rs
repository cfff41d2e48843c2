//! `reduce` and `scan`: integers and places equal, floats within derived bounds, around their lanes and quads.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::graph::ReduceOp;
use weighbridge::ops::{Fold, Reduce, ReduceBindings, ReduceDescriptor, Scan, ScanDescriptor, Team};
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Gpu};

const EPS: f64 = f32::EPSILON as f64;
const SHAPES: [[usize; 3]; 11] = [
    [0, 3, 2],
    [2, 0, 3],
    [1, 1, 1],
    [3, 3, 1],
    [2, 4, 5],
    [5, 9, 1],
    [1, 513, 1],
    [2, 64, 70],
    [1, 5000, 3],
    [600, 7, 1],
    [3, 17, 65],
];
const ALL: [ReduceOp; 10] = [
    ReduceOp::Mean,
    ReduceOp::Sum,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::Prod,
    ReduceOp::L1,
    ReduceOp::L2,
    ReduceOp::SumSquare,
    ReduceOp::LogSum,
    ReduceOp::LogSumExp,
];

/// A tensor's matrix as it is uploaded: any rows do.
fn matrix(t: &Tensor) -> Tensor {
    t.clone().reshape([1, t.len()]).unwrap()
}

fn reduced(gpu: &Gpu, x: &Tensor, fold: Fold, team: Team, offset: bool) -> Tensor {
    let [outer, n, inner] = x.shape()[..] else { panic!("[outer, n, inner]") };
    let place = Place { offset, gap: 0 };
    let input = Input::new(gpu, &matrix(x), place);
    let element = if matches!(fold, Fold::Place { .. }) { Element::I32 } else { x.element() };
    let out = Output::new(gpu, element, 1, outer * inner, place);
    let op = Reduce::with_kernels(gpu.kernels(), &ReduceDescriptor { element: x.element(), fold }).unwrap();
    let b = ReduceBindings { x: input.view(), shape: [outer, n, inner], out: out.view() };
    run(gpu, op.with_team(team).bind(&b));
    out.read(gpu)
}

fn floats(shape: [usize; 3], seed: u64) -> Tensor {
    float(Element::F32, shape, &Rng(seed).f32s(shape.iter().product()))
}

/// What f32 may be off by, from the magnitudes of what is summed.
fn bound(op: ReduceOp, column: &[f64], want: f64) -> f64 {
    let n = column.len() as f64;
    let sum = |f: &dyn Fn(f64) -> f64| column.iter().map(|&x| f(x)).sum::<f64>();
    let gamma = (n + 2.0) * EPS;
    match op {
        ReduceOp::Max | ReduceOp::Min => 0.0,
        ReduceOp::Mean => gamma * sum(&f64::abs) / n.max(1.0) + 3.0 * EPS * want.abs(),
        ReduceOp::Sum | ReduceOp::L1 => gamma * sum(&f64::abs),
        ReduceOp::Prod => gamma * want.abs() * 1.01 + n * f64::from(f32::MIN_POSITIVE),
        ReduceOp::SumSquare => gamma * want,
        // WGSL inherits sqrt's error from 1 / inverseSqrt.
        ReduceOp::L2 => (gamma + 5.0 * EPS) * want,
        // The sum's relative error, then 3 units of the logarithm or 2^-21 near 1.
        ReduceOp::LogSum => {
            gamma * sum(&f64::abs) / sum(&|x| x) * 1.01 + 2f64.powi(-21) + 3.0 * EPS * want.abs()
        }
        // Each step may scale by e^d of |d| <= 2, off by 3 + 2|d| units.
        ReduceOp::LogSumExp => 10.0 * n * EPS + 2f64.powi(-21) + 4.0 * EPS * want.abs(),
    }
}

fn check(gpu: &Gpu, shape: [usize; 3], op: ReduceOp, team: Team) {
    let [outer, n, inner] = shape;
    let mut x = floats(shape, (outer + n * 3 + inner) as u64);
    if op == ReduceOp::LogSum {
        x = float(Element::F32, shape, &x.to_f32().iter().map(|x| x.abs()).collect::<Vec<_>>());
    }
    let v = x.to_f32();
    let got = reduced(gpu, &x, Fold::Value(op), team, op == ReduceOp::Sum).to_f32();
    let want = reference::reduce(op, &x, &[1], false).unwrap().to_f32();
    for (i, (&got, &want)) in got.iter().zip(&want).enumerate() {
        let column: Vec<f64> = (0..n).map(|k| v[(i / inner * n + k) * inner + i % inner].into()).collect();
        let what = format!("{op:?} of {shape:?} {team:?} at {i}");
        if want.is_nan() || want.is_infinite() {
            assert!(got == want || (got.is_nan() && want.is_nan()), "{what}: {got} is not {want}");
            continue;
        }
        let (got, want) = (f64::from(got), f64::from(want));
        let error = bound(op, &column, want);
        let half = if error > 0.0 { EPS * want.abs() } else { 0.0 };
        assert!((got - want).abs() <= error + half, "{what}: {got} is not {want} within {error:e}");
    }
}

#[test]
fn floats_within_bounds() {
    let Some(gpu) = gpu() else { return };
    for team in [Team::Thread, Team::Workgroup] {
        for op in ALL {
            for shape in SHAPES {
                // e^x of nothing is nothing; the logarithm of an empty sum is left to the driver.
                if !(shape[1] == 0 && op == ReduceOp::LogSum) {
                    check(gpu, shape, op, team);
                }
            }
        }
    }
}

#[test]
fn long_sums_are_whole() {
    let Some(gpu) = gpu() else { return };
    let n = 1_000_003;
    let ones = Tensor::new([1, n, 1], Data::I32(vec![1; n])).unwrap();
    for team in [Team::Thread, Team::Workgroup] {
        let got = reduced(gpu, &ones, Fold::Value(ReduceOp::Sum), team, false);
        assert_eq!(got.data(), &Data::I32(vec![n as i32]), "{team:?}");
    }
}

#[test]
fn integers_and_places_are_equal() {
    let Some(gpu) = gpu() else { return };
    let places = [(false, false), (false, true), (true, false), (true, true)];
    for (team, shape) in [Team::Thread, Team::Workgroup].into_iter().flat_map(|t| SHAPES.map(|s| (t, s))) {
        let mut rng = Rng(shape[1] as u64);
        let len = shape.iter().product();
        let ints: Vec<i32> = (0..len).map(|_| rng.next() as i32 % 7 - 3).collect();
        let x = Tensor::new(shape, Data::I32(ints.clone())).unwrap();
        let ops =
            ALL.iter().filter(|op| !matches!(op, ReduceOp::L2 | ReduceOp::LogSum | ReduceOp::LogSumExp));
        for &op in ops {
            let want = reference::reduce(op, &x, &[1], false).unwrap();
            assert_eq!(
                reduced(gpu, &x, Fold::Value(op), team, false).data(),
                want.data(),
                "{op:?} {shape:?} {team:?}"
            );
        }
        if shape[1] == 0 {
            continue;
        }
        // Many equals, both zeros, and a NaN here and there.
        let reals = ints.iter().enumerate().map(|(i, &v)| match (v, i % 23) {
            (0, _) if i % 2 == 0 => -0.0,
            (_, 22) if shape[2] != 65 => f32::NAN,
            _ => v as f32,
        });
        let y = float(Element::F32, shape, &reals.collect::<Vec<_>>());
        for (x, (max, last)) in [&x, &y].into_iter().flat_map(|x| places.map(|p| (x, p))) {
            let got = reduced(gpu, x, Fold::Place { max, last }, team, false);
            let want = reference::arg_reduce(x, 1, false, max, last).unwrap();
            assert_eq!(
                got.to_f32(),
                want.to_f32(),
                "{:?} {shape:?} max {max} last {last} {team:?}",
                x.element()
            );
        }
    }
}

#[test]
fn extremes_of_what_is_not_finite() {
    let Some(gpu) = gpu() else { return };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let rows = [[inf, 1.0, -inf], [-inf; 3], [inf; 3], [nan, inf, -inf], [1.0, -2.0, -nan]];
    let x = float(Element::F32, [5, 3, 1], rows.as_flattened());
    for op in [ReduceOp::Max, ReduceOp::Min, ReduceOp::LogSumExp] {
        let got = reduced(gpu, &x, Fold::Value(op), Team::Thread, false).to_f32();
        let want = reference::reduce(op, &x, &[1], false).unwrap().to_f32();
        for (got, want) in got.iter().zip(&want) {
            assert!(got == want || (got.is_nan() && want.is_nan()), "{op:?}: {got} is not {want}");
        }
    }
}

#[test]
fn running_sums() {
    let Some(gpu) = gpu() else { return };
    for (shape, flags) in SHAPES.into_iter().flat_map(|s| (0..4).map(move |f| (s, f))) {
        let (exclusive, reverse) = (flags & 1 != 0, flags & 2 != 0);
        let real = floats(shape, 5);
        let mut rng = Rng(6);
        let ints: Vec<i32> = (0..real.len()).map(|_| rng.next() as i32).collect();
        for x in [real, Tensor::new(shape, Data::I32(ints)).unwrap()] {
            let element = x.element();
            let input = Input::new(gpu, &matrix(&x), PLACES[0]);
            let out = Output::new(gpu, element, 1, x.len(), Place { offset: true, gap: 0 });
            let d = ScanDescriptor { element, exclusive, reverse };
            let op = Scan::with_kernels(gpu.kernels(), &d).unwrap();
            run(gpu, op.bind(&ReduceBindings { x: input.view(), shape, out: out.view() }));
            let want = reference::cumulative_sum(&x, 1, exclusive, reverse).unwrap();
            let got = out.read(gpu);
            if element == Element::I32 {
                assert_eq!(got.data(), want.data(), "{shape:?} {d:?}");
                continue;
            }
            // All are below 1 in magnitude.
            let error = (shape[1] * shape[1]) as f64 * EPS;
            for (got, want) in got.to_f32().iter().zip(want.to_f32()) {
                assert!(f64::from((got - want).abs()) <= error, "{shape:?} {d:?}: {got} is not {want}");
            }
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let d = ReduceDescriptor { element: Element::I32, fold: Fold::Value(ReduceOp::L2) };
    assert!(matches!(Reduce::new(gpu.device(), &d), Err(Error::Element { .. })));
    let x = Input::new(gpu, &float(Element::F32, [2, 6], &[0.0; 12]), PLACES[1]);
    let out = Output::new(gpu, Element::F32, 1, 4, Place::default());
    let d = ReduceDescriptor { element: Element::F32, fold: Fold::Value(ReduceOp::Sum) };
    let op = Reduce::new(gpu.device(), &d).unwrap();
    let bind = |shape, x| op.bind(&ReduceBindings { x, shape, out: out.view() });
    assert!(matches!(bind([2, 3, 2], x.view()), Err(Error::Shape { .. })), "gaps between rows");
    let dense = x.view().with_pitch(6);
    assert!(bind([2, 3, 2], dense).is_ok());
    assert!(matches!(bind([2, 3, 3], dense), Err(Error::Shape { .. })));
    assert!(matches!(bind([3, 2, 2], dense), Err(Error::Shape { .. })));
}
