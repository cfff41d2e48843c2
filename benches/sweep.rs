//! How cost grows with size: square products of 128 to 4096 in f32, f16 and int8, and what goes through one tensor of
//! 64 K to 16 M elements. Writes a table and a plot, beside the device's roofline:
//!
//! ```text
//! cargo bench --bench sweep -- --out benches/results/YYYY-MM-DD-sweep-<adapter>     # .md and .svg
//! ```
//!
//! A size that would take longer than a budget (20 s for three runs of a case, `--budget SECONDS`), judged by the size
//! before it, is left out, and the table says so; `--sides 1000,1024` takes other sizes of products. Every case is
//! checked before it is timed; the fastest run counts.

mod common;

use common::{Role, elementwise, fastest, gemm};
use plotters::prelude::*;
use std::error::Error;
use std::fmt::Write;
use weighbridge::Gpu;
use weighbridge::profile::Roofline;
use weighbridge::tensor::Element;

const SIDES: [usize; 6] = [128, 256, 512, 1024, 2048, 4096];
const ELEMENTS: [(&str, Element); 3] = [("f32", Element::F32), ("f16", Element::F16), ("int8", Element::I8)];
const LENGTHS: [usize; 5] = [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24];
/// Seconds that the runs of a size of a case take, but for what is slow.
const SECONDS: f64 = 1.0;

/// One size of one case.
struct Point {
    size: usize,
    /// Operations or bytes.
    work: f64,
    /// `None` where it was left out, with the seconds that it would have taken.
    seconds: Result<f64, f64>,
    kernel: String,
}

/// A case over all sizes.
struct Line {
    name: &'static str,
    points: Vec<Point>,
    /// 1e9 a second at most.
    peak: f64,
}

impl Line {
    /// Seconds of a further size, as the work grows.
    fn expected(&self, work: f64) -> Option<f64> {
        let last = self.points.last()?;
        Some(last.seconds.unwrap_or_else(|e| e) * work / last.work)
    }

    fn measured(&self) -> impl DoubleEndedIterator<Item = (&Point, f64)> {
        self.points.iter().filter_map(|p| Some((p, p.seconds.ok()?)))
    }

    /// The power of the work that time grows as, over the last three sizes.
    fn growth(&self) -> Option<f64> {
        let (last, most) = self.measured().next_back()?;
        let (first, least) = self.measured().rev().nth(2)?;
        Some((most / least).ln() / (last.work / first.work).ln())
    }
}

/// Lines that share a plot.
struct Panel {
    title: &'static str,
    sizes: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let budget: f64 = option("--budget").map_or(Ok(20.0), |text| text.parse())?;
    let gpu = pollster::block_on(Gpu::new())?;
    let roofline = Roofline::measure(&gpu)?;
    let sides = option("--sides").map(|text| text.split(',').map(str::parse).collect()).transpose()?;
    let sides = sides.unwrap_or(SIDES.to_vec());
    let panels = [products(&gpu, &roofline, &sides, budget), tensors(&gpu, &roofline)];
    let text = table(&gpu, &roofline, &panels)?;
    println!("{text}");
    if let Some(out) = option("--out") {
        // Benches run in the package's folder, wherever they are called.
        std::fs::write(format!("{out}.md"), text)?;
        plot(&format!("{out}.svg"), &gpu, &panels)?;
    }
    Ok(())
}

fn products(gpu: &Gpu, roofline: &Roofline, sides: &[usize], budget: f64) -> Panel {
    let line = |(name, element)| Line { name, points: Vec::new(), peak: roofline.operations(element) };
    let mut lines: Vec<Line> = ELEMENTS.into_iter().map(line).collect();
    for &n in sides {
        let work = 2.0 * (n as f64).powi(3);
        for (line, (_, element)) in lines.iter_mut().zip(ELEMENTS) {
            let expected = line.expected(work);
            let left_out = expected.filter(|t| 3.0 * t > budget);
            let case = left_out.is_none().then(|| gemm::chosen(gpu, [n; 3], element)).flatten();
            let point = match &case {
                Some(case) => {
                    eprintln!("{n} {}", line.name);
                    let seconds = fastest(gpu, std::slice::from_ref(case), SECONDS)[0];
                    Point { size: n, work, seconds: Ok(seconds), kernel: case.name.clone() }
                }
                None => {
                    Point { size: n, work, seconds: Err(expected.unwrap_or(f64::NAN)), kernel: "".into() }
                }
            };
            line.points.push(point);
        }
    }
    Panel { title: "a [n, n] by b [n, n]", sizes: "n", unit: "GFLOP/s", lines }
}

fn tensors(gpu: &Gpu, roofline: &Roofline) -> Panel {
    let line = |(name, make): (&'static str, elementwise::Make)| {
        let point = |size| {
            let mut group = make(gpu, size);
            eprintln!("{}", group.name);
            group.cases.retain(|case| case.role != Role::Naive);
            let seconds = Ok(fastest(gpu, &group.cases, SECONDS)[0]);
            Point { size, work: group.work.amount() as f64, seconds, kernel: group.cases[0].name.clone() }
        };
        Line { name, points: LENGTHS.map(point).into(), peak: roofline.copy }
    };
    let lines = elementwise::SIZED.into_iter().map(line).collect();
    Panel { title: "through one tensor", sizes: "elements", unit: "GB/s", lines }
}

