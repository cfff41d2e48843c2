//! `norm`: within a bound that is derived for each element, by columns and by groups of channels.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::ops::{Norm, NormBindings, NormDescriptor, Team};
use weighbridge::tensor::{Element, View};
use weighbridge::{Error, Gpu};

const EPS: f64 = f32::EPSILON as f64;

/// `[element, weights]`, rows, columns, groups and channels (0: a scale for each column), rms.
type Case = ([Element; 2], [usize; 2], [usize; 2], bool);

/// Nothing but a normalization.
fn plain<'a>(x: View<'a>, scale: Option<View<'a>>, out: View<'a>) -> NormBindings<'a> {
    NormBindings { x, addend: None, sum: None, scale, bias: None, channels: 0, out: Some(out), int8: None }
}

fn check(gpu: &Gpu, ([element, weights], [rows, columns], [groups, channels], rms): Case, place: Place) {
    let mut rng = Rng((rows * 41 + columns) as u64);
    // A mean that is large beside the deviation: the mean of squares less the square of the mean would fail.
    let size = if element == Element::F16 { 1.0 } else { 300.0 };
    let x: Vec<f32> =
        (0..rows * columns).map(|i| rng.unit() + size * (i / columns.max(1) % 5) as f32).collect();
    let x = float(element, [rows, columns], &x);
    let count = if groups > 0 { channels } else { columns };
    let scale = float(weights, [1, count], &rng.f32s(count));
    // One for all, or one for each: vectors of weights are read where there are sixteens of both.
    let biases = if rows % 2 == 0 { 1 } else { count };
    let bias = float(weights, [1, biases], &vec![0.25; biases]);
    let (xs, ss) = (x.to_f32(), scale.to_f32());
    let input = Input::new(gpu, &x, place);
    let (scale_in, bias_in) =
        (Input::new(gpu, &scale, Place::default()), Input::new(gpu, &bias, Place::default()));
    let epsilon = 1e-3;
    for (team, with_bias, registers) in [
        (Team::Thread, true, false),
        (Team::Workgroup, false, false),
        (Team::Thread, true, true),
        (Team::Thread, false, true),
    ] {
        let out = Output::new(gpu, element, rows, columns, place);
        let d = NormDescriptor { element, weights, epsilon, rms, groups, measure: None };
        let op = Norm::with_kernels(gpu.kernels(), &d).unwrap().with_team(team).with_registers(registers);
        let bias = with_bias.then(|| bias_in.view());
        let b = NormBindings { bias, channels, ..plain(input.view(), Some(scale_in.view()), out.view()) };
        run(gpu, op.bind(&b));
        let got = out.read(gpu).to_f32();
        let n = columns as f64;
        for r in 0..rows {
            let row: Vec<f64> = xs[r * columns..(r + 1) * columns].iter().map(|&x| x.into()).collect();
            let mean = if rms { 0.0 } else { row.iter().sum::<f64>() / n };
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + f64::from(epsilon);
            // A thread has columns / 64 terms or more; n is an upper bound for any order of summation.
            let off_mean =
                if rms { 0.0 } else { (n + 4.0) * EPS * row.iter().map(|x| x.abs()).sum::<f64>() / n };
            let off_d = |d: f64| off_mean + EPS * d.abs();
            let off_variance = row
                .iter()
                .map(|x| (x - mean).abs())
                .map(|d| 2.0 * d * off_d(d) + off_d(d).powi(2))
                .sum::<f64>()
                / n
                + (n + 6.0) * EPS * variance;
            let relative = 0.5 * off_variance / variance + (off_variance / variance).powi(2) + 4.0 * EPS;
            for c in 0..columns {
                let at = if groups > 0 {
                    r % groups * (channels / groups) + c / (columns / (channels / groups))
                } else {
                    c
                };
                let s = f64::from(ss[at]);
                let plain = (row[c] - mean) / variance.sqrt() * s;
                let want = plain + if with_bias { 0.25 } else { 0.0 };
                let error = off_d(row[c] - mean) / variance.sqrt() * s.abs() * 1.01
                    + plain.abs() * relative
                    + EPS * want.abs();
                let half =
                    if element == Element::F16 { want.abs() * 2f64.powi(-11) + 2f64.powi(-24) } else { 0.0 };
                let got = f64::from(got[r * columns + c]);
                assert!(
                    (got - want).abs() <= error + half,
                    "{element:?} by {weights:?} {rows}x{columns} {groups} groups {rms} {team:?} {registers} {place:?} at {r}, {c}: {got} is not {want} within {error:e}"
                );
            }
        }
    }
}

#[test]
fn rows_of_any_length() {
    let Some(gpu) = gpu() else { return };
    for elements in [[Element::F32; 2], [Element::F16; 2]] {
        for shape in [
            [0, 4],
            [3, 0],
            [2, 1],
            [5, 15],
            [9, 16],
            [6, 17],
            [5, 33],
            [2, 2100],
            [600, 6],
            [5, 32],
            [17, 64],
            [3, 384],
            [2, 1024],
            [2, 1056],
            // Sixteens are held two to a thread up to 2048 columns, four up to 4096.
            [2, 2048],
            [2, 4100],
            [1, 4112],
        ] {
            for (i, place) in PLACES.into_iter().enumerate() {
                check(gpu, (elements, shape, [0, 0], i == 2), place);
            }
        }
    }
}

#[test]
fn groups_of_channels() {
    let Some(gpu) = gpu() else { return };
    for elements in [[Element::F32; 2], [Element::F16, Element::F32]] {
        // Batch 2: rows, columns, groups, channels.
        for (groups, channels, inner) in [(1, 6, 5), (3, 6, 16), (6, 6, 49), (2, 4, 33)] {
            let shape = [2 * groups, channels / groups * inner];
            for place in [PLACES[0], PLACES[1]] {
                check(gpu, (elements, shape, [groups, channels], false), place);
            }
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &float(Element::F32, [4, 6], &[0.0; 24]), Place::default());
    let out = Output::new(gpu, Element::F32, 4, 6, Place::default());
    let five = Input::new(gpu, &float(Element::F32, [1, 5], &[0.0; 5]), Place::default());
    let bind = |groups, channels, scale: bool| {
        let d = NormDescriptor { groups, ..Default::default() };
        let scale = scale.then(|| five.view());
        let b = NormBindings { channels, ..plain(x.view(), scale, out.view()) };
        Norm::new(gpu.device(), &d).unwrap().bind(&b)
    };
    assert!(bind(0, 0, false).is_ok());
    assert!(bind(2, 4, false).is_ok());
    for (groups, channels, scale) in [(0, 0, true), (2, 5, false), (3, 6, false), (2, 8, false)] {
        assert!(matches!(bind(groups, channels, scale), Err(Error::Shape { .. })), "{groups} {channels}");
    }
}
