//! Networks that people use, in all variants, against what ONNX Runtime makes of the same inputs in f32.
//!
//! ```text
//! scripts/fetch-models DIR
//! WEIGHBRIDGE_MODELS=DIR cargo test --release --test models -- --nocapture
//! ```
//!
//! Without `WEIGHBRIDGE_MODELS`, and for what its folder does not have, tests say that they were skipped.
//! `vit`, a small transformer on 28x28 images, is among the crate's assets and always there.
//!
//! The bars on int8 are what ONNX Runtime's own quantizer reaches with the same calibration (MinMax).

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/npz.rs"]
#[allow(dead_code)] // archives are for other tests
mod npz;

use gpu::gpu;
use std::io::Read;
use std::path::{Path, PathBuf};
use weighbridge::calibrate::Calibrator;
use weighbridge::evaluate::{self, Batch, Differences};
use weighbridge::graph::{Activation, Model, Op, UnaryOp};
use weighbridge::optimize::{self, DynamicOptions, Policy, StaticOptions};
use weighbridge::quant::Observer;
use weighbridge::tensor::{Data, Tensor};
use weighbridge::{Gpu, Session};

/// How far an element of an f32 output may be from ONNX Runtime's, relative to the largest one.
const NEAR: f64 = 1e-4;

/// A folder in the one that was fetched; says so where it is not there.
fn folder(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("WEIGHBRIDGE_MODELS") else {
        eprintln!("skipped: WEIGHBRIDGE_MODELS does not name what scripts/fetch-models made");
        return None;
    };
    let folder = Path::new(&root).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// The first `rows` of an array.
fn rows(path: &Path, rows: usize) -> Tensor {
    let array = npz::read_npy(path).unwrap();
    let mut shape = array.shape;
    assert!(shape[0] >= rows, "{}: {rows} rows are wanted, there are {}", path.display(), shape[0]);
    shape[0] = rows;
    let n = shape.iter().product();
    let data = match array.values {
        npz::Values::F32(v) => Data::F32(v[..n].to_vec()),
        npz::Values::I64(v) => Data::I64(v[..n].to_vec()),
        npz::Values::U8(v) => Data::U8(v[..n].to_vec()),
        other => panic!("{}: {other:?}", path.display()),
    };
    Tensor::new(shape, data).unwrap()
}

/// Rows `from..to`.
fn slice(tensor: &Tensor, from: usize, to: usize) -> Tensor {
    fn cut<T: Clone>(data: &[T], row: usize, from: usize, to: usize) -> Vec<T> {
        data[from * row..to * row].to_vec()
    }
    let mut shape = tensor.shape().to_vec();
    let row = shape[1..].iter().product();
    shape[0] = to - from;
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(cut(v, row, from, to)),
        Data::I64(v) => Data::I64(cut(v, row, from, to)),
        other => panic!("{other:?}"),
    };
    Tensor::new(shape, data).unwrap()
}

/// The model's inputs in batches.
fn batches(model: &Model, inputs: &[&Tensor], batch: usize) -> Vec<Batch> {
    let count = inputs[0].shape()[0];
    let names = model.inputs().iter().map(|&id| model.value(id).name.clone());
    let named: Vec<(String, &&Tensor)> = names.zip(inputs).collect();
    let of = |from: usize| {
        let to = (from + batch).min(count);
        named.iter().map(|(name, x)| (name.clone(), slice(x, from, to))).collect()
    };
    (0..count).step_by(batch).map(of).collect()
}

fn named(batch: &Batch) -> Vec<(&str, &Tensor)> {
    batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

/// The first output of all batches, as one.
fn run(gpu: &Gpu, model: &Model, batches: &[Batch]) -> Tensor {
    let session = Session::new(gpu, model).unwrap();
    let (mut shape, mut all) = (vec![0], Vec::new());
    for batch in batches {
        let y = pollster::block_on(session.run(&named(batch))).unwrap().remove(0);
        let rows = shape[0] + y.shape()[0];
        shape = y.shape().to_vec();
        shape[0] = rows;
        all.extend(y.to_f32());
    }
    Tensor::f32(shape, all).unwrap()
}

fn ranges(gpu: &Gpu, model: &Model, batches: &[Batch]) -> weighbridge::calibrate::Ranges {
    let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax).unwrap();
    for batch in batches {
        calibrator.observe(&named(batch)).unwrap();
    }
    pollster::block_on(calibrator.finish()).unwrap()
}

/// The largest difference of two elements, relative to the largest of `theirs`. Both have as many.
fn apart(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0, |m: f64, &x| m.max(f64::from(x).abs()));
    let apart = ours.iter().zip(theirs).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    // `max` would drop NaN.
    apart.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) }) / largest
}

