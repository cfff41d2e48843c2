//! `weighbridge compare` without a model: what each optimization does to networks that classify Fashion-MNIST.

use crate::Result;
use crate::compare::Args;
use crate::data::written;
use crate::dataset::{self, CLASSES, Images, NETWORKS, SIZE};
use crate::files::OutFile;
use crate::{picture, terminal};
use indicatif::ProgressBar;
use std::io::{IsTerminal, Write};
use weighbridge::evaluate::{self, AdapterReport, Batch, Report, Row, Variant};
use weighbridge::graph::{Dim, Model};
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Gpu, Session};

/// Images in a batch of the evaluation, and the larger of the two batches that are timed.
const BATCH: usize = 64;
/// Images in a batch of the calibration.
const CALIBRATION_BATCH: usize = 32;
/// The batches that are timed.
const TIMED: [usize; 2] = [1, BATCH];

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
    let json = args.json.as_deref().map(OutFile::create).transpose()?;
    let images = Images::test(args.images)?;
    let labels: Vec<_> = dataset::labels(args.images)?.into_iter().map(Some).collect();
    let gpu = terminal::gpu(args.adapter.as_deref()).await?;
    terminal::load_tuned(&gpu, args.no_tuned);
    let mut out = std::io::stdout();
    let mut report = Report { adapter: AdapterReport::new(&gpu), rows: Vec::new() };
    writeln!(out, "{}", report.adapter)?;

    let bench = Bench { gpu: &gpu, images: &images, labels: &labels, progress: terminal::progress()? };
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
    match json {
        Some(file) => file.write((serde_json::to_string_pretty(&report)? + "\n").as_bytes()),
        None => Ok(()),
    }
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
        let named = |batches: Vec<Tensor>| -> Vec<Batch> {
            batches.into_iter().map(|batch| vec![(input.to_owned(), batch)]).collect()
        };
        let calibration = named(Images::calibration()?.batches(CALIBRATION_BATCH)?);
        stage("calibrating", 0);
        let mut variants = Variant::all(self.gpu, &network.model, calibration).await?;
        // This table is of those that change all of a network.
        variants.retain(|v| v.name != "weight-only-int8");

        let mut sessions = Vec::new();
        for variant in &variants {
            let session = Session::new(self.gpu, &variant.model);
            sessions.push(session.map_err(|e| format!("{}: {e}", variant.name))?);
        }
        let first = rows.len();
        let one = [(input, vec![1, 1, SIZE, SIZE])];
        let batches = named(self.images.batches(BATCH)?);
        let mut reference = None;
        let mut explained = String::new();
        for (variant, session) in variants.iter().zip(&sessions) {
            stage(&format!("classifying with {}", variant.name), self.images.len());
            let classes = evaluate::predict(session, &batches, |n| self.progress.inc(n as u64)).await?;
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
                top1: Some(evaluate::agreement(&classes, self.labels)?),
                agreement: Some(evaluate::agreement(
                    &classes,
                    reference.get_or_insert_with(|| classes.clone()),
                )?),
                differences: Vec::new(),
                latency_ms: Default::default(),
                calibration_ms: variant.calibration.map(|t| t.as_secs_f64() * 1e3),
            });
            said.push(Said { model: network.name.clone(), variant: variant.name, classes });
        }
        for batch in TIMED {
            let rounds = terminal::rounds(batch);
            stage(&format!("timing batch {batch}"), rounds.warm_up + rounds.most);
            // Of calibration images: there are enough of them, whatever `--images` says.
            let batch_of = named(Images::calibration()?.batches(batch)?);
            let medians =
                evaluate::latencies(&sessions, &batch_of[0], rounds, || self.progress.inc(1)).await?;
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
        // The transformer takes longer than both, and is there to be asked for.
        return NETWORKS[..2].iter().map(|(name, bytes)| network(name, bytes)).collect();
    };
    if let Some((name, bytes)) = NETWORKS.iter().find(|(name, _)| *name == wanted) {
        return Ok(vec![network(name, bytes)?]);
    }
    if !wanted.ends_with(".onnx") {
        return Err(
            format!("--model {wanted}: expected `cnn`, `mlp`, `vit`, or the path of an .onnx file").into()
        );
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

/// What one has to know to read the tables.
fn legend(report: &Report, images: usize) -> String {
    format!(
        "top-1: on {images} labelled images, standard error {:.1} points. agree: same answer as fp32.\n\
         GPU: weights and activations at batch 1. ms: median of upload, compute and read back. (%): of fp32's.",
        standard_error(report, images) * 100.0
    )
}

/// The largest standard error of an accuracy on so many rows.
pub fn standard_error(report: &Report, rows: usize) -> f64 {
    let accuracies = report.rows.iter().filter_map(|r| r.top1);
    accuracies.map(|p| (p * (1.0 - p) / rows as f64).sqrt()).fold(0.0, f64::max)
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
        assert_eq!(networks(Some("vit")).unwrap()[0].name, "vit");
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let refused = |name: &str| networks(Some(name)).err().unwrap().to_string();
        assert!(refused("vgg").contains("`cnn`, `mlp`, `vit`"), "{}", refused("vgg"));
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
