//! Int8 that a float kernel makes on its way out, held to what Quantize makes of the floats that it would have stored.
#![allow(dead_code)]

use crate::place::{Output, Place, run, upload_params};
use weighbridge::ops::{Call, Quantize, QuantizeBindings, QuantizeDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::tensor::{Element, View};
use weighbridge::{Gpu, Result};

/// Coarse enough that values of 1 are cut off, with limits of its own.
pub fn params() -> QuantParams {
    QuantParams::new(0.0071, -5, -100, 120).unwrap()
}

/// Runs `call` once to floats, which are quantized, and once to int8, and holds them to each other.
pub fn check(
    gpu: &Gpu,
    what: &str,
    element: Element,
    [rows, columns]: [usize; 2],
    place: Place,
    call: impl Fn(View<'_>, Option<View<'_>>) -> Result<Call>,
) {
    let buffer = upload_params(gpu, &[params()]);
    let params = View::params(&buffer, 1);
    let floats = Output::new(gpu, element, rows, columns, Place::default());
    let want = Output::new(gpu, Element::I8, rows, columns, Place::default());
    run(gpu, call(floats.view(), None));
    let quantize =
        Quantize::with_kernels(gpu.kernels(), &QuantizeDescriptor { element, ..Default::default() });
    let bindings = QuantizeBindings { x: floats.view(), params, out: want.view() };
    run(gpu, quantize.unwrap().bind(&bindings));
    let got = Output::new(gpu, Element::I8, rows, columns, place);
    run(gpu, call(got.view(), Some(params)));
    assert_eq!(got.read(gpu).data(), want.read(gpu).data(), "{what} {element:?} {rows}x{columns} {place:?}");
}