/// The mean cosine of our rows to the first as many of theirs.
fn cosine(ours: &Tensor, theirs: &Tensor) -> f64 {
    let mut differences = Differences::default();
    differences.add(ours, &slice(theirs, 0, ours.shape()[0])).unwrap();
    differences.finish("y").cosine.unwrap_or(f64::NAN)
}

/// How often our rows have the same argmax as the first as many of theirs.
fn agreement(ours: &Tensor, theirs: &Tensor) -> f64 {
    let theirs = slice(theirs, 0, ours.shape()[0]);
    evaluate::agreement(&evaluate::classes(ours), &evaluate::classes(&theirs)).unwrap()
}

/// All figures of a model are printed before the first that misses its bar is an error.
struct Bars {
    model: &'static str,
    missed: Vec<String>,
}

impl Bars {
    fn new(model: &'static str) -> Self {
        Self { model, missed: Vec::new() }
    }

    fn note(&mut self, line: String, reached: bool) {
        println!("{}: {line}{}", self.model, if reached { "" } else { "  MISSED" });
        if !reached {
            self.missed.push(line);
        }
    }

    fn least(&mut self, what: &str, found: f64, bar: f64) {
        self.note(format!("{what} {found:.5}, at least {bar}"), found >= bar);
    }

    fn near(&mut self, ours: &Tensor, theirs: &Tensor) {
        let found = apart(&ours.to_f32(), &theirs.to_f32()[..ours.len()]);
        self.note(
            format!("fp32, {} rows: {found:.2e} apart, at most {NEAR}", ours.shape()[0]),
            found <= NEAR,
        );
    }

    fn size(&self, variant: &str, model: &Model) {
        let bytes = model.to_onnx_bytes().unwrap().len();
        println!("{}: {variant} has {:.0} kB", self.model, bytes as f64 / 1e3);
    }

    fn finish(self) {
        assert!(self.missed.is_empty(), "{} missed {:#?}", self.model, self.missed);
    }
}

/// Sentence embeddings: 160 snippets of 32 tokens, calibrated on 128 others. The bars are on the mean cosine to f32.
#[test]
fn minilm() {
    let (Some(folder), Some(gpu)) = (folder("minilm"), gpu()) else { return };
    let model = Model::from_onnx_file(folder.join("minilm_fp32.onnx")).unwrap();
    let inputs = |part: &str, count| {
        let [ids, mask] = ["ids", "mask"].map(|n| rows(&folder.join(format!("{part}_{n}.npy")), count));
        batches(&model, &[&ids, &mask], 16)
    };
    let (calibration, test) = (inputs("calibration", 128), inputs("test", 160));
    let theirs = rows(&folder.join("test_embedding.npy"), 160);
    let mut bars = Bars::new("MiniLM-L6");

    bars.near(&run(gpu, &model, &test[..3]), &theirs);
    let half = optimize::half(&model).unwrap().model;
    bars.size("fp16", &half);
    bars.least("fp16: cosine", cosine(&run(gpu, &half, &test[..3]), &theirs), 0.9999);
    let dynamic = optimize::dynamic_int8(&model, &DynamicOptions::default()).unwrap();
    bars.size("dynamic int8", &dynamic);
    bars.least("dynamic int8: cosine", cosine(&run(gpu, &dynamic, &test), &theirs), 0.992);

    // What GELU makes has outliers: the range that holds them leaves few steps to the rest.
    let ranges = ranges(gpu, &model, &calibration);
    let fixed = optimize::static_int8(&model, &ranges, &StaticOptions::default()).unwrap();
    bars.size("static int8", &fixed);
    bars.least("static int8, every Linear: cosine", cosine(&run(gpu, &fixed, &test), &theirs), 0.925);
    let producers = model.producers();
    // GELU was fused into the Linear before it.
    let gelu = Some(Activation::Function(UnaryOp::Gelu { tanh: false }));
    let after_gelu = model.nodes().iter().filter(|node| {
        let maker = node.inputs[0].and_then(|x| producers[x.index()]);
        matches!(node.op, Op::Linear { .. })
            && maker.is_some_and(|i| model.nodes()[i].op.activation() == gelu)
    });
    let after_gelu: Vec<&str> = after_gelu.map(|node| node.name.as_str()).collect();
    assert_eq!(after_gelu.len(), 6, "{after_gelu:?}");
    let options = StaticOptions { policy: Policy::skip(after_gelu), ..Default::default() };
    let fixed = optimize::static_int8(&model, &ranges, &options).unwrap();
    bars.size("static int8 but after GELU", &fixed);
    bars.least("static int8 but after GELU: cosine", cosine(&run(gpu, &fixed, &test), &theirs), 0.988);
    bars.finish();
}

