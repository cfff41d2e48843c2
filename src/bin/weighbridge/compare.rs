//! `weighbridge compare`: what each optimization does to networks that classify Fashion-MNIST.

use crate::Result;
use crate::dataset::{self, CLASSES, Images, NETWORKS, SIZE};
use crate::picture;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;
use weighbridge::evaluate::{self, AdapterReport, Report, Rounds, Row, Variant};
use weighbridge::graph::{Dim, Model};
use weighbridge::tensor::Element;
use weighbridge::{Gpu, Session};

/// Images in a batch of the evaluation, and the larger of the two batches that are timed.
const BATCH: usize = 64;
/// Images in a batch of the calibration.
const CALIBRATION_BATCH: usize = 32;
/// The batches that are timed, and how often.
const TIMED: [(usize, Rounds); 2] = [
    (1, Rounds { warm_up: 3, least: 20, most: 200, time: Duration::from_secs(2) }),
    (BATCH, Rounds { warm_up: 2, least: 7, most: 50, time: Duration::from_secs(3) }),
];

#[derive(clap::Args)]
pub struct Args {
    /// The network: `cnn` or `mlp` (default: both), or an ONNX file that takes [batch, 1, 28, 28] and gives [batch, 10]
    #[arg(long, value_name = "NAME|FILE.onnx")]
    pub model: Option<String>,
    /// How many of the 10,000 labelled test images to classify
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = images)]
    pub images: usize,
    /// The GPU whose name contains this (default: $WGPU_ADAPTER_NAME, else the fastest kind)
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
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

/// A network as it came.
struct Network {
    name: String,
    model: Model,
    /// Of its ONNX file.
    bytes: usize,
}

/// The classes that a variant of a network found for each image.
struct Said {
    model: String,
    variant: &'static str,
    classes: Vec<Option<usize>>,
}

/// What everything is measured with.
struct Bench<'a> {
    gpu: &'a Gpu,
    images: &'a Images,
    labels: &'a [Option<usize>],
    progress: ProgressBar,
}

pub async fn run(args: &Args) -> Result<()> {
    let networks = networks(args.model.as_deref())?;
    if let Some(path) = &args.json {
        // Better now than after some minutes.
        std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|e| named(path, &e))?;
    }
    let images = Images::test(args.images)?;
    let labels: Vec<_> = dataset::labels(args.images)?.into_iter().map(Some).collect();
    let gpu = match &args.adapter {
        Some(name) => Gpu::with_adapter_name(Some(name)).await?,
        None => Gpu::new().await?,
    };
    let mut out = std::io::stdout();
    let mut report = Report { adapter: AdapterReport::new(&gpu), rows: Vec::new() };
    writeln!(out, "{}", report.adapter)?;

    let bench = Bench { gpu: &gpu, images: &images, labels: &labels, progress: progress()? };
    let mut said = Vec::new();
    for network in &networks {
        let measured = bench.measure(network, args.explain, &mut report.rows, &mut said).await;
        bench.progress.set_length(0);
        let explained = measured.map_err(|e| format!("{}: {e}", network.name))?;
        bench.progress.suspend(|| writeln!(out, "{explained}\n{}", report.table(&network.name)))?;
    }
    bench.progress.finish_and_clear();
    writeln!(out, "{}", legend(&report, args.images))?;
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    for index in interesting(&said, &labels) {
        writeln!(out, "\n{}", shown(&images, index, &labels, &said, colour).trim_end())?;
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, text).map_err(|e| named(path, &e))?;
    }
    Ok(())
}

