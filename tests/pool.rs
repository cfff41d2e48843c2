//! `pool` against the reference, around quads of channels, with padding, dilation and overhang.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, bytes, float, run, upload_params};
use weighbridge::graph::{PoolKind, Window};
use weighbridge::ops::{Pool, PoolBindings, PoolDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu};

const PLAIN: Window = Window {
    kernel: [2, 2],
    stride: [2, 2],
    pad_begin: [0; 2],
    pad_end: [0; 2],
    dilation: [1; 2],
    ceil: false,
};
const KINDS: [PoolKind; 3] =
    [PoolKind::Max, PoolKind::Average { include_pad: false }, PoolKind::Average { include_pad: true }];

fn check(gpu: &Gpu, element: Element, kind: PoolKind, pool: reference::Pool, place: Place) {
    let what = format!("{element:?} {kind:?} {pool:?} {place:?}");
    let reference::Pool { batch, image: [h, w], channels, window } = pool;
    let mut rng = Rng((h * 31 + channels) as u64);
    let len = batch * h * w * channels;
    let x = match element {
        Element::I8 => Tensor::new([batch * h * w, channels], Data::I8(rng.i8s(len))).unwrap(),
        _ => float(element, [batch * h * w, channels], &rng.f32s(len)),
    };
    let [_, oh, ow, _] = pool.output().unwrap();
    let quant = QuantParams::new(0.1, -37, -127, 127).unwrap();
    let params = upload_params(gpu, &[quant]);
    let input = Input::new(gpu, &x, place);
    let out = Output::new(gpu, element, batch * oh * ow, channels, place);
    let op = Pool::with_kernels(gpu.kernels(), &PoolDescriptor { element, kind, window }).unwrap();
    let params = Some(View::params(&params, 1));
    run(gpu, op.bind(&PoolBindings { x: input.view(), batch, size: [h, w], params, out: out.view() }));
    let got = out.read(gpu);
    let values = x.to_f32();
    match (element, kind) {
        (Element::I8, PoolKind::Max) => {
            assert_eq!(bytes(&got), reference::max_pool_i8(&bytes(&x), &pool).unwrap(), "{what}");
        }
        (Element::I8, PoolKind::Average { include_pad }) => {
            let centred: Vec<f32> = values.iter().map(|q| q - quant.zero_point as f32).collect();
            let mean = reference::average_pool(&centred, &pool, include_pad).unwrap();
            let integer = |m: &f64| (m.round_ties_even() as i32 + quant.zero_point).clamp(-127, 127) as i8;
            assert_eq!(bytes(&got), mean.iter().map(integer).collect::<Vec<_>>(), "{what}");
        }
        (_, PoolKind::Max) => {
            assert_eq!(got.to_f32(), reference::max_pool(&values, &pool).unwrap(), "{what}");
        }
        (_, PoolKind::Average { include_pad }) => {
            let want = reference::average_pool(&values, &pool, include_pad).unwrap();
            // One rounding for each tap and four units for the division, of values of at most 1.
            let taps = (window.kernel[0] * window.kernel[1]) as f64;
            let bound =
                (taps + 4.0) * f64::from(f32::EPSILON) + if element == Element::F16 { 5e-4 } else { 0.0 };
            for (i, (got, want)) in got.to_f32().iter().zip(want).enumerate() {
                assert!((f64::from(*got) - want).abs() <= bound, "{what} at {i}: {got} is not {want}");
            }
        }
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let windows = [
        (PLAIN, [4, 6]),
        (Window { kernel: [3, 3], pad_begin: [1, 1], pad_end: [1, 1], ..PLAIN }, [7, 5]),
        (Window { kernel: [3, 2], pad_begin: [1, 0], pad_end: [0, 1], ceil: true, ..PLAIN }, [6, 6]),
        (Window { kernel: [2, 3], stride: [1, 3], dilation: [2, 2], pad_begin: [1, 2], ..PLAIN }, [6, 7]),
        (Window { kernel: [3, 3], stride: [2, 2], ceil: true, ..PLAIN }, [6, 6]),
        // All of the image, and a window of padding alone.
        (Window { kernel: [9, 8], stride: [1, 1], ..PLAIN }, [9, 8]),
        (Window { kernel: [1, 1], pad_begin: [1, 1], ..PLAIN }, [3, 3]),
    ];
    for element in [Element::F32, Element::F16, Element::I8] {
        for kind in KINDS {
            for (i, (window, image)) in windows.into_iter().enumerate() {
                let pool = |batch, channels| reference::Pool { batch, image, channels, window };
                check(gpu, element, kind, pool(2, [1, 3, 4, 5, 8, 11, 2][i]), PLACES[i % 3]);
                // Whole vectors of words, where the pitch leaves them whole.
                check(gpu, element, kind, pool(2, [16, 32][i % 2]), PLACES[i % 3]);
            }
            let pool = reference::Pool { batch: 0, image: [4, 4], channels: 3, window: PLAIN };
            check(gpu, element, kind, pool, PLACES[0]);
            check(gpu, element, kind, reference::Pool { batch: 9, image: [16, 16], ..pool }, PLACES[1]);
            // A mean over a large image: no more loop iterations than an invocation has.
            let window = Window { kernel: [64, 64], ..PLAIN };
            check(
                gpu,
                element,
                kind,
                reference::Pool { batch: 1, image: [64, 64], channels: 4, window },
                PLACES[0],
            );
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(gpu) = gpu() else { return };
    let descriptor = PoolDescriptor { element: Element::F32, kind: PoolKind::Max, window: PLAIN };
    let zero = Window { stride: [0, 1], ..PLAIN };
    let huge = Window { kernel: [512, 512], ..PLAIN };
    let new = |window| Pool::new(gpu.device(), &PoolDescriptor { window, ..descriptor }).err().unwrap();
    assert!(matches!(new(zero), Error::Argument { .. }));
    assert!(matches!(new(huge), Error::Limit { needed: 262_144, .. }));
    let x = Input::new(gpu, &Tensor::f32([16, 3], [0.0; 48]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::F32, 5, 3, PLACES[0]);
    let pool = Pool::new(gpu.device(), &descriptor).unwrap();
    let b = PoolBindings { x: x.view(), batch: 1, size: [4, 4], params: None, out: out.view() };
    assert_eq!(
        pool.bind(&b).err().unwrap().to_string(),
        "pool: x is [16, 3] and out [5, 3], but 1 images of 4x4 give as many of 2x2"
    );
}
