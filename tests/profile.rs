//! Times of single calls, by timestamps and by the host's clock.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{device, gpu};
use weighbridge::Gpu;
use weighbridge::gpu::Clock;
use weighbridge::ops::{Call, Quantize, QuantizeBindings, QuantizeDescriptor};
use weighbridge::quant::QuantParams;
use weighbridge::tensor::{Element, View};

/// Some elements to int8.
fn call(gpu: &Gpu, elements: usize) -> Call {
    let params = QuantParams::new(0.01, 0, -128, 127).unwrap();
    let params = gpu.upload_words(bytemuck::cast_slice(&[params])).unwrap();
    let (x, out) = (gpu.buffer(4 * elements as u64).unwrap(), gpu.buffer(elements as u64).unwrap());
    let op = Quantize::with_kernels(gpu.kernels(), &QuantizeDescriptor::default()).unwrap();
    let bound = op.bind(&QuantizeBindings {
        x: View::new(&x, Element::F32, 1, elements),
        params: View::params(&params, 1),
        out: View::new(&out, Element::I8, 1, elements),
    });
    bound.unwrap()
}

/// More work takes longer, and each call has a time of its own, more of them than a query set holds.
fn times(gpu: &Gpu) {
    let (small, large) = (call(gpu, 1 << 10), call(gpu, 1 << 22));
    gpu.time(&[&small, &large]).unwrap();
    let timed = gpu.time(&[&large, &small, &large]).unwrap();
    let [a, b, c] = timed.nanoseconds[..] else { panic!("{timed:?} of three calls") };
    assert!(a > b && c > b && a > 1e4, "{timed:?}, of 4 M elements, 1 K and 4 M");
    assert_eq!(timed.clock, gpu.clock());

    let many = gpu.time(&vec![&small; 2050]).unwrap();
    assert_eq!(many.nanoseconds.len(), 2050);
    assert!(many.nanoseconds.iter().all(|&t| (0.0..1e9).contains(&t)), "{many:?}");
    assert!(many.nanoseconds[2048..].iter().any(|&t| t > 0.0), "{many:?}");
    assert!(gpu.time(&[]).unwrap().nanoseconds.is_empty());
}

#[test]
fn each_call_has_a_time() {
    let Some(gpu) = gpu() else { return };
    times(gpu);
}

#[test]
fn without_timestamps_the_hosts_clock_is_used_and_named() {
    let Some(gpu) = gpu() else { return };
    let small = device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    assert_eq!(small.clock(), Clock::Wall);
    times(&small);
}
