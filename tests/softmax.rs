//! `softmax`: within a bound that is derived for each element, masked and not, around its sixteens and its lanes.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::ops::{Mask, Softmax, SoftmaxBindings, SoftmaxDescriptor, Team};
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Error, Gpu};

const EPS: f64 = f32::EPSILON as f64;

/// The mask of a case: its outer dimensions, and whether it has all columns.
type Masked = Option<([usize; 3], bool)>;

struct Case {
    element: Element,
    outer: [usize; 3],
    columns: usize,
    mask: Masked,
    log: bool,
    scale: f32,
}

fn values(case: &Case) -> (Tensor, Option<Tensor>) {
    let rows: usize = case.outer.iter().product();
    let mut rng = Rng((rows * 37 + case.columns) as u64);
    let mut x: Vec<f32> = rng.f32s(rows * case.columns).iter().map(|x| x * 6.0).collect();
    for r in 0..rows {
        let row = &mut x[r * case.columns..(r + 1) * case.columns];
        match r % 9 {
            3 => row.fill(f32::NEG_INFINITY),
            4 => row.iter_mut().for_each(|x| *x = *x * 40.0 + 500.0),
            5 if !row.is_empty() => row[case.columns / 2] = f32::NAN,
            6 if case.columns > 1 => row[case.columns - 1] = f32::NEG_INFINITY,
            7 if !row.is_empty() => row[0] = f32::INFINITY,
            _ => {}
        }
    }
    let mask = case.mask.map(|(outer, whole)| {
        let (rows, columns) = (outer.iter().product::<usize>(), if whole { case.columns } else { 1 });
        let mut v = rng.f32s(rows * columns);
        v.iter_mut().skip(1).step_by(3).for_each(|x| *x = f32::NEG_INFINITY);
        float(case.element, [rows, columns], &v)
    });
    (float(case.element, [rows, case.columns], &x), mask)
}

/// The results of one row and how far f32 may be from each: from the arguments' rounding, from `exp` (WGSL: 3 + 2|d|
/// units), and from the sum.
fn reference(scores: &[(f64, f64)], log: bool) -> Vec<(f64, f64)> {
    let max = scores
        .iter()
        .fold(f64::NEG_INFINITY, |m, s| if s.0.is_nan() || m.is_nan() { f64::NAN } else { m.max(s.0) });
    let slack = scores.iter().filter(|s| s.1.is_finite()).fold(0f64, |m, s| m.max(s.1));
    // Of e^d, relative. Scaled down when a larger score is met: once for each step, by another such factor.
    let steps = (scores.len().div_ceil(16) + 8) as f64;
    let e = |s: &(f64, f64)| {
        let d = s.0 - max;
        let off = 2.0 * slack + 2.0 * EPS * d.abs().min(104.0) + 2.0 * (3.0 + 2.0 * d.abs().min(104.0)) * EPS;
        (d.exp(), d.exp() * (off + steps.min(d.abs() + 8.0) * 5.0 * EPS) + 2.0 * f64::from(f32::MIN_POSITIVE))
    };
    let (mut sum, mut off) = (0.0, 0.0);
    for s in scores {
        let (value, error) = e(s);
        (sum, off) = (sum + value, off + error);
    }
    off = off / sum + scores.len() as f64 * EPS;
    scores
        .iter()
        .map(|s| {
            let d = s.0 - max;
            if log {
                // WGSL: 3 units of the logarithm, 2^-21 near 1.
                let ln = sum.ln();
                let error = 2.0 * slack + off + 2f64.powi(-21) + 3.0 * EPS * ln + 2.0 * EPS * d.abs();
                (d - ln, if d.is_infinite() { 0.0 } else { error })
            } else {
                let (value, error) = e(s);
                (value / sum, error / sum + value / sum * (off + 4.0 * EPS))
            }
        })
        .collect()
}

