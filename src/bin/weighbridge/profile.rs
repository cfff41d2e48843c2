//! `weighbridge profile`: where a network's time goes.

use crate::data::{self, written};
use crate::dataset::NETWORKS;
use crate::files::OutFile;
use crate::quantize::Mode;
use crate::{Result, npy, terminal};
use half::f16;
use std::io::Write;
use std::path::{Path, PathBuf};
use weighbridge::calibrate::Calibrator;
use weighbridge::evaluate::{AdapterReport, Batch};
use weighbridge::graph::{Dim, Model, Value};
use weighbridge::profile::Roofline;
use weighbridge::quant::Observer;
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Gpu, Session, optimize};

#[derive(clap::Args)]
pub struct Args {
    /// The network: an ONNX file, or one of the built-in `cnn`, `mlp` and `vit`
    #[arg(value_name = "MODEL.onnx|NAME")]
    model: PathBuf,
    /// An input's elements; the name may be left out for the only one that is left. Inputs that are not given are made
    /// up: reals at random, whole numbers 1
    #[arg(long, short, value_name = "[NAME=]X.npy")]
    input: Vec<String>,
    /// The shape of an input that is made up; the name may be left out for the only input (default: the model's, with a
    /// batch of 1)
    #[arg(long, value_name = "[NAME=]1x3x224x224")]
    shape: Vec<String>,
    /// What to make of the network first (default: nothing). Static int8 is calibrated on the inputs
    #[arg(long)]
    mode: Option<Mode>,
    /// How often it runs; the fastest counts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Also write a trace for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "OUT.json")]
    trace: Option<PathBuf>,
    /// Also write what was measured to a file
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Leave out what `weighbridge tune` found
    #[arg(long)]
    no_tuned: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    let model = model(&args.model)?;
    let inputs = inputs(args, &model)?;
    let trace = args.trace.as_deref().map(OutFile::create).transpose()?;
    let json = args.json.as_deref().map(OutFile::create).transpose()?;

    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    terminal::load_tuned(&gpu, args.no_tuned);
    let model = made(&gpu, model, args.mode, &inputs).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", AdapterReport::new(&gpu))?;
    for (name, tensor) in &inputs {
        let made_up = if given(&args.input, name, inputs.len()) { "" } else { ", made up" };
        writeln!(out, "input {name}: {} {:?}{made_up}", npy::name(tensor.element()), tensor.shape())?;
    }
    let roofline = Roofline::measure(&gpu)?;
    let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let profile = Session::new(&gpu, &model)?.profile(&named, &roofline, args.repeat as usize)?;
    writeln!(out, "\n{profile}")?;
    if let Some(file) = trace {
        file.write(profile.chrome_trace().as_bytes())?;
    }
    match json {
        Some(file) => file.write((serde_json::to_string_pretty(&profile)? + "\n").as_bytes()),
        None => Ok(()),
    }
}

/// A built-in network, or that of a file.
pub fn model(path: &Path) -> Result<Model> {
    match NETWORKS.iter().find(|(name, _)| Path::new(name) == path) {
        Some((name, bytes)) => Model::from_onnx_bytes(bytes).map_err(|e| format!("{name}: {e}").into()),
        None => Ok(data::model(path)?.0),
    }
}

/// What a mode makes of a model.
pub async fn made(gpu: &Gpu, model: Model, mode: Option<Mode>, inputs: &Batch) -> Result<Model> {
    Ok(match mode {
        None => model,
        Some(Mode::Half) => optimize::half(&model)?.model,
        Some(Mode::Dynamic) => optimize::dynamic_int8(&model, &Default::default())?,
        Some(Mode::WeightOnly) => optimize::weight_only(&model, &Default::default())?,
        Some(Mode::Static) => {
            let mut calibrator = Calibrator::new(gpu, &model, Observer::MinMax)?;
            let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            calibrator.observe(&named)?;
            optimize::static_int8(&model, &calibrator.finish().await?, &Default::default())?
        }
    })
}

/// Whether `--input` gives an input; a bare path is that of the only one that is not named.
fn given(texts: &[String], name: &str, inputs: usize) -> bool {
    texts.len() == inputs || texts.iter().any(|t| t.strip_prefix(name).is_some_and(|t| t.starts_with('=')))
}