impl Bench<'_> {
    /// Measures all variants of a network, and explains them where that is wanted.
    async fn measure(
        &self,
        network: &Network,
        explain: bool,
        rows: &mut Vec<Row>,
        said: &mut Vec<Said>,
    ) -> Result<String> {
        let stage = |what: &str, length: usize| {
            self.progress.set_message(format!("{}: {what}", network.name));
            self.progress.set_length(length as u64);
            self.progress.set_position(0);
        };
        let input = network.model.value(network.model.inputs()[0]).name.as_str();
        let calibration = Images::calibration()?.batches(CALIBRATION_BATCH)?;
        stage("calibrating", 0);
        let variants = Variant::all(self.gpu, &network.model, calibration).await?;

        let mut sessions = Vec::new();
        for variant in &variants {
            let session = Session::new(self.gpu, &variant.model);
            sessions.push(session.map_err(|e| format!("{}: {e}", variant.name))?);
        }
        let first = rows.len();
        let one = [(input, vec![1, 1, SIZE, SIZE])];
        let batches = self.images.batches(BATCH)?;
        let mut reference = None;
        let mut explained = String::new();
        for (variant, session) in variants.iter().zip(&sessions) {
            stage(&format!("classifying with {}", variant.name), self.images.len());
            let classes =
                evaluate::predict(session, input, &batches, |n| self.progress.inc(n as u64)).await?;
            if explain {
                explained += &format!("\n{} {}\n{}\n", network.name, variant.name, session.explain(&one)?);
            }
            let disk_bytes = match variant.name {
                "fp32" => network.bytes,
                _ => variant.model.to_onnx_bytes()?.len(),
            };
            rows.push(Row {
                model: network.name.clone(),
                variant: variant.name.into(),
                disk_bytes: disk_bytes as u64,
                gpu_bytes: session.gpu_bytes(&one)?,
                top1: evaluate::agreement(&classes, self.labels)?,
                agreement: evaluate::agreement(&classes, reference.get_or_insert_with(|| classes.clone()))?,
                latency_ms: Default::default(),
                calibration_ms: variant.calibration.map(|t| t.as_secs_f64() * 1e3),
            });
            said.push(Said { model: network.name.clone(), variant: variant.name, classes });
        }
        for (batch, rounds) in TIMED {
            stage(&format!("timing batch {batch}"), rounds.warm_up + rounds.most);
            // Of calibration images: there are enough of them, whatever `--images` says.
            let batch_of = Images::calibration()?.batches(batch)?;
            let medians =
                evaluate::latencies(&sessions, input, &batch_of[0], rounds, || self.progress.inc(1)).await?;
            for (row, ms) in rows[first..].iter_mut().zip(medians) {
                row.latency_ms.insert(batch, ms);
            }
        }
        Ok(explained)
    }
}

/// The networks that `--model` means.
fn networks(wanted: Option<&str>) -> Result<Vec<Network>> {
    let network = |name: &str, bytes: &[u8]| -> Result<Network> {
        let model = Model::from_onnx_bytes(bytes).map_err(|e| format!("{name}: {e}"))?;
        takes_images(&model).map_err(|e| format!("{name}: {e}"))?;
        Ok(Network { name: name.into(), model, bytes: bytes.len() })
    };
    let Some(wanted) = wanted else {
        return NETWORKS.iter().map(|(name, bytes)| network(name, bytes)).collect();
    };
    if let Some((name, bytes)) = NETWORKS.iter().find(|(name, _)| *name == wanted) {
        return Ok(vec![network(name, bytes)?]);
    }
    if !wanted.ends_with(".onnx") {
        return Err(format!("--model {wanted}: expected `cnn`, `mlp`, or the path of an .onnx file").into());
    }
    let bytes = std::fs::read(wanted).map_err(|e| format!("{wanted}: {e}"))?;
    Ok(vec![network(wanted, &bytes)?])
}

