//! What we export, run by ONNX Runtime on the CPU: as written, and after its own graph optimizations.
//!
//! Needs a Python with onnxruntime and numpy: `WEIGHBRIDGE_PYTHON`, or the one that `scripts/with-onnxruntime` makes.
//! Without one this is skipped, and fails where `WEIGHBRIDGE_REQUIRE_ORT` is set. `WEIGHBRIDGE_MODELS` names a folder of
//! further models: each `NAME.onnx` runs on `NAME.INPUT.npy`, an f32, i64 or i32 array for each of its inputs.
//!
//! # Tolerances
//!
//! *f32*: a sum of n products in any order is off by n * 2^-24 of the sum of magnitudes. Both sides and every node that
//! makes numbers: `2 * nodes * n * 2^-24 * max|y|`, with n of the longest sum. As errors relative to the largest element
//! this holds while layers do not amplify them, which is tested here and not presumed.
//!
//! *f16*: both round the results of each node to f16, 2^-11 of each, or ONNX Runtime leaves a rounding out where it
//! fuses: `2 * nodes * 2^-11 * max|y|`, with the same proviso.
//!
//! *weight-only*: both multiply the same reals, theirs rounded once more: f32's. ONNX Runtime makes MatMulNBits of them,
//! which by default rounds the floats to int8, too; here it is told to compute in f32 (`run.py`).
//!
//! *int8*: both compute the same integers, but for those whose real value is so near to the middle of two that an f32
//! rounding decides: these are one step off. Quantization itself moves every element by up to half a step, evenly
//! spread: a variance of 1/12 step. If a share p of the elements is one step off, that is a variance of p; so the
//! outputs' rms difference is `sqrt(12 p)` of the rms error of quantization, which is measured as the distance from f32.
//! p is FLIPPED. A single output may gather several of them: STEPS of 1/255 of the outputs' range.
//!
//! This is of a network in which few quantizations follow each other. What was flipped changes what the next one rounds,
//! by `sqrt(12 p)` of the noise that is there anyway, and flips a share of the order of that root: 0.001 becomes a tenth,
//! and a tenth everything, within a few. In a network of more than SHALLOW quantizations both results are therefore only
//! known to be equally good ones: their rms difference is at most the rms error of quantization, once for each of them
//! (the variances of two independent ones add up to a root of 2).
//!
//! The numbers to compare are those of our own run of the exported file, which is held to the model that was exported,
//! too. Static int8 is exported with int32 biases of scale `sa * sw`, half a step of which is far less than one of the
//! result, but moves all of a channel's elements: more of them are one step off, FLIPPED_BY_BIAS. Dynamic int8 is
//! exported with ONNX's one rule, u8 and a range for each tensor, which is another quantization: the answers must agree.
//!
//! On x86 without VNNI, ONNX Runtime's integer kernels add pairs of products in 16 bits and saturate (the cnn loses 2 % of
//! its answers by that): there it runs with slower ones that do not, or with none (`run.py`).
#![cfg(all(feature = "onnx", feature = "cli"))]

#[path = "common/gpu.rs"]
mod gpu;

use npyz::WriterBuilder;
use std::path::{Path, PathBuf};
use std::process::Command;
use weighbridge::calibrate::Calibrator;
use weighbridge::evaluate::{Batch, agreement, classes};
use weighbridge::graph::{Dim, Model, Op};
use weighbridge::quant::Observer;
use weighbridge::tensor::{Data, Tensor};
use weighbridge::{Gpu, Session, optimize};

/// The share of elements that may be one step off.
const FLIPPED: f64 = 0.001;
/// The same between biases in f32 and in int32.
const FLIPPED_BY_BIAS: f64 = 0.005;
/// Quantizations that may follow each other before a flip has reached everything.
const SHALLOW: usize = 6;
/// How many steps of 1/255 of its range an output may be off.
const STEPS: f64 = 2.0;
/// The share of rows that must have the same largest output.
const AGREE: f64 = 0.99;

