//! What the CPU does to record a plan: `cargo bench --bench record`. The bar is 100 us for 30 layers.

#[path = "../tests/common/gpu.rs"]
mod gpu;
#[path = "../tests/common/transformer.rs"]
mod transformer;

use std::time::{Duration, Instant};
use transformer::Encoder;
use weighbridge::graph::Model;
use weighbridge::plan::{Plan, PlanDescriptor};
use weighbridge::{Gpu, optimize};

const BAR: Duration = Duration::from_micros(100);
const ROUNDS: usize = 2000;

fn main() {
    let gpu = pollster::block_on(Gpu::new()).unwrap_or_else(|e| panic!("{e}"));
    println!("# {}\n", gpu.device().adapter_info().name);
    println!("| plan | dispatches | least, us | median, us | of {} us |", BAR.as_micros());
    println!("| --- | ---: | ---: | ---: | ---: |");
    let mlp = transformer::mlp(30, 32);
    let encoder = Encoder { layers: 30, heads: 2, d: 16, inner: 64, masked: false, ..Encoder::MINI_LM };
    let encoder = encoder.model();
    let dynamic = |model: &Model| optimize::dynamic_int8(model, &Default::default()).expect("finite weights");
    let rows: &[usize] = &[8, 32];
    let tokens: &[usize] = &[1, 8, 32];
    for (name, model, shape) in [
        ("30 linear layers, f32", &mlp, rows),
        ("30 linear layers, dynamic int8", &dynamic(&mlp), rows),
        ("30 blocks of a transformer, f32", &encoder, tokens),
        ("30 blocks of a transformer, dynamic int8", &dynamic(&encoder), tokens),
    ] {
        let (dispatches, mut times) = times(&gpu, model, shape);
        times.sort_unstable();
        let (least, median) = (times[0], times[times.len() / 2]);
        let us = |t: Duration| t.as_secs_f64() * 1e6;
        println!(
            "| {name} | {dispatches} | {:.1} | {:.1} | {:.2} |",
            us(least),
            us(median),
            us(median) / us(BAR)
        );
    }
}

/// Dispatches of a plan, and how long each recording took.
fn times(gpu: &Gpu, model: &Model, shape: &[usize]) -> (usize, Vec<Duration>) {
    let inputs: &[(&str, &[usize])] = &[("x", shape)];
    let descriptor = PlanDescriptor { inputs, ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), model, &descriptor).unwrap_or_else(|e| panic!("{e}"));
    let ports = || plan.inputs().iter().chain(plan.outputs());
    let buffers: Vec<wgpu::Buffer> =
        ports().map(|p| gpu.buffer(p.bytes()).unwrap_or_else(|e| panic!("{e}"))).collect();
    let views: Vec<_> = ports().zip(&buffers).map(|(p, b)| (p.name.as_str(), p.view(b))).collect();
    let frame = plan.bind(&views).unwrap_or_else(|e| panic!("{e}"));
    let times = (0..ROUNDS)
        .map(|_| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let start = Instant::now();
            frame.record(&mut pass);
            start.elapsed()
        })
        .collect();
    (frame.dispatches(), times)
}
