//! weighbridge beside what one would use instead, on the same numbers, in turns, in one run.
//!
//! Each peer solves a problem once and is compared with f64; one that is wrong is INVALID and gets no rate. The others
//! then take turns, round after round, so that a machine that slows down slows them all. The best round counts. See
//! `run.sh`, which makes all that this needs.

mod lane;
mod peers;
mod problem;
mod report;

use clap::Parser;
use lane::{Lane, Peer, Work, race};
use peers::onnxruntime::OnnxRuntime;
use peers::weighbridge::{Ours, memcpy};
use problem::{Kind, Long, Product, SIDE};
use report::Group;
use std::path::PathBuf;
use weighbridge::Gpu;
use weighbridge::profile::Roofline;
use weighbridge::tensor::Element;

#[derive(Parser)]
#[command(about = "weighbridge beside its peers: a table of ratios")]
struct Args {
    /// Only problems whose name contains this, as in "f16 512x512x512" or "minmax".
    filter: Option<String>,
    /// The adapter, by a part of its name.
    #[arg(long)]
    adapter: Option<String>,
    /// What runs ort.py; without it, ONNX Runtime is left out.
    #[arg(long, value_name = "COMMAND")]
    onnxruntime: Option<PathBuf>,
    /// Turns that each takes.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Writes the tables here too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Rows, terms of a sum, columns: squares, a feed-forward layer of MiniLM, and one row.
const SHAPES: [[usize; 3]; 5] =
    [[256, 256, 256], [512, 512, 512], [1024, 1024, 1024], [128, 384, 1536], [1, 1024, 4096]];

/// All that takes part.
struct Field {
    ours: Ours,
    /// Products alone have variants to choose among.
    tuned: Ours,
    ort: Option<OnnxRuntime>,
    #[cfg(feature = "burn")]
    burn: burn::tensor::Device,
}

type Lanes<'a> = Result<Vec<Lane<'a>>, String>;

impl Field {
    fn product<'a>(&'a self, p: &Product) -> Lanes<'a> {
        let mut lanes: Vec<Lane> =
            [&self.ours, &self.tuned].into_iter().flat_map(|ours| ours.products(p)).collect();
        #[cfg(feature = "burn")]
        lanes.push(peers::burn::product(&self.burn, p));
        lanes.extend(self.ort.iter().flat_map(|ort| ort.products(p)));
        lanes.extend(peers::cpu::products(p));
        Ok(lanes)
    }

    fn minmax<'a>(&'a self, x: &Long) -> Lanes<'a> {
        let mut lanes = self.ours.minmax(x)?;
        #[cfg(feature = "burn")]
        lanes.extend(peers::burn::minmax(&self.burn, x));
        lanes.extend(self.ort.iter().flat_map(|ort| ort.minmax(x)));
        lanes.extend(memcpy());
        lanes.push(self.ours.copy()?);
        Ok(lanes)
    }

    fn quantize<'a>(&'a self, x: &Long) -> Lanes<'a> {
        let mut lanes = vec![self.ours.quantize(x)?];
        #[cfg(feature = "burn")]
        lanes.push(peers::burn::quantize(&self.burn, x));
        lanes.extend(self.ort.iter().flat_map(|ort| ort.quantize(x)));
        lanes.extend(memcpy());
        lanes.push(self.ours.copy()?);
        Ok(lanes)
    }

    fn quantize_dynamic<'a>(&'a self, x: &Long) -> Lanes<'a> {
        let mut lanes = self.ours.quantize_dynamic(x)?;
        #[cfg(feature = "burn")]
        lanes.push(peers::burn::quantize_dynamic(&self.burn, x));
        lanes.extend(self.ort.iter().flat_map(|ort| ort.quantize_dynamic(x)));
        Ok(lanes)
    }
}

/// How busy the machine is: processes that run or would, on average over a minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|s| !s.is_empty()).unwrap_or("unknown").to_owned()
}

