//! What a GPU does with large problems, in Markdown: its roofline, products of 1024 to 4096 in every variant that it can
//! run, and what goes through one tensor of 16 M elements. Part of `benches/gpu.sh`, which says how.
//!
//! `-- --small`: problems that a software adapter does in half a minute, so that the bench itself can be tried.

mod common;

use common::{Role, elementwise, fastest, gemm};
use weighbridge::Gpu;
use weighbridge::evaluate::AdapterReport;
use weighbridge::profile::Roofline;
use weighbridge::tensor::Element;

/// Seconds that the timing of a table takes, but for what is slow.
const SECONDS: f64 = 1.5;

fn main() {
    let small = std::env::args().any(|a| a == "--small");
    let gpu = pollster::block_on(Gpu::new()).unwrap_or_else(|e| panic!("{e}"));
    let roofline = Roofline::measure(&gpu).unwrap_or_else(|e| panic!("{e}"));
    println!("{}\n", AdapterReport::new(&gpu));
    println!("Roofline of this run: {roofline}. Matrix units are not part of it.");
    println!("Timed with {}; the fastest run of each. Each result was checked.", gpu.clock());

    let sides: &[usize] = if small { &[128, 256] } else { &[1024, 2048, 4096] };
    for &n in sides {
        println!("\n## {}\n", gemm::name([n; 3]));
        println!("`untuned`: what is chosen without a measurement; `tuned`: the fastest of all.\n");
        println!("| elements | variant | ms | GFLOP/s | % of roofline | |");
        println!("| --- | --- | ---: | ---: | ---: | --- |");
        let work = 2.0 * (n as f64).powi(3);
        for element in [Element::F32, Element::F16, Element::I8] {
            let cases = gemm::candidates(&gpu, [n; 3], element);
            let times = fastest(&gpu, &cases, SECONDS);
            let best = times.iter().copied().fold(f64::INFINITY, f64::min);
            for (i, (case, &t)) in cases.iter().zip(&times).enumerate() {
                let rate = work / t / 1e9;
                let part = 100.0 * rate / roofline.operations(element);
                let role = match (i == 0, t == best) {
                    (true, true) => "untuned, tuned",
                    (true, false) => "untuned",
                    (false, true) => "tuned",
                    _ => "",
                };
                println!("| {element:?} | {} | {:.3} | {rate:.1} | {part:.1} | {role} |", case.name, t * 1e3);
            }
        }
    }

    let len = if small { 1 << 20 } else { elementwise::LEN };
    println!(
        "\n## Through one tensor\n\n| | kernel | ms | GB/s | % of the copy |\n| --- | --- | ---: | ---: | ---: |"
    );
    for (_, make) in elementwise::SIZED {
        let mut group = make(&gpu, len);
        group.cases.retain(|case| case.role != Role::Naive);
        let t = fastest(&gpu, &group.cases, SECONDS)[0];
        let (rate, kernel) = (group.rate(t), &group.cases[0].name);
        println!(
            "| {} | {kernel} | {:.3} | {rate:.1} | {:.1} |",
            group.name,
            t * 1e3,
            100.0 * rate / roofline.copy
        );
    }
}