/// The inputs that are given, and those that are made up.
fn inputs(args: &Args, model: &Model) -> Result<Batch> {
    let names = data::names(model, model.inputs());
    let files = data::assigned("--input", "input", &args.input, &names)?;
    let shapes = data::assigned("--shape", "input", &args.shape, &names)?;
    let mut batch = Vec::new();
    for (i, &id) in model.inputs().iter().enumerate() {
        let value = model.value(id);
        let file = files.iter().find(|(j, _)| *j == i).map(|(_, path)| path);
        let shape = shapes.iter().find(|(j, _)| *j == i).map(|(_, text)| text.to_string_lossy());
        let tensor = match (file, shape) {
            (Some(_), Some(shape)) => {
                return Err(format!("--shape {shape}: input `{}` has an array already", value.name).into());
            }
            (Some(path), None) => data::array(path, value, false)?,
            (None, shape) => made_up(value, shape.as_deref(), i as u64)?,
        };
        batch.push((value.name.clone(), tensor));
    }
    Ok(batch)
}

/// An input of the shape that is written, or of the model's with a batch of 1.
pub fn made_up(value: &Value, text: Option<&str>, seed: u64) -> Result<Tensor> {
    let (name, own) = (&value.name, written(&value.shape));
    let shape: Vec<usize> = match text {
        Some(text) => {
            let dims: std::result::Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
            let dims = dims.map_err(|_| format!("--shape {text}: expected numbers, as in 1x3x224x224"))?;
            let fits = dims.len() == value.shape.len()
                && value.shape.iter().zip(&dims).all(|(dim, &n)| dim.fixed().is_none_or(|fixed| fixed == n));
            if !fits {
                return Err(format!("--shape {text}: does not fit input `{name}` of {own}").into());
            }
            dims
        }
        None => {
            let dim = |(axis, dim): (usize, &Dim)| match dim {
                Dim::Fixed(n) => Ok(*n),
                Dim::Symbol(_) if axis == 0 => Ok(1),
                Dim::Symbol(symbol) => Err(format!(
                    "input `{name}` is {own}: say what `{symbol}` is with --shape {name}=.. or give --input {name}=X.npy"
                )),
            };
            value.shape.iter().enumerate().map(dim).collect::<std::result::Result<_, _>>()?
        }
    };
    let len = shape.iter().product();
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let data = match value.element {
        Element::F32 => Data::F32((0..len).map(|_| unit()).collect()),
        Element::F16 => Data::F16((0..len).map(|_| f16::from_f32(unit())).collect()),
        Element::I8 => Data::I8(vec![1; len]),
        Element::U8 => Data::U8(vec![1; len]),
        Element::I32 => Data::I32(vec![1; len]),
        Element::I64 => Data::I64(vec![1; len]),
        Element::Bool => Data::Bool(vec![true; len]),
    };
    Ok(Tensor::new(shape, data)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(input: &[&str], shape: &[&str]) -> Args {
        let texts = |all: &[&str]| all.iter().map(|t| t.to_string()).collect();
        Args {
            model: "cnn".into(),
            input: texts(input),
            shape: texts(shape),
            mode: None,
            repeat: 1,
            trace: None,
            json: None,
            adapter: None,
            no_tuned: true,
        }
    }

    #[test]
    fn inputs_are_made_up_in_the_shape_that_is_wanted() {
        let model = model(Path::new("cnn")).unwrap();
        let shape = |shape: &[&str]| inputs(&args(&[], shape), &model).map(|b| b[0].1.shape().to_vec());
        assert_eq!(shape(&[]).unwrap(), [1, 1, 28, 28]);
        assert_eq!(shape(&["input=64x1x28x28"]).unwrap(), [64, 1, 28, 28]);
        assert_eq!(shape(&["7x1x28x28"]).unwrap(), [7, 1, 28, 28]);
        for (texts, message) in [
            (&["7x1x28"][..], "--shape 7x1x28: does not fit input `input` of"),
            (&["7x1x28x29"], "--shape 7x1x28x29: does not fit"),
            (&["many"], "--shape many: expected numbers"),
            (&["y=1x2"], "--shape y=1x2: there is no input `y`"),
        ] {
            let error = shape(texts).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_dimension_that_is_not_known_is_asked_for() {
        let mut model = Model::new("m");
        let dims = [Dim::Symbol("batch".into()), Dim::Symbol("sequence".into())];
        let ids = model.add_input("ids", Element::I64, dims).unwrap();
        model.set_outputs(&[ids]).unwrap();
        let error = inputs(&args(&[], &[]), &model).unwrap_err().to_string();
        assert!(error.contains("say what `sequence` is with --shape ids="), "{error}");
        let made = inputs(&args(&[], &["2x3"]), &model).unwrap();
        assert_eq!(made[0].1, Tensor::new([2, 3], Data::I64(vec![1; 6])).unwrap());
        assert!(!given(&[], "ids", 1) && given(&["x.npy".into()], "ids", 1));
    }
}
