//! `weighbridge quantize`: a network in, a smaller one out.

use crate::compare::batch;
use crate::data::{self, Rows};
use crate::files::OutFile;
use crate::{Result, terminal};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use std::io::Write;
use std::path::PathBuf;
use weighbridge::calibrate::{Calibrator, Ranges};
use weighbridge::graph::{Model, Op};
use weighbridge::optimize::{self, DynamicOptions, Policy, StaticOptions, WeightOnlyOptions, Which};
use weighbridge::quant::Observer;
use weighbridge::tensor::Element;

/// Rows in a batch of the calibration where `--batch` does not say.
const BATCH: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Weights and activations in f16
    Half,
    /// Weights and activations in int8, with ranges measured on --data
    Static,
    /// Weights in int8, and activations with ranges measured at every run
    Dynamic,
    /// Weights of Linears and embeddings in int8, activations as they are
    WeightOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ObserverName {
    /// The smallest and largest element of all batches
    Minmax,
    /// Averages that new batches move by a hundredth
    MovingAverage,
}

#[derive(clap::Args)]
pub struct Args {
    /// The network, in f32
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// What to make of it
    #[arg(long)]
    mode: Mode,
    /// Where it goes
    #[arg(long, short, value_name = "OUT.onnx")]
    output: PathBuf,
    /// The rows to calibrate static int8 on; the name may be left out for the only input that is left
    #[arg(long, value_name = "[NAME=]X.npy", conflicts_with = "load_ranges")]
    data: Vec<String>,
    /// Rows in a batch of the calibration (default: the model's, else 32)
    #[arg(long, value_name = "N", value_parser = batch, requires = "data")]
    batch: Option<usize>,
    /// A node, or `op:NAME` for all of an op, that stays float. May be repeated
    #[arg(long, value_name = "NODE")]
    skip: Vec<String>,