/// A Python with ONNX Runtime.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/onnxruntime-venv/bin/python");
    let python = std::env::var_os("WEIGHBRIDGE_PYTHON").map_or(venv, PathBuf::from);
    let works = Command::new(&python).args(["-c", "import onnxruntime, numpy"]).output();
    let problem = match works {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(e) => e.to_string(),
    };
    let message = format!("{}: {problem}; see scripts/with-onnxruntime", python.display());
    assert!(std::env::var_os("WEIGHBRIDGE_REQUIRE_ORT").is_none(), "ONNX Runtime is required: {message}");
    eprintln!("skipped: {message}");
    None
}

/// A model, what it runs on, and what static int8 is calibrated on.
struct Case {
    name: String,
    model: Model,
    inputs: Batch,
    calibration: Vec<Batch>,
}

/// The networks in assets, on images of theirs.
fn assets() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fashion_mnist");
    let images = |file: &str, from: usize, count: usize| {
        let packed = std::fs::File::open(folder.join(file)).unwrap();
        let unpacked = std::io::BufReader::new(flate2::read::GzDecoder::new(packed));
        let pixels: Vec<u8> = npyz::NpyFile::new(unpacked).unwrap().into_vec().unwrap();
        let pixels = &pixels[from * 784..(from + count) * 784];
        let normal: Vec<f32> = pixels.iter().map(|&p| (f32::from(p) / 255.0 - 0.2860) / 0.3530).collect();
        vec![("input".to_owned(), Tensor::f32([count, 1, 28, 28], normal).unwrap())]
    };
    let case = |name: &str| Case {
        name: name.into(),
        model: Model::from_onnx_file(folder.join(format!("{name}.onnx"))).unwrap(),
        inputs: images("test10k_images_u8.npy.gz", 0, 200),
        calibration: (0..4).map(|i| images("calib_images_u8.npy.gz", 32 * i, 32)).collect(),
    };
    ["cnn", "mlp", "vit"].map(case).into()
}

/// The models in `WEIGHBRIDGE_MODELS`.
fn others() -> Vec<Case> {
    let Some(folder) = std::env::var_os("WEIGHBRIDGE_MODELS").map(PathBuf::from) else { return Vec::new() };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    let case = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let model = Model::from_onnx_file(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input = |&id| {
            let input = &model.value(id).name;
            let file = folder.join(format!("{name}.{}.npy", input.replace('/', "_")));
            (input.clone(), load(&file))
        };
        let inputs: Batch = model.inputs().iter().map(input).collect();
        let calibration = vec![inputs.clone()];
        Case { name, model, inputs, calibration }
    };
    files.into_iter().map(case).collect()
}

fn load(path: &Path) -> Tensor {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let data = match file.dtype().descr().trim_matches('\'') {
        "<f4" => Data::F32(file.into_vec().unwrap()),
        "<i8" => Data::I64(file.into_vec().unwrap()),
        "<i4" => Data::I32(file.into_vec().unwrap()),
        other => panic!("{}: {other}", path.display()),
    };
    Tensor::new(shape, data).unwrap()
}

fn save(path: &Path, tensor: &Tensor) {
    fn write<T: npyz::AutoSerialize + Copy>(shape: &[usize], data: &[T]) -> Vec<u8> {
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(data.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }
    let bytes = match tensor.data() {
        Data::F32(v) => write(tensor.shape(), v),
        Data::I64(v) => write(tensor.shape(), v),
        Data::I32(v) => write(tensor.shape(), v),
        other => panic!("{} elements of another type", other.len()),
    };
    std::fs::write(path, bytes).unwrap();
}

fn run(gpu: &Gpu, model: &Model, inputs: &Batch) -> Vec<Tensor> {
    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    pollster::block_on(Session::new(gpu, model).unwrap().run(&inputs)).unwrap()
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F16,
    Static,
    Dynamic,
    WeightOnly,
}

/// One exported form of a model.
struct Form<'c> {
    case: &'c Case,
    kind: Kind,
    name: String,
    /// Our run of what was exported.
    ours: Vec<Tensor>,
    /// And of f32.
    exact: Vec<Tensor>,
    /// ONNX Runtime's outputs, as written and optimized.
    files: [Vec<PathBuf>; 2],
}

