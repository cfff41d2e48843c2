//! `weighbridge run`: arrays in, arrays out.

use crate::files::OutFile;
use crate::{Result, data, npy, terminal};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use weighbridge::Session;
use weighbridge::evaluate::{self, Rounds};

#[derive(clap::Args)]
pub struct Args {
    /// The network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// An input's elements; the name may be left out for the only one that is left
    #[arg(long, short, value_name = "[NAME=]X.npy")]
    input: Vec<String>,
    /// Where an output goes; the name may be left out where there is one output
    #[arg(long, short, value_name = "[NAME=]Y.npy")]
    output: Vec<String>,
    /// Run so often, and print the median time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Leave out what `weighbridge tune` found
    #[arg(long)]
    no_tuned: bool,
    /// Also say which kernels run
    #[arg(long)]
    explain: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    let (model, _) = data::model(&args.model)?;
    let outputs = data::names(&model, model.outputs());
    let targets = data::assigned("-o", "output", &args.output, &outputs)?;
    if let (true, Some(bare)) = (outputs.len() > 1, args.output.iter().find(|o| !o.contains('='))) {
        let names = outputs.join("`, `");
        return Err(format!("-o {bare}: which output is it? (`{names}`) Write -o NAME={bare}").into());
    }
    let inputs = data::load("--input", &args.input, &model, false)?;
    let mut files = Vec::new();
    for (output, path) in targets {
        if files.iter().any(|(_, other, _): &(usize, PathBuf, OutFile)| *other == path) {
            return Err(format!("-o: two outputs go to {}", path.display()).into());
        }
        let file = OutFile::create(&path)?;
        files.push((output, path, file));
    }

    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    terminal::load_tuned(&gpu, args.no_tuned);
    let session = Session::new(&gpu, &model)?;
    let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let results = session.run(&named).await?;
    let mut out = std::io::stdout();
    if args.explain {
        let shapes: Vec<_> = named.iter().map(|(name, tensor)| (*name, tensor.shape().to_vec())).collect();
        writeln!(out, "{}\n", session.explain(&shapes)?)?;
    }
    if let Some(repeat) = args.repeat {
        let rounds =
            Rounds { warm_up: 2, least: repeat as usize, most: repeat as usize, time: Duration::ZERO };
        let sessions = std::slice::from_ref(&session);
        let ms = evaluate::latencies(sessions, &inputs, rounds, || ()).await?[0];
        let name = gpu.device().adapter_info().name;
        writeln!(out, "{ms:.3} ms: median of {repeat} runs (upload, compute and read back) on {name}")?;
    }
    // All bytes before the first file: none is left behind alone.
    let mut written = Vec::new();
    for (output, path, file) in files {
        written.push((output, npy::bytes(&results[output], &path)?, path, file));
    }
    let mut gone = vec![String::new(); outputs.len()];
    for (output, bytes, path, file) in written {
        file.write(&bytes)?;
        gone[output] = format!(" -> {}", path.display());
    }
    for ((name, result), gone) in outputs.iter().zip(&results).zip(gone) {
        writeln!(out, "{name}: {} {:?}{gone}", npy::name(result.element()), result.shape())?;
    }
    Ok(())
}