    /// A node, or `op:NAME` for all of an op, that is quantized though by default it stays float. May be repeated
    #[arg(long, value_name = "NODE")]
    int8: Vec<String>,
    /// One scale for each weight, not one for each of its output channels
    #[arg(long)]
    per_tensor: bool,
    /// One scale for every N weights of an output of a Linear, not one for each output: a multiple of 32 (weight-only)
    #[arg(long, value_name = "N", value_parser = batch)]
    group: Option<usize>,
    /// How the ranges of batches become one (default: minmax)
    #[arg(long, requires = "data")]
    observer: Option<ObserverName>,
    /// Also write down the ranges that were measured
    #[arg(long, value_name = "OUT.json", requires = "data")]
    ranges: Option<PathBuf>,
    /// Ranges that were measured before, instead of --data
    #[arg(long, value_name = "IN.json")]
    load_ranges: Option<PathBuf>,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

impl Args {
    /// Refuses options that would do nothing.
    fn check(&self) -> Result<()> {
        let mode = self.mode.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let given = |option, given: bool| given.then_some(option);
        let calibrates =
            [given("--data", !self.data.is_empty()), given("--load-ranges", self.load_ranges.is_some())];
        let int8 = [
            given("--skip", !self.skip.is_empty()),
            given("--int8", !self.int8.is_empty()),
            given("--per-tensor", self.per_tensor),
        ];
        let group = [given("--group", self.group.is_some())];
        let useless = match self.mode {
            Mode::Half => calibrates.iter().chain(&int8).chain(&group).flatten().next(),
            Mode::Dynamic => calibrates.iter().chain(&group).flatten().next(),
            // Its scales are always of channels, or of less.
            Mode::WeightOnly => calibrates.iter().chain(&int8[2..]).flatten().next(),
            Mode::Static if calibrates == [None, None] => {
                return Err(
                    "--mode static: ranges are missing, give --data X.npy or --load-ranges IN.json".into()
                );
            }
            Mode::Static => group.iter().flatten().next(),
        };
        match useless {
            Some(option) => Err(format!("--mode {mode} has no use for {option}").into()),
            None => Ok(()),
        }
    }
}

impl Args {
    /// What `--skip` and `--int8` say.
    fn policy(&self) -> Policy {
        let which = |name: &String| match name.strip_prefix("op:") {
            Some(op) => Which::Op(op.into()),
            None => Which::Node(name.clone()),
        };
        let policy = self.skip.iter().fold(Policy::default(), |p, name| p.float(which(name)));
        self.int8.iter().fold(policy, |p, name| p.int8(which(name)))
    }
}

pub async fn run(args: &Args) -> Result<()> {
    args.check()?;
    let (model, file_bytes) = data::model(&args.model)?;
    let file = OutFile::create(&args.output)?;
    let ranges_file = args.ranges.as_deref().map(OutFile::create).transpose()?;
    let fail = |e: weighbridge::Error| format!("{}: {e}", args.model.display());

    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut measured = None;
    let small = match args.mode {
        Mode::Half => {
            let half = optimize::half(&model).map_err(fail)?;
            facts.push(("set to +-65504", format!("{} constants' elements", half.saturated)));
            facts.push(("became 0", format!("{} constants' elements", half.flushed)));
            half.model
        }
        Mode::Dynamic => {
            let (policy, per_channel) = (args.policy(), !args.per_tensor);
            let options = DynamicOptions { policy, per_channel, ..Default::default() };
            facts.push(("ranges", "one for each tensor: a file cannot have one for each row".into()));
            optimize::dynamic_int8(&model, &options).map_err(fail)?
        }
        Mode::Static => {
            let (policy, per_channel) = (args.policy(), !args.per_tensor);
            let options = StaticOptions { policy, per_channel, ..Default::default() };
            let ranges = match &args.load_ranges {
                Some(path) => Ranges::load(path).map_err(|e| match e {
                    e @ weighbridge::Error::Io { .. } => e.to_string(),
                    e => format!("{}: {e}", path.display()),
                })?,
                None => calibrated(args, &model).await?,
            };
            facts.push(("ranges", format!("{} values in {} batches", ranges.values.len(), ranges.batches)));
            let small = optimize::static_int8(&model, &ranges, &options).map_err(fail)?;
            measured = Some(ranges);
            small
        }
        Mode::WeightOnly => {
            let options =
                WeightOnlyOptions { policy: args.policy(), group: args.group, ..Default::default() };
            optimize::weight_only(&model, &options).map_err(fail)?
        }
    };
    let bytes = small.to_onnx_bytes().map_err(fail)?;
    if let (Some(file), Some(ranges)) = (ranges_file, measured) {
        file.write((ranges.to_json()? + "\n").as_bytes())?;
    }
    file.write(&bytes)?;

    let share = bytes.len() as f64 / file_bytes.max(1) as f64 * 100.0;
    let sizes = [file_bytes, bytes.len() as u64].map(|b| format!("{:.1} kB", b as f64 / 1e3));
    let size = format!("{} -> {} ({share:.0}%)", sizes[0], sizes[1]);
    let nodes = match args.mode {
        Mode::Half => ("nodes in f16", narrow_nodes(&small)),
        _ => ("nodes in int8", quantized_nodes(&small)),
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([args.output.display().to_string(), size]);
    for (what, how) in [nodes].into_iter().chain(facts) {
        table.add_row([what.to_owned(), how]);
    }
    // `println!` would panic where a pipe is closed early.
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}

/// The ranges of the values that static int8 needs, over the rows of `--data`.
async fn calibrated(args: &Args, model: &Model) -> Result<Ranges> {
    let rows = Rows::load("--data", &args.data, model)?;
    let batch = rows.batch(args.batch, BATCH)?;
    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    let observer = match args.observer {
        Some(ObserverName::MovingAverage) => Observer::moving_average(),
        Some(ObserverName::Minmax) | None => Observer::MinMax,
    };
    let progress = terminal::progress()?;
    progress.set_message("calibrating");
    progress.set_length(rows.len() as u64);
    let mut calibrator = Calibrator::new(&gpu, model, observer)?;
    for from in (0..rows.len()).step_by(batch) {
        let to = (from + batch).min(rows.len());
        let batch = rows.slice(from, to)?;
        let inputs: Vec<_> = batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        calibrator.observe(&inputs)?;
        progress.set_position(to as u64);
    }
    let ranges = calibrator.finish().await?;
    progress.finish_and_clear();
    Ok(ranges)
}

/// How many nodes read or make int8, and of which ops.
fn quantized_nodes(model: &Model) -> String {
    counted(model, |model, node| {
        let mut values = node.inputs.iter().flatten().chain(&node.outputs);
        values.any(|&id| model.value(id).quant.is_some())
    })
}

/// How many nodes make f16, and of which ops.
fn narrow_nodes(model: &Model) -> String {
    counted(model, |model, node| node.outputs.iter().any(|&id| model.value(id).element == Element::F16))
}

/// `2 Conv, 1 Linear; 3 of 4 nodes`. What only converts is none.
fn counted(model: &Model, is: impl Fn(&Model, &weighbridge::graph::Node) -> bool) -> String {
    let converts = |op: &Op| matches!(op, Op::Quantize | Op::Dequantize | Op::Cast);
    let nodes: Vec<_> = model.nodes().iter().filter(|n| !converts(&n.op)).collect();
    let mut ops: Vec<(&str, usize)> = Vec::new();
    for node in nodes.iter().filter(|n| is(model, n)) {
        match ops.iter_mut().find(|(op, _)| *op == node.op.name()) {
            Some((_, count)) => *count += 1,
            None => ops.push((node.op.name(), 1)),
        }
    }
    let count: usize = ops.iter().map(|(_, n)| n).sum();
    let list: Vec<String> = ops.iter().map(|(op, n)| format!("{n} {op}")).collect();
    let list = if list.is_empty() { String::new() } else { format!(": {}", list.join(", ")) };
    format!("{count} of {}{list}", nodes.len())
}
