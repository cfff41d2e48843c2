//! Each kernel beside the naive one, our f32 and the device's own limits, as a table in Markdown:
//!
//! ```text
//! cargo bench --bench ratios > benches/results/YYYY-MM-DD-<adapter>.md
//! cargo bench --bench ratios -- gemm      # groups whose name contains it
//! ```
//!
//! All cases are checked, then timed in turn, round after round, so that a machine that slows down slows them all; the
//! fastest round counts. Ratios within one table are to be trusted more than times, and those below 1.2 not at all
//! where the machine has other work.

mod common;

use common::{Role, Work, measure, peak};
use weighbridge::Gpu;
use weighbridge::profile::Roofline;

fn main() {
    let gpu = pollster::block_on(Gpu::new()).unwrap_or_else(|e| panic!("{e}"));
    let info = gpu.device().adapter_info();
    println!("# {} ({:?}, {} {})\n", info.name, info.backend, info.driver, info.driver_info);
    let threads = std::thread::available_parallelism().map_or(0, |n| n.get());
    println!("{threads} CPU threads; subgroups of {} to {}.", info.subgroup_min_size, info.subgroup_max_size);

    let roofline = Roofline::measure(&gpu).unwrap_or_else(|e| panic!("{e}"));
    println!("Roofline of this run: {roofline}. Of operations, it is that of f32.");

    for make in common::groups() {
        let group = make(&gpu);
        let times = measure(&gpu, &group.cases);
        let of = |role| group.cases.iter().position(|c| c.role == role).map(|i| times[i]);
        let ratio = |to: Option<f64>, time: f64| to.map_or("".into(), |to| format!("{:.2}", to / time));
        let (peak, unit) = (
            peak(&roofline, group.work),
            match group.work {
                Work::Operations(_) => "GFLOP/s",
                Work::Bytes(_) => "GB/s",
            },
        );
        println!("\n## {}\n", group.name);
        println!("| kernel | ms | {unit} | of roofline | x naive | x our f32 |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        for (case, &time) in group.cases.iter().zip(&times) {
            let rate = group.rate(time);
            println!(
                "| {} | {:.3} | {rate:.2} | {:.3} | {} | {} |",
                case.name,
                time * 1e3,
                rate / peak,
                ratio(of(Role::Naive), time),
                ratio(of(Role::F32), time),
            );
        }
    }
}