fn run(args: &Args) -> Result<(), String> {
    let start = std::time::Instant::now();
    let load_before = load();
    let open =
        || pollster::block_on(Gpu::with_adapter_name(args.adapter.as_deref())).map_err(|e| e.to_string());
    // What is tuned must not be found by what is not.
    let (gpu, for_tuned) = (open()?, open()?);
    let info = gpu.device().adapter_info();
    let ort = args.onnxruntime.as_deref().map(OnnxRuntime::start).transpose()?;
    let field = Field {
        ours: Ours { gpu, peer: Peer::Weighbridge },
        tuned: Ours { gpu: for_tuned, peer: Peer::WeighbridgeTuned },
        ort,
        #[cfg(feature = "burn")]
        burn: peers::burn::device(info.device_type),
    };
    let roofline = Roofline::measure(&field.ours.gpu).map_err(|e| e.to_string())?;

    let mut groups = Vec::new();
    let chosen = |name: &str| args.filter.as_deref().is_none_or(|f| name.contains(f));
    let mut add = |name: String, work, element, lanes: Vec<Lane>| {
        let group = Group { name, work, element, outcomes: race(work, args.rounds, lanes) };
        println!("{}", group.table(&roofline));
        if let Some(ort) = &field.ort {
            ort.clear();
        }
        groups.push(group);
    };
    for kind in [Kind::F32, Kind::F16, Kind::I8] {
        for shape @ [m, k, n] in SHAPES {
            if chosen(&Product::name(kind, shape)) {
                let problem = Product::new(shape, kind);
                let work = Work::Operations(2.0 * (m * k * n) as f64);
                add(Product::name(kind, shape), work, kind.element(), field.product(&problem)?);
            }
        }
    }
    let names = ["minmax 16M", "quantize 16M", "quantize_dynamic 16M"];
    if names.iter().any(|name| chosen(name)) {
        let x = Long::new();
        // Each reads all once, at least.
        let (reads, writes) = (4.0 * (SIDE * SIDE) as f64, (SIDE * SIDE) as f64);
        if chosen(names[0]) {
            add(names[0].into(), Work::Bytes(reads), Element::F32, field.minmax(&x)?);
        }
        if chosen(names[1]) {
            add(names[1].into(), Work::Bytes(reads + writes), Element::F32, field.quantize(&x)?);
        }
        if chosen(names[2]) {
            add(names[2].into(), Work::Bytes(reads + writes), Element::F32, field.quantize_dynamic(&x)?);
        }
    }

    let threads = std::thread::available_parallelism().map_or(0, |t| t.get());
    let ort =
        field.ort.as_ref().map_or("ONNX Runtime was left out".to_owned(), |o| match o.webgpu.as_str() {
            "" => format!("ONNX Runtime {} without its WebGPU plugin", o.version),
            webgpu => format!("ONNX Runtime {}, WebGPU {webgpu}", o.version),
        });
    let burn = if cfg!(feature = "burn") { "burn 0.22.1 (wgpu, WGSL)" } else { "burn was left out" };
    let head = format!(
        "# {} ({:?}, {} {})\n\n\
        {burn}; {ort}; gemm 0.19.0; candle 0.11.1. {threads} CPU threads; load {load_before} before, {} after, of which \
        this run is a part; {} rounds, {:.0} s.\n\
        Roofline of this run: {roofline}.\n\n\
        Products are rows x terms of a sum x columns. `x PEER` is how many times as fast as that peer weighbridge is, by \
        the best of the rounds, in which all took turns. Every result was compared with f64: INVALID is wrong \
        and has no rate, none is what the peer does not do on that device. Inputs and weights are on the device, and weighbridge's \
        weights packed, before the time begins; a time ends when the device is done.\n",
        info.name,
        info.backend,
        info.driver,
        info.driver_info,
        load(),
        args.rounds,
        start.elapsed().as_secs_f64(),
    );
    let text = report::markdown(&head, &groups, &roofline);
    if let Some(path) = &args.markdown {
        std::fs::write(path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    println!("{}", text.split("## Each problem").next().unwrap_or_default());
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("peers: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