fn check(gpu: &Gpu, case: &Case, place: Place) {
    let (x, mask) = values(case);
    let rows: usize = case.outer.iter().product();
    let n = case.columns;
    let (xs, ms) = (x.to_f32(), mask.as_ref().map(Tensor::to_f32));
    let input = Input::new(gpu, &x, place);
    let mask_input = mask.as_ref().map(|m| Input::new(gpu, m, place));
    for team in [Team::Thread, Team::Workgroup] {
        let out = Output::new(gpu, case.element, rows, n, place);
        let d =
            SoftmaxDescriptor { element: case.element, out: case.element, log: case.log, scale: case.scale };
        let op = Softmax::with_kernels(gpu.kernels(), &d).unwrap().with_team(team);
        let mask = mask_input.as_ref().zip(case.mask).map(|(input, (outer, _))| Mask {
            view: input.view(),
            outer,
            x_outer: case.outer,
        });
        run(gpu, op.bind(&SoftmaxBindings { out_params: None, x: input.view(), mask, out: out.view() }));
        let got = out.read(gpu).to_f32();
        for r in 0..rows {
            let scores: Vec<(f64, f64)> = (0..n)
                .map(|c| {
                    let s = f64::from(xs[r * n + c]) * f64::from(case.scale);
                    let m = ms.as_ref().zip(case.mask).map_or(0.0, |(ms, (outer, whole))| {
                        let [_, b, c1] = case.outer;
                        let at = [r / c1 / b, r / c1 % b, r % c1];
                        let row = (0..3).fold(0, |i, d| i * outer[d] + if outer[d] == 1 { 0 } else { at[d] });
                        f64::from(if whole { ms[row * n + c] } else { ms[row] })
                    });
                    (s + m, EPS * (s.abs() + (s + m).abs()))
                })
                .collect();
            for (c, (want, error)) in reference(&scores, case.log).into_iter().enumerate() {
                let got = f64::from(got[r * n + c]);
                let what = format!(
                    "{:?} {:?}x{n} {:?} log {} {team:?} {place:?}, row {r}, column {c}",
                    case.element, case.outer, case.mask, case.log
                );
                if want.is_nan() || want.is_infinite() {
                    assert!(
                        got.is_nan() == want.is_nan() && (want.is_nan() || got == want),
                        "{what}: {got} is not {want}"
                    );
                    continue;
                }
                let half = if case.element == Element::F16 {
                    want.abs() * 2f64.powi(-11) + 2f64.powi(-24)
                } else {
                    want.abs() * EPS
                };
                assert!((got - want).abs() <= error + half, "{what}: {got} is not {want} within {error:e}");
            }
        }
    }
}

#[test]
fn rows_of_any_length() {
    let Some(gpu) = gpu() else { return };
    for element in [Element::F32, Element::F16] {
        for (rows, columns) in [
            (0, 5),
            (3, 0),
            (2, 1),
            (9, 15),
            (18, 16),
            (10, 17),
            (9, 33),
            (9, 512),
            (2, 2100),
            (1, 4100),
            (600, 7),
        ] {
            for (i, place) in PLACES.into_iter().enumerate() {
                let case =
                    Case { element, outer: [1, 1, rows], columns, mask: None, log: i == 1, scale: 1.0 };
                check(gpu, &case, place);
            }
        }
    }
}

#[test]
fn masks_are_broadcast() {
    let Some(gpu) = gpu() else { return };
    let outer = [2, 3, 5];
    for element in [Element::F32, Element::F16] {
        for mask in [outer, [1, 1, 1], [2, 1, 1], [1, 1, 5], [1, 3, 1], [2, 1, 5]] {
            for (whole, columns) in [(true, 16), (true, 19), (false, 19)] {
                for place in [PLACES[0], PLACES[1]] {
                    let case =
                        Case { element, outer, columns, mask: Some((mask, whole)), log: false, scale: 0.125 };
                    check(gpu, &case, place);
                }
            }
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &float(Element::F32, [6, 4], &[0.0; 24]), Place::default());
    let m = Input::new(gpu, &float(Element::F32, [2, 4], &[0.0; 8]), Place::default());
    let out = Output::new(gpu, Element::F32, 6, 4, Place::default());
    let op = Softmax::new(gpu.device(), &SoftmaxDescriptor::default()).unwrap();
    let bind = |outer, x_outer| {
        let mask = Some(Mask { view: m.view(), outer, x_outer });
        op.bind(&SoftmaxBindings { out_params: None, x: x.view(), mask, out: out.view() })
    };
    assert!(bind([1, 2, 1], [1, 2, 3]).is_ok());
    assert!(matches!(bind([1, 1, 1], [1, 2, 3]), Err(Error::Shape { .. })));
    assert!(matches!(bind([1, 2, 1], [1, 3, 2]), Err(Error::Shape { .. })));
    assert!(matches!(bind([1, 2, 1], [2, 2, 3]), Err(Error::Shape { .. })));
    assert!(
        Softmax::new(gpu.device(), &SoftmaxDescriptor { element: Element::I8, ..Default::default() })
            .is_err()
    );
}
