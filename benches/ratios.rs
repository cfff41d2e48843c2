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

use common::{Case, Group, Role, Work};
use std::time::Duration;
use weighbridge::Gpu;

const ROUNDS: usize = 9;
/// A round of a case lasts about as long, so that the cost of a submission is small in it.
const ROUND: f64 = 0.03;

/// Seconds of one run of each case.
fn measure(gpu: &Gpu, cases: &[Case]) -> Vec<f64> {
    let runs: Vec<usize> = cases
        .iter()
        .map(|case| {
            case.verify(gpu);
            let once = case.time(gpu, 1);
            (ROUND / once).ceil().clamp(1.0, 1000.0) as usize
        })
        .collect();
    let mut best = vec![f64::INFINITY; cases.len()];
    for _ in 0..ROUNDS {
        for (i, case) in cases.iter().enumerate() {
            best[i] = best[i].min(case.time(gpu, runs[i]));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    best
}

/// In units of 1e9 a second.
fn rate(group: &Group, seconds: f64) -> f64 {
    group.work.amount() as f64 / seconds / 1e9
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let gpu = pollster::block_on(Gpu::new()).unwrap_or_else(|e| panic!("{e}"));
    let info = gpu.device().adapter_info();
    println!("# {} ({:?}, {} {})\n", info.name, info.backend, info.driver, info.driver_info);
    let threads = std::thread::available_parallelism().map_or(0, |n| n.get());
    println!("{threads} CPU threads; subgroups of {} to {}.", info.subgroup_min_size, info.subgroup_max_size);

    let peaks = [common::copy(&gpu), common::multiply_add(&gpu)];
    let [bytes, operations] = peaks.map(|group| rate(&group, measure(&gpu, &group.cases)[0]));
    println!("Roofline of this run: copy {bytes:.1} GB/s, multiply and add {operations:.1} GFLOP/s.");

    for make in common::groups() {
        let group = make(&gpu);
        if !group.name.contains(&filter) {
            continue;
        }
        let times = measure(&gpu, &group.cases);
        let of = |role| group.cases.iter().position(|c| c.role == role).map(|i| times[i]);
        let ratio = |to: Option<f64>, time: f64| to.map_or("".into(), |to| format!("{:.2}", to / time));
        let (unit, peak) = match group.work {
            Work::Operations(_) => ("GFLOP/s", operations),
            Work::Bytes(_) => ("GB/s", bytes),
        };
        println!("\n## {}\n", group.name);
        println!("| kernel | ms | {unit} | of roofline | x naive | x our f32 |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        for (case, &time) in group.cases.iter().zip(&times) {
            let rate = rate(&group, time);
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
