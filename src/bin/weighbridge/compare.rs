//! `weighbridge compare`: what each optimization does to a network, on data of the user's.

use crate::data::Rows;
use crate::files::OutFile;
use crate::{Result, data, dataset, fashion, npy, terminal};
use indicatif::ProgressBar;
use std::io::Write;
use std::path::{Path, PathBuf};
use weighbridge::evaluate::{self, AdapterReport, Difference, Differences, Report, Row, Variant};
use weighbridge::graph::Model;
use weighbridge::tensor::{Data, Tensor};
use weighbridge::{Gpu, Session};

/// Rows in a batch of the calibration.
const CALIBRATION_BATCH: usize = 32;
/// Batches that are timed where `--batch` does not say.
const BATCHES: [usize; 2] = [1, 32];

#[derive(clap::Args)]
pub struct Args {
    /// A network of any kind, with --data; without one, networks that classify Fashion-MNIST are compared
    #[arg(value_name = "MODEL.onnx", requires = "data", conflicts_with_all = ["model", "images"])]
    pub file: Option<PathBuf>,
    /// The rows of MODEL's inputs; the name may be left out for the only one that is left
    #[arg(long, value_name = "[NAME=]X.npy", requires = "file")]
    pub data: Vec<String>,
    /// The class of each row of MODEL's first output
    #[arg(long, value_name = "Y.npy", requires = "file")]
    pub labels: Option<PathBuf>,
    /// What static int8 is calibrated on (default: the first tenth of --data, 8 to 512 rows)
    #[arg(long, value_name = "[NAME=]C.npy", requires = "file")]
    pub calibration: Vec<String>,
    /// Batches of MODEL that are timed; the largest is the one for everything else (default: 1,32)
    #[arg(long, value_name = "N,..", value_delimiter = ',', requires = "file", value_parser = batch)]
    pub batch: Vec<usize>,
    /// The network: `cnn`, `mlp` or `vit` (default: the first two), or an ONNX file that takes [batch, 1, 28, 28] and gives [batch, 10]
    #[arg(long, value_name = "NAME|FILE.onnx")]
    pub model: Option<String>,
    /// How many of the 10,000 labelled test images to classify
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = images)]
    pub images: usize,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Leave out what `weighbridge tune` found
    #[arg(long)]
    pub no_tuned: bool,
    /// Also write what was measured to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also say which kernels run
    #[arg(long)]
    pub explain: bool,
}

fn images(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=dataset::TESTS) => Ok(n),
        _ => Err(format!("expected 1 to {}", dataset::TESTS)),
    }
}

/// A number of rows.
pub fn batch(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number of at least 1".into())
}

/// What a model is measured on.
struct Bench<'a> {
    gpu: &'a Gpu,
    name: String,
    model: Model,
    file_bytes: u64,
    rows: Rows,
    labels: Option<Vec<Option<usize>>>,
    /// Of the evaluation.
    batch: usize,
    timed: Vec<usize>,
    progress: ProgressBar,
}