/// Whether a network classifies these images.
fn takes_images(model: &Model) -> std::result::Result<(), String> {
    let shape = |id| &model.value(id).shape;
    let rest = |shape: &[Dim]| match shape {
        [Dim::Symbol(_), rest @ ..] => rest.iter().map(Dim::fixed).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    match model.inputs() {
        &[x] if rest(shape(x)) == Some(vec![1, SIZE, SIZE]) && model.value(x).element == Element::F32 => {}
        inputs => {
            let found: Vec<_> = inputs.iter().map(|&x| written(shape(x))).collect();
            return Err(format!(
                "it takes {}, but the images are [batch, 1, {SIZE}, {SIZE}] of f32, with a batch that is not fixed",
                found.join(" and ")
            ));
        }
    }
    match model.outputs() {
        [y, ..] if rest(shape(*y)) == Some(vec![CLASSES.len()]) => Ok(()),
        outputs => {
            let found: Vec<_> = outputs.iter().map(|&y| written(shape(y))).collect();
            Err(format!("it gives {}, but there are [batch, {}] classes", found.join(" and "), CLASSES.len()))
        }
    }
}

/// A shape as people write it.
fn written(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(n) => n.to_string(),
            Dim::Symbol(name) => name.clone(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// What one has to know to read the tables.
fn legend(report: &Report, images: usize) -> String {
    let errors = report.rows.iter().map(|r| (r.top1 * (1.0 - r.top1) / images as f64).sqrt());
    format!(
        "top-1: on {images} labelled images, standard error {:.1} points. agree: same answer as fp32.\n\
         GPU: weights and activations at batch 1. ms: median of upload, compute and read back. (%): of fp32's.",
        errors.fold(0.0, f64::max) * 100.0
    )
}

fn named(path: &std::path::Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// A bar on stderr, where that is a terminal.
fn progress() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} {wide_bar} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Up to two images worth a look: one that everything gets right, and one that divides the variants, else one that is
/// not what they say.
fn interesting(said: &[Said], labels: &[Option<usize>]) -> Vec<usize> {
    let right = |i: usize| said.iter().all(|s| s.classes[i] == labels[i]);
    let divided = |i: usize| {
        said.iter().any(|s| said.iter().any(|t| s.model == t.model && s.classes[i] != t.classes[i]))
    };
    let all = || 0..labels.len();
    let second = all().find(|&i| divided(i)).or_else(|| all().find(|&i| !right(i)));
    all().find(|&i| right(i)).into_iter().chain(second).collect()
}

/// An image with its label, and with what each variant says.
fn shown(images: &Images, index: usize, labels: &[Option<usize>], said: &[Said], colour: bool) -> String {
    let class = |class: Option<usize>| class.and_then(|c| CLASSES.get(c)).copied().unwrap_or("nothing");
    let mut text = vec![format!("test image {index}, labelled {}", class(labels[index])), String::new()];
    for s in said {
        let wrong = if s.classes[index] == labels[index] { "" } else { "  (wrong)" };
        text.push(format!("{:<4} {:<13} {}{wrong}", s.model, s.variant, class(s.classes[index])));
    }
    picture::beside(picture::lines(images.image(index), colour), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_networks_take_the_images() {
        let names: Vec<_> = networks(None).unwrap().into_iter().map(|n| n.name).collect();
        assert_eq!(names, ["cnn", "mlp"]);
        assert_eq!(networks(Some("mlp")).unwrap()[0].bytes, 941_163);
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let refused = |name: &str| networks(Some(name)).err().unwrap().to_string();
        assert!(refused("vgg").contains("`cnn`, `mlp`"), "{}", refused("vgg"));
        assert!(refused("no/such.onnx").starts_with("no/such.onnx: "), "{}", refused("no/such.onnx"));

        let mut model = Model::new("m");
        let dims = [Dim::Symbol("n".into()), Dim::Fixed(784)];
        let x = model.add_input("x", Element::F32, dims).unwrap();
        model.set_outputs(&[x]).unwrap();
        let e = takes_images(&model).unwrap_err();
        assert_eq!(
            e,
            "it takes [n, 784], but the images are [batch, 1, 28, 28] of f32, with a batch that is not fixed"
        );
    }

    #[test]
    fn images_are_chosen_by_what_was_said() {
        let said = |variant, classes: [usize; 4]| Said {
            model: "m".into(),
            variant,
            classes: classes.map(Some).to_vec(),
        };
        let labels = [0, 1, 2, 3].map(Some);
        let agreed = [said("fp32", [9, 1, 9, 3]), said("fp16", [9, 1, 9, 3])];
        assert_eq!(interesting(&agreed, &labels), [1, 0]);
        let divided = [said("fp32", [9, 1, 9, 3]), said("fp16", [9, 1, 2, 3])];
        assert_eq!(interesting(&divided, &labels), [1, 2]);
        let right = [said("fp32", [0, 1, 2, 3])];
        assert_eq!(interesting(&right, &labels), [0]);

        let text = shown(&Images::test(4).unwrap(), 2, &labels, &divided, false);
        assert!(text.contains("test image 2, labelled Pullover"), "{text}");
        assert!(text.contains("m    fp32          Ankle boot  (wrong)"), "{text}");
    }
}
