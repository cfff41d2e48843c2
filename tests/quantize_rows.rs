//! `quantize_rows`: parameters bit for bit, integers equal but at ties, around its lanes and its rows by workgroup.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Guarded, Rng, gpu};
use place::{Input, Output, PLACES, Place, bytes, float, run};
use weighbridge::ops::{QuantizeRows, QuantizeRowsBindings, QuantizeRowsDescriptor, Team};
use weighbridge::quant::{QuantParams, Scheme};
use weighbridge::reference::{self, Axis};
use weighbridge::tensor::{Element, Tensor, View};
use weighbridge::{Error, Gpu};

fn check(gpu: &Gpu, element: Element, shape: [usize; 2], scheme: Scheme, place: Place) {
    for team in [Team::Workgroup, Team::Thread] {
        check_team(gpu, element, shape, scheme, (place, team));
    }
}

fn check_team(
    gpu: &Gpu,
    element: Element,
    [rows, columns]: [usize; 2],
    scheme: Scheme,
    (place, team): (Place, Team),
) {
    let what = format!("{element:?} {rows}x{columns} {scheme:?} {place:?} {team:?}");
    let mut rng = Rng((rows * 31 + columns) as u64);
    let mut values = Vec::new();
    for r in 0..rows {
        let size = 2f32.powi(r as i32 % 12 - 8);
        values.extend(rng.f32s(columns).iter().map(|x| (x + (r % 3) as f32) * size));
        match r % 7 {
            3 => values[r * columns..].fill(f32::NAN),
            5 => values[r * columns..].fill(0.0),
            6 if columns > 1 => values[r * columns + columns / 2] = f32::NEG_INFINITY,
            _ => {}
        }
    }
    let x = float(element, [rows, columns], &values);
    let values = x.to_f32();
    let input = Input::new(gpu, &x, place);
    let out = Output::new(gpu, Element::I8, rows, columns, place);
    let params = Guarded::new(gpu, 4 * rows);
    let op = QuantizeRows::with_kernels(gpu.kernels(), &QuantizeRowsDescriptor { element, scheme });
    let op = op.unwrap().with_team(team);
    let params_view = View::params(&params.buffer, rows);
    run(gpu, op.bind(&QuantizeRowsBindings { x: input.view(), out: out.view(), params: params_view }));
    let params: Vec<QuantParams> = bytemuck::pod_collect_to_vec(&params.words(gpu));
    let axis = Axis::rows(rows, columns);
    let nothing =
        QuantParams::new(1.0, 0i32.clamp(scheme.qmin, scheme.qmax), scheme.qmin, scheme.qmax).unwrap();
    for (row, seen) in reference::minmax(&values, axis).unwrap().iter().enumerate() {
        let want = if seen.range.is_empty() { nothing } else { scheme.params(seen.range).unwrap() };
        assert_eq!(params[row], want, "{what}, row {row}: {seen:?}");
    }
    let got = bytes(&out.read(gpu));
    if rows == 0 {
        return;
    }
    let want = reference::quantize(&values, axis, &params).unwrap();
    for i in 0..got.len() {
        let steps = f64::from(values[i]) * f64::from(params[i / columns].inv_scale);
        let tie = ((steps - steps.floor()) - 0.5).abs() < 1e-6 * (1.0 + steps.abs());
        let off = (i32::from(got[i]) - i32::from(want[i])).abs();
        assert!(
            off == 0 || (tie && off == 1),
            "{what} at {i}: {} steps: {} is not {}",
            steps,
            got[i],
            want[i]
        );
    }
}

#[test]
fn equals_the_reference() {
    let Some(gpu) = gpu() else { return };
    let schemes = [
        Scheme::per_token_symmetric(),
        Scheme::per_token_affine(),
        Scheme::int8_symmetric_narrow(),
        Scheme::int8_affine(),
    ];
    for (i, scheme) in schemes.into_iter().enumerate() {
        let element = if i % 2 == 0 { Element::F32 } else { Element::F16 };
        for (j, shape) in [
            [0, 5],
            [3, 0],
            [1, 1],
            [5, 15],
            [65, 16],
            [33, 33],
            [9, 64],
            [31, 65],
            [4, 1024],
            [3, 2049],
            [2, 4803],
            [517, 12],
        ]
        .into_iter()
        .enumerate()
        {
            check(gpu, element, shape, scheme, PLACES[j % 3]);
            check(gpu, element, shape, scheme, PLACES[(j + 1) % 3]);
        }
    }
    check(gpu, Element::F16, [7, 48], schemes[0], PLACES[0]);
    check(gpu, Element::F32, [7, 48], Scheme::onnx_dynamic(), PLACES[0]);
}

#[test]
fn refusals_name_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([6, 3], [0.0; 18]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::I8, 6, 3, PLACES[0]);
    let params = gpu.upload_words(&[0; 24]).unwrap();
    let op = QuantizeRows::new(gpu.device(), &Default::default()).unwrap();
    let bind = |n| QuantizeRowsBindings { x: x.view(), out: out.view(), params: View::params(&params, n) };
    let error = op.bind(&bind(5)).err().unwrap();
    assert_eq!(error.to_string(), "quantize_rows: 6 rows, but room for 5 parameters");
    let scheme = Scheme { symmetric: true, ..Scheme::onnx_dynamic() };
    let descriptor = QuantizeRowsDescriptor { scheme, ..Default::default() };
    assert!(matches!(QuantizeRows::new(gpu.device(), &descriptor), Err(Error::Argument { .. })));
}