pub async fn run(args: &Args) -> Result<()> {
    let Some(path) = &args.file else { return fashion::run(args).await };
    let (model, file_bytes) = data::model(path)?;
    let rows = Rows::load("--data", &args.data, &model)?;
    let labels = args.labels.as_deref().map(labels).transpose()?;
    let mut timed = args.batch.iter().map(|&b| rows.batch(Some(b), b)).collect::<Result<Vec<_>>>()?;
    if timed.is_empty() {
        timed = BATCHES.iter().map(|&b| rows.batch(None, b)).collect::<Result<_>>()?;
    }
    timed.sort_unstable();
    timed.dedup();
    let batch = timed.last().copied().unwrap_or(1);
    if batch > rows.len() {
        return Err(format!("--batch {batch}: there are only {} rows of --data", rows.len()).into());
    }
    let (calibration, said) = if args.calibration.is_empty() {
        let unit = rows.batch(None, CALIBRATION_BATCH)?;
        let count = rows.whole((rows.len() / 10).clamp(8, 512));
        (rows.batches(count, unit)?, format!("on the first {count} of the same rows"))
    } else {
        let rows = Rows::load("--calibration", &args.calibration, &model)?;
        let unit = rows.batch(None, CALIBRATION_BATCH)?;
        (rows.batches(rows.len(), unit)?, format!("on {} other rows", rows.len()))
    };
    let json = args.json.as_deref().map(OutFile::create).transpose()?;

    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    terminal::load_tuned(&gpu, args.no_tuned);
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut report = Report { adapter: AdapterReport::new(&gpu), rows: Vec::new() };
    let progress = terminal::progress()?;
    let bench = Bench { gpu: &gpu, name, model, file_bytes, rows, labels, batch, timed, progress };
    let mut out = std::io::stdout();
    writeln!(out, "{}", report.adapter)?;
    let explained = bench.measure(calibration, args.explain, &mut report.rows).await;
    bench.progress.finish_and_clear();
    let explained = explained.map_err(|e| format!("{}: {e}", path.display()))?;
    writeln!(out, "{explained}\n{}\n{}", report.table(&bench.name), bench.legend(&report, &said))?;
    match json {
        Some(file) => file.write((serde_json::to_string_pretty(&report)? + "\n").as_bytes()),
        None => Ok(()),
    }
}

/// The classes in a file.
fn labels(path: &Path) -> Result<Vec<Option<usize>>> {
    let array = npy::read(path)?;
    let class = |(i, &label): (usize, &i64)| match usize::try_from(label) {
        Ok(class) => Ok(Some(class)),
        Err(_) => Err(format!("{}: element {i} is {label}, but classes begin at 0", path.display()).into()),
    };
    let dtype = array.dtype.clone();
    let wide = array.converted(weighbridge::tensor::Element::I64);
    match wide.as_ref().map(Tensor::data) {
        Ok(Data::I64(labels)) => labels.iter().enumerate().map(class).collect(),
        _ => Err(format!("{}: labels are whole numbers, found {dtype}", path.display()).into()),
    }
}

/// What became of one variant.
struct Measured {
    classes: Vec<Option<usize>>,
    differences: Vec<Differences>,
}

