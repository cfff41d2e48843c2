//! `weighbridge tune`: the fastest kernels for a network or a product on this GPU, kept for the other commands.

use crate::compare::batch;
use crate::dataset::NETWORKS;
use crate::{Result, data, profile, quantize, terminal};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use weighbridge::graph::{Dim, Model};
use weighbridge::ops::{Layout, Problem};
use weighbridge::tensor::Element;
use weighbridge::tune::{TuneOptions, Tuned, Verdict};
use weighbridge::{Gpu, Session, Tuner, tune};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// As the network is; f32
    Float,
    /// Half precision
    Half,
    /// Static int8
    Static,
    /// Dynamic int8
    Dynamic,
    /// Weights of Linears alone in int8
    WeightOnly,
}

impl Mode {
    fn quantized(self) -> Option<quantize::Mode> {
        match self {
            Mode::Float => None,
            Mode::Half => Some(quantize::Mode::Half),
            Mode::Static => Some(quantize::Mode::Static),
            Mode::Dynamic => Some(quantize::Mode::Dynamic),
            Mode::WeightOnly => Some(quantize::Mode::WeightOnly),
        }
    }
}

#[derive(clap::Args)]
pub struct Args {
    /// The network: an ONNX file, or one of the built-in `cnn`, `mlp` and `vit` (default: the first two)
    #[arg(value_name = "MODEL.onnx|NAME")]
    network: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "MODEL.onnx|NAME", conflicts_with = "network")]
    model: Option<PathBuf>,
    /// A matrix product of M rows, N columns and sums of K, instead of a network; or the shape of an input of MODEL, where its file leaves
    /// more than the batch open. May be repeated
    #[arg(long, value_name = "MxNxK|NAME=AxBx..")]
    shape: Vec<String>,
    /// What the networks, or the products' operands, are made into
    #[arg(long, value_name = "MODE,..", value_delimiter = ',', default_values = ["float", "half", "dynamic"])]
    mode: Vec<Mode>,
    /// The batches that networks run with
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = batch, default_values = ["1"])]
    batch: Vec<usize>,
    /// Seconds for each problem
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    budget: f64,
    /// Where the table is (default: $WEIGHBRIDGE_TUNE_FILE, else weighbridge/tuned.json in the user's folder for caches)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Measure again what is in the table
    #[arg(long)]
    again: bool,
    /// Measure, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(s) if (0.0..=3600.0).contains(&s) => Ok(s),
        _ => Err("expected 0 to 3600".into()),
    }
}

pub async fn run(args: &Args) -> Result<()> {
    let (inputs, products): (Vec<_>, Vec<_>) = args.shape.iter().partition(|s| s.contains('='));
    let products = products.into_iter().map(|s| product(s)).collect::<Result<Vec<_>>>()?;
    let inputs = inputs.into_iter().map(|s| input(s)).collect::<Result<Vec<_>>>()?;
    if !products.is_empty() && (args.network.is_some() || args.model.is_some()) {
        return Err("--shape MxNxK: a product is tuned instead of a network, not beside it".into());
    }
    let networks = if products.is_empty() { networks(args)? } else { Vec::new() };
    let path = match (&args.file, args.dry_run) {
        (_, true) => None,
        (Some(path), _) => Some(path.clone()),
        (None, _) => {
            Some(tune::default_file().ok_or("--file FILE: the environment names no folder for caches")?)
        }
    };

    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    let options = TuneOptions { budget: Duration::from_secs_f64(args.budget), again: args.again };
    let tuner = Tuner::with_options(&gpu, options);
    if let Some(path) = path.as_ref().filter(|path| path.exists()) {
        tuner.load(path)?;
    }
    let mut problems = Vec::new();
    for (m, n, k) in products {
        problems.extend(args.mode.iter().map(|&mode| as_problem(mode, m, n, k)));
    }
    for (name, model) in &networks {
        for &mode in &args.mode {
            let found = of_network(&gpu, model, mode, &args.batch, &inputs).await;
            problems.extend(found.map_err(|e| format!("{name}: {e}"))?);
        }
    }
    let progress = terminal::progress()?;
    let tuned = tuner.tune_all(&problems, |tuned, of| {
        progress.set_length(of as u64);
        progress.inc(1);
        progress.set_message(tuned.problem.to_string());
    });
    progress.finish_and_clear();
    let tuned = tuned?;
    let mut out = std::io::stdout();
    let name = gpu.device().adapter_info().name;
    writeln!(out, "{name}, by {}\n{}", gpu.clock(), table(&tuned))?;
    for (tuned, trial) in tuned.iter().flat_map(|t| t.trials.iter().map(move |trial| (t, trial))) {
        if let Verdict::Wrong(why) | Verdict::Refused(why) = &trial.verdict {
            writeln!(out, "{}: {} was left out: {why}", tuned.problem, trial.choice)?;
        }
    }
    if let Some(path) = path {
        tuner.save(&path)?;
        writeln!(out, "{} problems are in {}", tuned.len(), path.display())?;
    }
    Ok(())
}

/// `MxNxK`.
fn product(text: &str) -> Result<(usize, usize, usize)> {
    match sizes(text).as_deref() {
        Some(&[m, n, k]) if ![m, n, k].contains(&0) => Ok((m, n, k)),
        _ => Err(format!("--shape {text}: expected MxNxK, as in 64x256x128, or NAME=AxBx..").into()),
    }
}

/// `NAME=AxBx..`.
fn input(text: &str) -> Result<(String, Vec<usize>)> {
    let parts = text.rsplit_once('=').and_then(|(name, shape)| Some((name.to_owned(), sizes(shape)?)));
    parts.ok_or_else(|| format!("--shape {text}: expected NAME=AxBx.., as in image=1x3x224x224").into())
}