/// Exports a model in all its forms, and runs what was exported.
fn forms<'c>(gpu: &Gpu, case: &'c Case, folder: &Path, jobs: &mut Vec<serde_json::Value>) -> Vec<Form<'c>> {
    let model = &case.model;
    let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax).unwrap();
    for batch in &case.calibration {
        let inputs: Vec<_> = batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        calibrator.observe(&inputs).unwrap();
    }
    let ranges = pollster::block_on(calibrator.finish()).unwrap();
    // In groups wherever they fit.
    let k = |n: &weighbridge::graph::Node| model.constant(n.inputs[1].unwrap()).unwrap().shape()[1];
    let odd = |n: &&weighbridge::graph::Node| matches!(n.op, Op::Linear { .. }) && !k(n).is_multiple_of(32);
    let policy = optimize::Policy::skip(model.nodes().iter().filter(odd).map(|n| n.name.clone()));
    let groups = optimize::WeightOnlyOptions { group: Some(32), policy, ..Default::default() };
    let variants = [
        (Kind::F32, "fp32", model.clone()),
        (Kind::F16, "fp16", optimize::half(model).unwrap().model),
        (Kind::Static, "static", optimize::static_int8(model, &ranges, &Default::default()).unwrap()),
        (Kind::Dynamic, "dynamic", optimize::dynamic_int8(model, &Default::default()).unwrap()),
        (Kind::WeightOnly, "weight-only", optimize::weight_only(model, &Default::default()).unwrap()),
        (Kind::WeightOnly, "groups", optimize::weight_only(model, &groups).unwrap()),
    ];
    let mut inputs = serde_json::Map::new();
    for (i, (name, tensor)) in case.inputs.iter().enumerate() {
        let file = folder.join(format!("{}.{i}.npy", case.name));
        save(&file, tensor);
        inputs.insert(name.clone(), file.to_str().unwrap().into());
    }
    let exact = run(gpu, model, &case.inputs);
    let form = |(kind, what, variant): (Kind, &str, Model)| {
        let name = format!("{}-{what}", case.name);
        let bytes = variant.to_onnx_bytes().unwrap_or_else(|e| panic!("{name}: {e}"));
        let file = folder.join(format!("{name}.onnx"));
        std::fs::write(&file, &bytes).unwrap();
        let own = run(gpu, &variant, &case.inputs);
        let back = Model::from_onnx_bytes(&bytes).unwrap_or_else(|e| panic!("{name}, read back: {e}"));
        let read_back = run(gpu, &back, &case.inputs);
        let form = |ours| Form {
            case,
            kind,
            ours,
            exact: exact.clone(),
            files: ["plain", "optimized"].map(|how| {
                let output = |i: usize| folder.join(format!("{name}.{how}.{i}.npy"));
                (0..model.outputs().len()).map(output).collect()
            }),
            name: name.clone(),
        };
        let form = form(read_back);
        match kind {
            // Nothing that decides a number is lost in the file.
            Kind::F32 | Kind::F16 | Kind::WeightOnly => {
                assert_eq!(own, form.ours, "{name}: what was read back computes something else")
            }
            Kind::Static => form.check("not exported", &own, FLIPPED_BY_BIAS),
            Kind::Dynamic => {
                for (a, b) in own.iter().zip(&form.ours) {
                    agree(&name, "not exported", a, b, AGREE - 0.01);
                }
            }
        }
        for (optimized, outputs) in [false, true].into_iter().zip(&form.files) {
            jobs.push(serde_json::json!({
                "model": file, "inputs": inputs.clone(), "optimized": optimized, "outputs": outputs,
                "integers": kind == Kind::Dynamic,
            }));
        }
        form
    };
    variants.into_iter().map(form).collect()
}

