//! `minmax` against the reference: equal, at every length around its steps, by tensor, row, column and NCHW channel.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, PLACES, Place, float, run};
use weighbridge::ops::{Channels, MinMax, MinMaxBindings, MinMaxDescriptor, RangeState, Team, Update};
use weighbridge::quant::{Accumulator, Observer};
use weighbridge::reference::{self, Axis};
use weighbridge::tensor::{Element, Tensor, View};
use weighbridge::{Error, Gpu};

fn states(gpu: &Gpu, buffer: &wgpu::Buffer, n: usize) -> Vec<RangeState> {
    let words = pollster::block_on(gpu.read_words(buffer, 0, 4 * n)).unwrap();
    bytemuck::pod_collect_to_vec(&words)
}

/// Values with everything in them that a range must not trip over.
fn values(rng: &mut Rng, n: usize) -> Vec<f32> {
    let mut v = rng.f32s(n);
    for x in &mut v {
        match rng.next() % 97 {
            0 => *x = f32::NAN,
            1 => *x = f32::NEG_INFINITY,
            2 => *x = -0.0,
            3 => *x = 1e-40,
            4 => *x = f32::from_bits(0xff81_2345),
            _ => {}
        }
    }
    v
}

fn check(
    gpu: &Gpu,
    element: Element,
    [rows, columns]: [usize; 2],
    by: (Channels, usize, usize),
    place: Place,
) {
    let (channels, outer, count) = by;
    let what = format!("{element:?} {rows}x{columns} {by:?} {place:?}");
    let mut rng = Rng((rows * 31 + columns) as u64);
    let x = float(element, [rows, columns], &values(&mut rng, rows * columns));
    let axis = match channels {
        Channels::Tensor => Axis::tensor(rows * columns),
        Channels::Rows => Axis { outer, channels: count, inner: rows * columns / (outer * count) },
        Channels::Columns => Axis { outer: rows, channels: columns, inner: 1 },
    };
    let input = Input::new(gpu, &x, place);
    let want = reference::minmax(&x.to_f32(), axis).unwrap();
    for team in [Team::Workgroup, Team::Thread] {
        let guard = gpu::Guarded::new(gpu, 4 * count);
        let descriptor = MinMaxDescriptor { element, channels, update: Update::Replace };
        let op = MinMax::with_kernels(gpu.kernels(), &descriptor).unwrap().with_team(team);
        let state = View::params(&guard.buffer, count);
        run(gpu, op.bind(&MinMaxBindings { x: input.view(), outer, state }));
        guard.words(gpu);
        let got = states(gpu, &guard.buffer, count);
        for (c, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!((got.range(), got.flags), (want.range, want.flags), "{what}, {team:?}, channel {c}");
            assert_eq!(got.batches, u32::from(!want.range.is_empty()), "{what}, {team:?}, channel {c}");
        }
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    for element in [Element::F32, Element::F16] {
        let tensor = (Channels::Tensor, 1, 1);
        for n in [0, 1, 3, 15, 16, 17, 1023, 1024, 1025, 2051, 40_003, 300_000] {
            check(gpu, element, [1, n], tensor, PLACES[0]);
        }
        for (i, shape) in [[1, 1], [5, 7], [0, 3], [513, 9], [33, 1030]].into_iter().enumerate() {
            check(gpu, element, shape, tensor, PLACES[i % 3]);
            check(gpu, element, shape, tensor, PLACES[(i + 1) % 3]);
            check(gpu, element, shape, (Channels::Columns, 1, shape[1]), PLACES[(i + 1) % 3]);
            if shape[0] > 0 {
                check(gpu, element, shape, (Channels::Rows, 1, shape[0]), PLACES[(i + 2) % 3]);
            }
        }
        // Channels innermost: few, a workgroup's lanes of them, more.
        for shape in [[3001, 3], [70, 255], [70, 256], [9, 261], [2000, 1]] {
            check(gpu, element, shape, (Channels::Columns, 1, shape[1]), PLACES[0]);
        }
        // NCHW: 2 x 3 x (4 rows of 5), 2 x 3 x (1 row of 2100).
        check(gpu, element, [24, 5], (Channels::Rows, 2, 3), PLACES[0]);
        check(gpu, element, [24, 6], (Channels::Rows, 2, 3), PLACES[0]);
        check(gpu, element, [24, 6], (Channels::Rows, 2, 3), PLACES[1]);
        check(gpu, element, [6, 2100], (Channels::Rows, 2, 3), PLACES[2]);
    }
}

#[test]
fn finds_one_value_among_millions() {
    let Some(gpu) = gpu() else { return };
    // More than any one workgroup's loop may go through: the extrema at both ends and in the middle.
    let n = 5_000_011;
    for at in [0, n / 2, n - 1] {
        let mut v = vec![0.25; n];
        (v[at], v[(at + 7) % n]) = (-3.5, 7.25);
        let buffer = gpu.upload(&Tensor::f32([n], v).unwrap()).unwrap();
        for team in [Team::Workgroup, Team::Thread] {
            let state = gpu.upload_words(&[0; 4]).unwrap();
            let op = MinMax::with_kernels(gpu.kernels(), &Default::default()).unwrap().with_team(team);
            let x = View::new(&buffer, Element::F32, 1, n);
            run(gpu, op.bind(&MinMaxBindings { x, outer: 1, state: View::params(&state, 1) }));
            let want = RangeState { min: -3.5, max: 7.25, flags: 0, batches: 1 };
            assert_eq!(states(gpu, &state, 1), [want], "at {at}, {team:?}");
        }
    }
}

#[test]
fn batches_accumulate_as_the_observers_do() {
    let Some(gpu) = gpu() else { return };
    for observer in [Observer::MinMax, Observer::MovingAverage { constant: 0.01 }] {
        let mut rng = Rng(7);
        let mut want = Accumulator::new(observer, 5).unwrap();
        let state = gpu.upload_words(&[0; 20]).unwrap();
        let descriptor = MinMaxDescriptor {
            channels: Channels::Columns,
            update: Update::Accumulate(observer),
            ..Default::default()
        };
        let op = MinMax::with_kernels(gpu.kernels(), &descriptor).unwrap();
        for batch in 0..6 {
            // The first is empty, the third has a NaN, the fourth nothing finite.
            let rows = [0, 3, 40, 2, 1, 90][batch];
            let mut v: Vec<f32> = rng.f32s(rows * 5).iter().map(|x| x * batch as f32).collect();
            match batch {
                2 => v[11] = f32::NAN,
                3 => v.fill(f32::INFINITY),
                _ => {}
            }
            let input = Input::new(gpu, &Tensor::f32([rows, 5], v.clone()).unwrap(), PLACES[0]);
            run(gpu, op.bind(&MinMaxBindings { x: input.view(), outer: 1, state: View::params(&state, 5) }));
            let axis = Axis { outer: rows, channels: 5, inner: 1 };
            let ranges: Vec<_> = reference::minmax(&v, axis).unwrap().iter().map(|e| e.range).collect();
            want.observe(&ranges).unwrap();
        }
        for (c, (got, want)) in states(gpu, &state, 5).iter().zip(want.ranges()).enumerate() {
            assert_eq!(got.batches, 4);
            assert_eq!(got.flags, if c == 1 { 3 } else { 2 });
            let near = |a: f32, b: f32| (a - b).abs() <= 4.0 * f32::EPSILON * b.abs();
            let equal = got.range() == *want;
            // A moving average's multiply and add may be fused.
            let fused = observer != Observer::MinMax && near(got.min, want.min) && near(got.max, want.max);
            assert!(equal || fused, "{observer:?} channel {c}: {got:?} is not {want:?}");
        }
    }
}

#[test]
fn refusals_name_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([6, 3], [0.0; 18]).unwrap(), PLACES[0]);
    let state = gpu.upload_words(&[0; 20]).unwrap();
    let descriptor = MinMaxDescriptor { channels: Channels::Rows, ..Default::default() };
    let op = MinMax::new(gpu.device(), &descriptor).unwrap();
    let error =
        op.bind(&MinMaxBindings { x: x.view(), outer: 1, state: View::params(&state, 4) }).err().unwrap();
    assert_eq!(
        error.to_string(),
        "minmax: x is [6, 3] with channels by Rows (outer 1), but there are 4 states"
    );
    let update = Update::Accumulate(Observer::MovingAverage { constant: 1.5 });
    let descriptor = MinMaxDescriptor { update, ..descriptor };
    assert!(matches!(MinMax::new(gpu.device(), &descriptor), Err(Error::Argument { .. })));
}