impl Bench<'_> {
    fn stage(&self, what: &str, length: usize) {
        self.progress.set_message(format!("{}: {what}", self.name));
        self.progress.set_length(length as u64);
        self.progress.set_position(0);
    }

    /// Measures all variants, and explains them where that is wanted.
    async fn measure(
        &self,
        calibration: Vec<evaluate::Batch>,
        explain: bool,
        rows: &mut Vec<Row>,
    ) -> Result<String> {
        self.stage("calibrating", 0);
        let variants = Variant::all(self.gpu, &self.model, calibration).await?;
        let mut sessions = Vec::new();
        for variant in &variants {
            let session = Session::new(self.gpu, &variant.model);
            sessions.push(session.map_err(|e| format!("{}: {e}", variant.name))?);
        }
        let measured = self.outputs(&variants, &sessions).await?;

        let one: Vec<(String, Vec<usize>)> = self
            .rows
            .slice(0, self.timed[0])?
            .into_iter()
            .map(|(name, tensor)| (name, tensor.shape().to_vec()))
            .collect();
        let one: Vec<(&str, Vec<usize>)> = one.iter().map(|(n, s)| (n.as_str(), s.clone())).collect();
        let names = data::names(&self.model, self.model.outputs());
        let mut explained = String::new();
        let reference = measured[0].classes.clone();
        for ((variant, session), measured) in variants.iter().zip(&sessions).zip(measured) {
            if explain {
                explained += &format!("\n{} {}\n{}\n", self.name, variant.name, session.explain(&one)?);
            }
            let disk_bytes = match variant.name {
                "fp32" => self.file_bytes,
                _ => variant.model.to_onnx_bytes()?.len() as u64,
            };
            let classes = &measured.classes;
            let top1 = self.labels.as_ref().map(|labels| evaluate::agreement(classes, labels)).transpose()?;
            let differences: Vec<Difference> =
                measured.differences.iter().zip(&names).map(|(d, name)| d.finish(*name)).collect();
            rows.push(Row {
                model: self.name.clone(),
                variant: variant.name.into(),
                disk_bytes,
                gpu_bytes: session.gpu_bytes(&one)?,
                top1,
                agreement: (!classes.is_empty())
                    .then(|| evaluate::agreement(classes, &reference))
                    .transpose()?,
                differences,
                latency_ms: Default::default(),
                calibration_ms: variant.calibration.map(|t| t.as_secs_f64() * 1e3),
            });
        }
        for &batch in &self.timed {
            let rounds = terminal::rounds(batch);
            self.stage(&format!("timing batch {batch}"), rounds.warm_up + rounds.most);
            let inputs = self.rows.slice(0, batch)?;
            let medians = evaluate::latencies(&sessions, &inputs, rounds, || self.progress.inc(1)).await?;
            for (row, ms) in rows.iter_mut().zip(medians) {
                row.latency_ms.insert(batch, ms);
            }
        }
        Ok(explained)
    }

    /// Classes and differences of all variants over all rows; one batch at a time, so that no output is kept.
    async fn outputs(&self, variants: &[Variant], sessions: &[Session<'_>]) -> Result<Vec<Measured>> {
        let outputs = self.model.outputs().len();
        let none = || Measured { classes: Vec::new(), differences: vec![Differences::default(); outputs] };
        let mut measured: Vec<Measured> = sessions.iter().map(|_| none()).collect();
        self.stage("comparing outputs", self.rows.len() * sessions.len());
        for batch in self.rows.batches(self.rows.len(), self.batch)? {
            let rows = batch.first().map_or(0, |(_, x)| x.shape()[0]);
            let inputs: Vec<_> = batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            let mut reference = Vec::new();
            for ((variant, session), measured) in variants.iter().zip(sessions).zip(&mut measured) {
                let outputs = session.run(&inputs).await.map_err(|e| format!("{}: {e}", variant.name))?;
                if reference.is_empty() {
                    reference.clone_from(&outputs);
                }
                for ((sum, ours), reference) in measured.differences.iter_mut().zip(&outputs).zip(&reference)
                {
                    sum.add(ours, reference)?;
                }
                if let Some(logits) = outputs.first().filter(|y| self.labels.is_some() || are_logits(y)) {
                    measured.classes.extend(evaluate::classes(logits));
                }
                self.progress.inc(rows as u64);
            }
        }
        if let Some(labels) = &self.labels {
            let found = measured[0].classes.len();
            if found != labels.len() {
                return Err(format!(
                    "{} labels, but the first output has {found} rows of classes",
                    labels.len()
                )
                .into());
            }
        }
        Ok(measured)
    }

    /// What one has to know to read the table.
    fn legend(&self, report: &Report, calibration: &str) -> String {
        let mut lines = vec![format!(
            "Of {} rows. Static int8 was calibrated {calibration}. (%): of fp32's. cosine: mean over rows, to fp32's \
             outputs.",
            self.rows.len()
        )];
        if let Some(labels) = &self.labels {
            let error = fashion::standard_error(report, labels.len()) * 100.0;
            lines.push(format!("top-1: on {} labels, standard error {error:.1} points.", labels.len()));
        }
        let agree = report.rows.iter().any(|r| r.agreement.is_some());
        lines.push(format!(
            "{}GPU: weights and activations at batch {}. ms: median of upload, compute and read back.",
            if agree { "agree: same largest element as fp32. " } else { "" },
            self.timed[0]
        ));
        lines.join("\n")
    }
}

/// Whether an output looks like a row of logits for each of the batch's.
fn are_logits(y: &Tensor) -> bool {
    y.shape().len() == 2 && y.shape()[1] > 1 && matches!(y.data(), Data::F32(_) | Data::F16(_))
}