/// Pixels as EfficientNet-Lite0 takes them.
fn pixels(path: &Path, count: usize) -> Tensor {
    let crops = rows(path, count);
    let Data::U8(bytes) = crops.data() else { panic!("{}: pixels are bytes", path.display()) };
    let x: Vec<f32> = bytes.iter().map(|&b| (f32::from(b) - 127.0) / 128.0).collect();
    Tensor::f32(crops.shape(), x).unwrap()
}

/// ImageNet classes of crops of twenty images, calibrated on 60 others of the same images. The bars are on the share of
/// crops that have f32's class.
fn efficientnet(file: &'static str, logits: &str, fixed_rows: usize, other_rows: usize) {
    let (Some(folder), Some(gpu)) = (folder("effnet"), gpu()) else { return };
    let model = Model::from_onnx_file(folder.join(file)).unwrap();
    let test = pixels(&folder.join("test_crops.npy"), fixed_rows);
    let test = batches(&model, &[&test], 4);
    let calibration = pixels(&folder.join("calibration_crops.npy"), 60);
    let calibration = batches(&model, &[&calibration], 4);
    let theirs = rows(&folder.join(logits), fixed_rows);
    let few = &test[..other_rows / 4];
    let mut bars = Bars::new(file);

    bars.near(&run(gpu, &model, &test[..2]), &theirs);
    let ranges = ranges(gpu, &model, &calibration);
    let fixed = optimize::static_int8(&model, &ranges, &StaticOptions::default()).unwrap();
    bars.size("static int8", &fixed);
    let what = format!("static int8, {fixed_rows} crops: agreement");
    bars.least(&what, agreement(&run(gpu, &fixed, &test), &theirs), 0.985);
    let half = optimize::half(&model).unwrap().model;
    bars.size("fp16", &half);
    bars.least("fp16: agreement", agreement(&run(gpu, &half, few), &theirs), 0.99);
    let dynamic = optimize::dynamic_int8(&model, &DynamicOptions::default()).unwrap();
    bars.size("dynamic int8", &dynamic);
    bars.least("dynamic int8: agreement", agreement(&run(gpu, &dynamic, few), &theirs), 0.925);
    bars.finish();
}

#[test]
fn efficientnet_lite0() {
    efficientnet("efflite0_bn.onnx", "bn_logits.npy", 200, 40);
}

#[test]
fn efficientnet_lite0_folded() {
    efficientnet("efflite0_folded.onnx", "folded_logits.npy", 40, 8);
}

/// `count` of the data set's images, normalized as the networks take them.
fn fashion(name: &str, count: usize) -> Tensor {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion_mnist").join(name);
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let array = npz::parse_npy(&bytes).unwrap();
    let npz::Values::U8(bytes) = array.values else { panic!("{name}: pixels are bytes") };
    let x: Vec<f32> =
        bytes[..count * 784].iter().map(|&b| (f32::from(b) / 255.0 - 0.2860) / 0.3530).collect();
    Tensor::f32([count, 1, 28, 28], x).unwrap()
}

/// Classes of Fashion-MNIST. The f32 model is right on 87.84 % of all 10,000 images.
#[test]
fn vit() {
    const COUNT: usize = 1000;
    let Some(gpu) = gpu() else { return };
    let model = Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/vit.onnx")).unwrap();
    let test = batches(&model, &[&fashion("test10k_images_u8.npy.gz", COUNT)], 100);
    let calibration = batches(&model, &[&fashion("calib_images_u8.npy.gz", 128)], 64);
    let labels = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion_mnist/test10k_labels.npy");
    let Data::U8(labels) = rows(&labels, COUNT).data().clone() else { panic!("labels are bytes") };
    let labels: Vec<Option<usize>> = labels.into_iter().map(|label| Some(label.into())).collect();
    let mut bars = Bars::new("vit");

    let reference = run(gpu, &model, &test);
    let right = evaluate::agreement(&evaluate::classes(&reference), &labels).unwrap();
    // Three standard errors of a share of so many.
    let error = 3.0 * (0.8784f64 * (1.0 - 0.8784) / COUNT as f64).sqrt();
    bars.note(format!("fp32: {right:.4} right, 0.8784 within {error:.4}"), (right - 0.8784).abs() <= error);
    let half = optimize::half(&model).unwrap().model;
    bars.size("fp16", &half);
    bars.least("fp16: agreement", agreement(&run(gpu, &half, &test), &reference), 0.998);
    let dynamic = optimize::dynamic_int8(&model, &DynamicOptions::default()).unwrap();
    bars.size("dynamic int8", &dynamic);
    bars.least("dynamic int8: agreement", agreement(&run(gpu, &dynamic, &test), &reference), 0.997);
    let ranges = ranges(gpu, &model, &calibration);
    let fixed = optimize::static_int8(&model, &ranges, &StaticOptions::default()).unwrap();
    bars.size("static int8", &fixed);
    bars.least("static int8: agreement", agreement(&run(gpu, &fixed, &test), &reference), 0.992);
    bars.finish();
}
