//! Each op beside its naive kernel, by criterion: `cargo bench --bench ops -- gemm`. For a table, see `ratios`.

mod common;

use common::Work;
use criterion::{Criterion, Throughput};
use std::time::Duration;
use weighbridge::Gpu;
use weighbridge::profile::Roofline;

fn main() {
    let gpu = pollster::block_on(Gpu::new()).unwrap_or_else(|e| panic!("{e}"));
    println!("{}", gpu.device().adapter_info().name);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let roofline = Roofline::measure(&gpu).unwrap_or_else(|e| panic!("{e}"));
    for make in common::groups() {
        let group = make(&gpu);
        println!("Roofline of this run: {roofline}.");
        let mut bench = criterion.benchmark_group(&group.name);
        bench.throughput(match group.work {
            Work::Operations(n) => Throughput::Elements(n),
            Work::Bytes(n) => Throughput::Bytes(n),
        });
        for case in &group.cases {
            let mut checked = false;
            bench.bench_function(&case.name, |b| {
                if !std::mem::replace(&mut checked, true) {
                    case.verify(&gpu);
                }
                b.iter_custom(|runs| Duration::from_secs_f64(case.time(&gpu, runs as usize) * runs as f64))
            });
        }
        bench.finish();
    }
    criterion.final_summary();
}
