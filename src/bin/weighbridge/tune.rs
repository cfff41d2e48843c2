//! `weighbridge tune`: the fastest kernels for a network or a product on this GPU, kept for the other commands.

use crate::compare::batch;
use crate::dataset::NETWORKS;
use crate::{Result, data, terminal};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::{Dim, Model};
use weighbridge::ops::{Layout, Problem};
use weighbridge::quant::Observer;
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::tune::{TuneOptions, Tuned, Verdict};
use weighbridge::{Gpu, Session, Tuner, optimize, tune};

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

#[derive(clap::Args)]
pub struct Args {
    /// A network of any kind; without one, those that are built in
    #[arg(value_name = "MODEL.onnx", conflicts_with = "model")]
    network: Option<PathBuf>,
    /// A network that is built in: `cnn`, `mlp` or `vit` (default: the first two)
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
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
    if let Some(path) = &args.network {
        return Ok(vec![(path.display().to_string(), data::model(path)?.0)]);
    }
    let wanted: Vec<_> = match &args.model {
        None => NETWORKS[..2].iter().collect(),
        Some(name) => NETWORKS.iter().filter(|(known, _)| known == name).collect(),
    };
    if wanted.is_empty() {
        let name = args.model.as_deref().unwrap_or_default();
        return Err(format!(
            "--model {name}: expected `cnn`, `mlp` or `vit`; files are named without --model"
        )
        .into());
    }
    wanted.into_iter().map(|(name, bytes)| Ok(((*name).into(), Model::from_onnx_bytes(bytes)?))).collect()
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
    let model = match mode {
        Mode::Float => model.clone(),
        Mode::Half => optimize::half(model)?.model,
        Mode::Dynamic => optimize::dynamic_int8(model, &Default::default())?,
        Mode::WeightOnly => optimize::weight_only(model, &Default::default())?,
        Mode::Static => {
            // Which kernels run depends on shapes alone, so that ranges of anything will do.
            let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax)?;
            let anything = anything(model, &shapes(1)?)?;
            let named: Vec<_> = anything.iter().map(|(n, t)| (n.as_str(), t)).collect();
            calibrator.observe(&named)?;
            optimize::static_int8(model, &calibrator.finish().await?, &Default::default())?
        }
    };
    let session = Session::new(gpu, &model)?;
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

/// Elements for the inputs, of no meaning.
fn anything(model: &Model, shapes: &[(String, Vec<usize>)]) -> Result<Vec<(String, Tensor)>> {
    let one = |((name, shape), &id): (&(String, Vec<usize>), _)| {
        let count: usize = shape.iter().product();
        let data = match model.value(id).element {
            Element::F32 => Data::F32((0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect()),
            Element::I64 => Data::I64(vec![0; count]),
            Element::I32 => Data::I32(vec![0; count]),
            Element::Bool => Data::Bool(vec![true; count]),
            other => {
                return Err(
                    format!("input `{name}` is {other:?}: --mode static is for networks in f32").into()
                );
            }
        };
        Ok((name.clone(), Tensor::new(shape.clone(), data)?))
    };
    shapes.iter().zip(model.inputs()).map(one).collect()
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