impl Form<'_> {
    fn check(&self, by: &str, outputs: &[Tensor], flipped: f64) {
        assert_eq!(outputs.len(), self.ours.len(), "{} {by}", self.name);
        for ((theirs, ours), exact) in outputs.iter().zip(&self.ours).zip(&self.exact) {
            let name = &self.name;
            assert_eq!(theirs.shape(), ours.shape(), "{name} {by}");
            let (theirs_f32, ours_f32, exact) = (theirs.to_f32(), ours.to_f32(), exact.to_f32());
            let (rms, max) = distance(&theirs_f32, &ours_f32);
            let largest = ours_f32.iter().fold(0.0f64, |m, &y| m.max(f64::from(y).abs()));
            let nodes = self.case.model.nodes().len() as f64;
            let (rms_bound, max_bound) = match self.kind {
                Kind::F32 | Kind::WeightOnly => {
                    let bound = 2.0 * nodes * longest_sum(&self.case.model) as f64 * 2f64.powi(-24) * largest;
                    (bound, bound)
                }
                Kind::F16 => (2.0 * nodes * 2f64.powi(-11) * largest, 2.0 * nodes * 2f64.powi(-11) * largest),
                Kind::Static | Kind::Dynamic => {
                    let range = |y: &[f32]| y.iter().fold((0f32, 0f32), |(l, h), &y| (l.min(y), h.max(y)));
                    let (lo, hi) = range(&ours_f32);
                    let (quantization, _) = distance(&ours_f32, &exact);
                    let products =
                        |n: &&weighbridge::graph::Node| matches!(n.op, Op::Conv { .. } | Op::Linear { .. });
                    let deep = self.case.model.nodes().iter().filter(products).count() > SHALLOW;
                    let share = if deep { 2f64.sqrt() } else { (12.0 * flipped).sqrt() };
                    // The largest of many samples of that noise is some five times its root.
                    let most =
                        if deep { 5.0 * share * quantization } else { STEPS * f64::from(hi - lo) / 255.0 };
                    (share * quantization, most)
                }
            };
            println!("{name} {by}: rms {rms:.2e} of {rms_bound:.2e}, max {max:.2e} of {max_bound:.2e}");
            assert!(rms <= rms_bound, "{name} {by}: the rms difference is {rms:e}, more than {rms_bound:e}");
            assert!(
                max <= max_bound,
                "{name} {by}: the largest difference is {max:e}, more than {max_bound:e}"
            );
            agree(name, by, theirs, ours, AGREE);
        }
    }
}

/// Rows with the same largest element, where an output is one of classes.
fn agree(name: &str, by: &str, a: &Tensor, b: &Tensor, least: f64) {
    if a.shape().len() == 2 && a.shape()[1] > 1 {
        let same = agreement(&classes(a), &classes(b)).unwrap();
        assert!(same >= least, "{name} {by}: {same} of the rows have the same class");
    }
}

/// The root of the mean square and the largest of the differences.
fn distance(a: &[f32], b: &[f32]) -> (f64, f64) {
    let differences = || a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b));
    assert!(differences().all(f64::is_finite));
    let squares: f64 = differences().map(|d| d * d).sum();
    ((squares / a.len().max(1) as f64).sqrt(), differences().fold(0.0, |m, d| m.max(d.abs())))
}

/// Products in the longest sum of any Conv, Linear or MatMul.
fn longest_sum(model: &Model) -> usize {
    let sum = |node: &weighbridge::graph::Node| {
        let shape = |i: usize| node.inputs.get(i).copied().flatten().map(|id| &model.value(id).shape);
        let fixed = |dims: &[Dim]| dims.iter().filter_map(Dim::fixed).product::<usize>();
        match &node.op {
            Op::Conv { .. } | Op::Linear { .. } => shape(1).map_or(1, |s| fixed(s.get(1..).unwrap_or(&[]))),
            _ => shape(0).and_then(|s| s.last()).and_then(Dim::fixed).unwrap_or(1),
        }
    };
    model.nodes().iter().map(sum).max().unwrap_or(1)
}

#[test]
fn onnx_runtime_computes_the_same() {
    let (Some(python), Some(gpu)) = (python(), gpu::gpu()) else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnxruntime");
    std::fs::create_dir_all(&folder).unwrap();
    let cases: Vec<Case> = assets().into_iter().chain(others()).collect();
    let mut jobs = Vec::new();
    let forms: Vec<Form<'_>> = cases.iter().flat_map(|case| forms(gpu, case, &folder, &mut jobs)).collect();

    let list = folder.join("jobs.json");
    std::fs::write(&list, serde_json::to_vec(&jobs).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime/run.py");
    let output = Command::new(python).arg(script).arg(list).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    for form in &forms {
        for (files, by) in form.files.iter().zip(["ONNX Runtime", "ONNX Runtime, optimized"]) {
            let outputs: Vec<Tensor> = files.iter().map(|file| load(file)).collect();
            form.check(by, &outputs, FLIPPED);
        }
    }
}