fn sizes(text: &str) -> Option<Vec<usize>> {
    text.split('x').map(|n| n.parse().ok()).collect()
}

fn as_problem(mode: Mode, m: usize, n: usize, k: usize) -> Problem {
    let (element, weight_only) = match mode {
        Mode::Float => (Element::F32, false),
        Mode::Half => (Element::F16, false),
        Mode::Static | Mode::Dynamic => (Element::I8, false),
        Mode::WeightOnly => (Element::F32, true),
    };
    let aligned = k.is_multiple_of(4 * element.per_word());
    Problem { element, weight_only, layout: Layout::Packed, aligned, m, n, k, batch: 1, patch: None }
}

/// The networks that were asked for, by name.
fn networks(args: &Args) -> Result<Vec<(String, Model)>> {
    let wanted = match args.network.as_ref().or(args.model.as_ref()) {
        Some(path) => vec![path.clone()],
        None => NETWORKS[..2].iter().map(|(name, _)| name.into()).collect(),
    };
    wanted.iter().map(|path| Ok((path.display().to_string(), profile::model(path)?))).collect()
}

/// The products of a network in one mode, for all batches.
async fn of_network(
    gpu: &Gpu,
    model: &Model,
    mode: Mode,
    batches: &[usize],
    given: &[(String, Vec<usize>)],
) -> Result<Vec<Problem>> {
    let shapes = |batch: usize| shapes(model, batch, given);
    // Which kernels run depends on shapes alone, so that static ranges of anything will do.
    let anything = model.inputs().iter().zip(shapes(1)?).zip(0..).map(|((&id, (name, shape)), seed)| {
        let text: Vec<String> = shape.iter().map(usize::to_string).collect();
        Ok((name, profile::made_up(model.value(id), Some(&text.join("x")), seed)?))
    });
    let made = profile::made(gpu, model.clone(), mode.quantized(), &anything.collect::<Result<_>>()?).await?;
    let session = Session::new(gpu, &made)?;
    let mut problems = Vec::new();
    for &batch in batches {
        let shapes = shapes(batch)?;
        let named: Vec<_> = shapes.iter().map(|(n, s)| (n.as_str(), s.clone())).collect();
        problems.extend(session.chosen(&named)?.into_iter().map(|chosen| chosen.problem));
    }
    Ok(problems)
}

/// Shapes of the inputs: as they are given, else the model's, with the batch for what is open outermost.
fn shapes(model: &Model, batch: usize, given: &[(String, Vec<usize>)]) -> Result<Vec<(String, Vec<usize>)>> {
    let names = data::names(model, model.inputs());
    if let Some((name, _)) = given.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        return Err(format!(
            "--shape {name}=..: there is no such input, the model has `{}`",
            names.join("`, `")
        )
        .into());
    }
    let one = |&id| {
        let value = model.value(id);
        if let Some((name, shape)) = given.iter().find(|(name, _)| *name == value.name) {
            return Ok((name.clone(), shape.clone()));
        }
        let dim = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(n) => Ok(*n),
            Dim::Symbol(_) if axis == 0 => Ok(batch),
            Dim::Symbol(_) => {
                let (name, shape) = (&value.name, data::written(&value.shape));
                Err(format!("input `{name}` is {shape}: say which with --shape {name}=AxBx.."))
            }
        };
        let shape = value.shape.iter().enumerate().map(dim).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((value.name.clone(), shape))
    };
    model.inputs().iter().map(one).collect()
}

/// A row for each problem.
fn table(tuned: &[Tuned]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["problem", "default (ms)", "fastest", "(ms)", "ratio", "tried"]);
    let ms = |ns: f64| format!("{:.3}", ns / 1e6);
    for t in tuned {
        let (tried, all) = match t.origin {
            weighbridge::ops::Origin::Tuned(m) => (m.tried, m.candidates),
            _ => (0, 0),
        };
        let [default, winner, ratio] = match t.times() {
            Some([d, w]) => [ms(d), ms(w), format!("{:.2}", d / w)],
            None if t.trials.is_empty() => ["in the table".into(), String::new(), String::new()],
            None => ["wrong".into(), String::new(), String::new()],
        };
        let cells = [
            t.problem.to_string(),
            default,
            t.choice.to_string(),
            winner,
            ratio,
            format!("{tried} of {all}"),
        ];
        table.add_row(cells.into_iter().enumerate().map(|(i, cell)| {
            let alignment = if i == 0 || i == 2 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(cell).set_alignment(alignment)
        }));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_or_refused() {
        assert_eq!(product("64x256x128").unwrap(), (64, 256, 128));
        assert_eq!(input("image=1x3x8x8").unwrap(), ("image".into(), vec![1, 3, 8, 8]));
        assert_eq!(input("a=b=2").unwrap(), ("a=b".into(), vec![2]));
        for text in ["64x256", "64x256x0", "axbxc", "", "1x2x3x4", "-1x2x3"] {
            assert!(product(text).is_err(), "{text}");
        }
        assert!(input("image=1xbx2").is_err());
    }

    #[test]
    fn a_network_s_shapes_are_filled_in() {
        let cnn = Model::from_onnx_bytes(NETWORKS[0].1).unwrap();
        let name = data::names(&cnn, cnn.inputs())[0].to_owned();
        assert_eq!(shapes(&cnn, 3, &[]).unwrap(), [(name.clone(), vec![3, 1, 28, 28])]);
        let given = (name, vec![7, 1, 28, 28]);
        assert_eq!(shapes(&cnn, 3, std::slice::from_ref(&given)).unwrap(), [given]);
        let error = shapes(&cnn, 3, &[("x2".into(), vec![1])]).unwrap_err().to_string();
        assert!(error.contains("there is no such input"), "{error}");
    }
}