fn table(gpu: &Gpu, roofline: &Roofline, panels: &[Panel]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let info = gpu.device().adapter_info();
    writeln!(
        text,
        "# Cost and size: {} ({:?}, {} {})\n",
        info.name, info.backend, info.driver, info.driver_info
    )?;
    writeln!(
        text,
        "`cargo bench --bench sweep`: each case checked, then timed with {}; the fastest run.",
        gpu.clock()
    )?;
    writeln!(
        text,
        "Roofline: {roofline}. Growth: time goes with this power of the work, over the last three sizes."
    )?;
    for panel in panels {
        writeln!(text, "\n## {}\n", panel.title)?;
        writeln!(text, "| | {} | ms | {} | % of roofline | kernel |", panel.sizes, panel.unit)?;
        writeln!(text, "| --- | ---: | ---: | ---: | ---: | --- |")?;
        for line in &panel.lines {
            for Point { size, work, seconds, kernel } in &line.points {
                match seconds {
                    Ok(t) => {
                        let (ms, rate) = (t * 1e3, work / t / 1e9);
                        let part = 100.0 * rate / line.peak;
                        writeln!(
                            text,
                            "| {} | {size} | {ms:.3} | {rate:.2} | {part:.1} | {kernel} |",
                            line.name
                        )?;
                    }
                    Err(t) => {
                        writeln!(text, "| {} | {size} | left out: about {t:.0} s a run | | | |", line.name)?
                    }
                }
            }
        }
        let grown = panel.lines.iter().filter_map(|l| Some(format!("{} {:.2}", l.name, l.growth()?)));
        writeln!(text, "\nGrowth: {}.", grown.collect::<Vec<_>>().join(", "))?;
    }
    Ok(text)
}

/// A size on an axis.
fn sized(x: f64) -> String {
    match x {
        x if x >= f64::from(1 << 20) => format!("{:.0}M", x / f64::from(1 << 20)),
        x if x >= f64::from(1 << 14) => format!("{:.0}K", x / 1024.0),
        x => format!("{x:.0}"),
    }
}

const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 140, 44)];

/// Rates over sizes: where these are level, cost grows as the work.
fn plot(path: &str, gpu: &Gpu, panels: &[Panel]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1200, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(&gpu.device().adapter_info().name, ("sans-serif", 20))?;
    for (area, panel) in root.split_evenly((1, panels.len())).iter().zip(panels) {
        let points = |line: &Line| -> Vec<(f64, f64)> {
            line.measured().map(|(p, t)| (p.size as f64, p.work / t / 1e9)).collect()
        };
        let sizes: Vec<f64> = panel.lines.iter().flat_map(|l| &l.points).map(|p| p.size as f64).collect();
        let rates = panel.lines.iter().flat_map(|l| points(l).into_iter().map(|p| p.1).chain([l.peak]));
        let within = |all: &[f64]| all.iter().fold([f64::MAX, 0.0], |[a, b], &x| [x.min(a), x.max(b)]);
        let [left, right] = within(&sizes);
        let [low, high] = within(&rates.collect::<Vec<_>>());
        let mut chart = ChartBuilder::on(area)
            .caption(panel.title, ("sans-serif", 17))
            .margin(12)
            .margin_right(28)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (left..right * 1.01).log_scale().base(2.0),
                (low / 4.0..high * 1.5).log_scale(),
            )?;
        let mesh = &mut chart.configure_mesh();
        mesh.x_desc(panel.sizes)
            .y_desc(panel.unit)
            .x_label_formatter(&|&x| sized(x))
            .max_light_lines(0)
            .draw()?;
        for (line, colour) in panel.lines.iter().zip(COLOURS) {
            let drawn = LineSeries::new(points(line), colour.stroke_width(2)).point_size(4);
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(drawn)?.label(line.name).legend(sample);
        }
        // Roofs that several lines share are one.
        let mut roofs: Vec<(f64, RGBColor, String)> = Vec::new();
        for (line, colour) in panel.lines.iter().zip(COLOURS) {
            match roofs.iter_mut().find(|(peak, ..)| *peak == line.peak) {
                Some((_, colour, name)) => {
                    *colour = BLACK;
                    *name = format!("{name}, {}", line.name);
                }
                None => roofs.push((line.peak, colour, format!("roof of {}", line.name))),
            }
        }
        for (peak, colour, name) in roofs {
            let ends = [(left, peak), (right, peak)];
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(1));
            let drawn = DashedLineSeries::new(ends, 6, 5, colour.stroke_width(1));
            chart.draw_series(drawn)?.label(name).legend(sample);
        }
        let labels = &mut chart.configure_series_labels();
        let labels = labels.position(SeriesLabelPosition::LowerLeft).background_style(WHITE.mix(0.8));
        labels.border_style(BLACK.mix(0.4)).label_font(("sans-serif", 13)).draw()?;
    }
    root.present()?;
    Ok(())
}
