//! `quantize` and `dequantize` against the reference, equal but at ties, around sixteen elements and a workgroup.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use place::{Input, Output, PLACES, Place, bytes, float, run, upload_params};
use weighbridge::ops::{Dequantize, Kernels, Quantize, QuantizeBindings, QuantizeDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Axis};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Error, Gpu};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Per {
    Tensor,
    Row,
    Column,
}

fn params(rng: &mut Rng, n: usize) -> Vec<QuantParams> {
    let one = |i: usize| {
        let (qmin, qmax) = [(-128, 127), (-127, 127), (-128, -1), (-64, 63)][i % 4];
        let zero = qmin + (rng.next() % (qmax - qmin + 1) as u32) as i32;
        QuantParams::new(0.004 + rng.unit().abs() * 0.02, zero, qmin, qmax).unwrap()
    };
    (0..n).map(one).collect()
}

fn check(
    gpu: &Gpu,
    kernels: &Kernels,
    element: Element,
    [rows, columns]: [usize; 2],
    per: Per,
    place: Place,
) {
    let mut rng = Rng((rows * 31 + columns) as u64);
    let count = match per {
        Per::Tensor => 1,
        Per::Row => rows,
        Per::Column => columns,
    };
    let params = params(&mut rng, count);
    let mut values: Vec<f32> = rng.f32s(rows * columns).iter().map(|x| x * 2.0).collect();
    // Ties of every parity, what is not finite, what is far outside.
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 6e4, -6e4, f32::MIN_POSITIVE];
    for (i, v) in values.iter_mut().enumerate() {
        match i % 11 {
            3 => *v = special[(i / 11) % special.len()],
            7 => *v = params[0].scale * (rng.next() % 300) as f32 - params[0].scale * 150.5,
            _ => {}
        }
    }
    let x = float(element, [rows, columns], &values);
    let values = x.to_f32();
    let axis = match per {
        Per::Tensor => Axis::tensor(rows * columns),
        Per::Row => Axis::rows(rows, columns),
        Per::Column => Axis { outer: rows, channels: columns, inner: 1 },
    };
    let buffer = upload_params(gpu, &params);
    let params_view = weighbridge::tensor::View::params(&buffer, count);
    let descriptor = QuantizeDescriptor { element, by_row: per == Per::Row };

    let input = Input::new(gpu, &x, place);
    let out = Output::new(gpu, Element::I8, rows, columns, place);
    let bindings = QuantizeBindings { x: input.view(), params: params_view, out: out.view() };
    run(gpu, Quantize::with_kernels(kernels, &descriptor).unwrap().bind(&bindings));
    let got = bytes(&out.read(gpu));
    let want = reference::quantize(&values, axis, &params).unwrap();
    for i in 0..got.len() {
        let p = params[axis.channel(i) % count];
        let steps = f64::from(values[i]) * f64::from(p.inv_scale);
        let tie = ((steps - steps.floor()) - 0.5).abs() < 1e-6 * (1.0 + steps.abs());
        let off = (i32::from(got[i]) - i32::from(want[i])).abs();
        let what =
            format!("{element:?} {rows}x{columns} {per:?} {place:?} at {i}: {} ({steps} steps)", values[i]);
        assert!(off == 0 || (tie && off == 1), "{what}: {} is not {}", got[i], want[i]);
    }

    let q = Tensor::new([rows, columns], Data::I8(want.clone())).unwrap();
    let input = Input::new(gpu, &q, place);
    let out = Output::new(gpu, element, rows, columns, place);
    let bindings = QuantizeBindings { x: input.view(), params: params_view, out: out.view() };
    run(gpu, Dequantize::with_kernels(kernels, &descriptor).unwrap().bind(&bindings));
    let real = reference::dequantize(&want, axis, &params).unwrap();
    assert_eq!(
        out.read(gpu).to_f32(),
        float(element, [rows, columns], &real).to_f32(),
        "dequantize {element:?} {rows}x{columns} {per:?} {place:?}"
    );
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let kernels = gpu.kernels();
    let wide = [[0, 5], [1, 0], [1, 1], [3, 15], [5, 16], [2, 17], [3, 35], [7, 1039], [65, 64]];
    // Rows that are not taken in sixteens.
    let narrow = [[0, 1], [63, 1], [65, 2], [513, 3], [131, 4], [2, 5]];
    for element in [Element::F32, Element::F16] {
        for shape in wide.into_iter().chain(narrow) {
            for place in PLACES {
                check(gpu, kernels, element, shape, Per::Tensor, place);
            }
            if shape[0] * shape[1] > 0 {
                check(gpu, kernels, element, shape, Per::Row, PLACES[0]);
                check(gpu, kernels, element, shape, Per::Column, PLACES[2]);
            }
        }
        check(gpu, kernels, element, [16, 16], Per::Row, PLACES[0]);
        check(gpu, kernels, element, [16, 16], Per::Column, PLACES[0]);
    }
}

#[test]
fn refusals_name_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device();
    let integers = QuantizeDescriptor { element: Element::I32, ..Default::default() };
    assert!(matches!(Quantize::new(device, &integers), Err(Error::Element { .. })));
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::I8, 2, 3, PLACES[0]);
    let params = upload_params(gpu, &[QuantParams::default(); 5]);
    let quantize = Quantize::new(device, &Default::default()).unwrap();
    let params = weighbridge::tensor::View::params(&params, 5);
    let error = quantize.bind(&QuantizeBindings { x: x.view(), params, out: out.view() }).err().unwrap();
    assert_eq!(error.to_string(), "quantize: params has 5 elements, expected 1, 2 (rows) or 3 (columns)");
}
