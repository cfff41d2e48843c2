//! The command line as its users meet it.
#![cfg(feature = "cli")]

#[path = "common/gpu.rs"]
mod gpu;

use npyz::WriterBuilder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use weighbridge::Session;
use weighbridge::graph::Model;
use weighbridge::tensor::Tensor;

const MLP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fashion_mnist/mlp.onnx");

fn weighbridge(args: &[&str]) -> Output {
    with_table(Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-table.json"), args)
}

/// With a table of measured variants, not the user's.
fn with_table(path: PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.args(args).env("WEIGHBRIDGE_TUNE_FILE", path).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_cannot_be_is_said_and_fails() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let broken = dir.join("broken.onnx");
    std::fs::write(&broken, [0xff; 64]).unwrap();
    let broken = broken.to_str().unwrap();
    let nowhere = dir.join("no/such/folder.json");
    let nowhere = nowhere.to_str().unwrap();
    for (args, message) in [
        (&["--model", "vgg"][..], "expected `cnn`, `mlp`, `vit`, or the path of an .onnx file"),
        (&["compare", "--model", "no-such.onnx"], "no-such.onnx: "),
        (&["--model", broken], "broken.onnx: "),
        (&["--json", nowhere], "folder.json: "),
    ] {
        let output = weighbridge(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(message), "{args:?}: {error}");
        assert!(!error.contains("panicked"), "{args:?}: {error}");
    }
    assert_eq!(weighbridge(&["--images", "0"]).status.code(), Some(2));
}

#[test]
fn comparing_writes_down_what_it_shows() {
    if gpu::gpu().is_none() {
        return;
    }
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare.json");
    let output = weighbridge(&["--model", "mlp", "--images", "200", "--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(shown.starts_with(report["adapter"]["name"].as_str().unwrap()), "{shown}");

    let rows = report["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["variant"].as_str().unwrap()).collect();
    assert_eq!(names, ["fp32", "fp16", "static-int8", "dynamic-int8"]);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        let name = row["variant"].as_str().unwrap();
        assert!(shown.contains(&format!("│ {name} ")), "{name} is not in {shown}");
        // Of these images PyTorch's and ONNX Runtime's int8 lose one or two.
        assert!(number("agreement") >= 0.97, "{name} agrees on {}", number("agreement"));
        assert!(number("top1") > 0.8, "{name} is right on {}", number("top1"));
        assert!(row["latency_ms"]["1"].as_f64() > Some(0.0) && row["latency_ms"]["64"].as_f64() > Some(0.0));
        assert_eq!(row["calibration_ms"].is_null(), name != "static-int8");
    }
    let bytes = |i: usize, key: &str| rows[i][key].as_f64().unwrap();
    for key in ["disk_bytes", "gpu_bytes"] {
        let ratios = [1, 2, 3].map(|i| bytes(i, key) / bytes(0, key));
        assert!(ratios[0] < 0.55 && ratios[1] < 0.35 && ratios[2] < 0.35, "{key}: {ratios:?}");
    }
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn npy<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], data: &[T], order: npyz::Order) {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(data.iter().copied()).unwrap();
    writer.finish().unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn images(count: usize) -> Tensor {
    let mut rng = gpu::Rng(7);
    Tensor::f32([count, 1, 28, 28], rng.f32s(count * 784)).unwrap()
}

fn logits(path: &Path) -> Tensor {
    let bytes = std::fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    Tensor::f32(shape, file.into_vec::<f32>().unwrap()).unwrap()
}

/// Output of a command that must succeed.
fn succeeds(args: &[&str]) -> String {
    let output = weighbridge(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn run_writes_what_a_session_gives() {
    let Some(gpu) = gpu::gpu() else { return };
    let dir = folder("cli-run");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let x = images(3);
    npy(&dir.join("x.npy"), &[3, 1, 28, 28], x.as_f32().unwrap(), npyz::Order::C);
    // The same as f64, with the first index innermost, and gzipped.
    let wide: Vec<f64> =
        x.permuted(&[3, 2, 1, 0]).unwrap().as_f32().unwrap().iter().map(|&x| x.into()).collect();
    npy(&dir.join("wide.npy"), &[3, 1, 28, 28], &wide, npyz::Order::Fortran);
    let packed = std::fs::File::create(dir.join("wide.npy.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &std::fs::read(dir.join("wide.npy")).unwrap()).unwrap();
    packed.finish().unwrap();

    let shown = succeeds(&["run", MLP, "--input", &path("x.npy"), "-o", &path("y.npy"), "--repeat", "2"]);
    assert!(shown.contains("median of 2 runs"), "{shown}");
    assert!(shown.contains("logits: f32 [3, 10] -> "), "{shown}");
    let named = format!("input={}", path("wide.npy.gz"));
    let out = format!("logits={}", path("z.npy"));
    assert!(succeeds(&["run", MLP, "--input", &named, "-o", &out, "--explain"]).contains("gemm"));

    let model = Model::from_onnx_file(MLP).unwrap();
    let expected = pollster::block_on(Session::new(gpu, &model).unwrap().run(&[("input", &x)])).unwrap();
    assert_eq!(logits(&dir.join("y.npy")), expected[0]);
    assert_eq!(logits(&dir.join("z.npy")), expected[0]);
}

#[test]
fn quantize_makes_models_that_run() {
    let Some(gpu) = gpu::gpu() else { return };
    let dir = folder("cli-quantize");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let x = images(10);
    npy(&dir.join("x.npy"), &[10, 1, 28, 28], x.as_f32().unwrap(), npyz::Order::C);
    let (data, ranges) = (path("x.npy"), path("ranges.json"));
    let run = |model: &Model| {
        pollster::block_on(Session::new(gpu, model).unwrap().run(&[("input", &x)])).unwrap().remove(0)
    };
    let exact = run(&Model::from_onnx_file(MLP).unwrap());
    let calibrated = ["--data", &data, "--batch", "4", "--ranges", &ranges];
    let saved = ["--load-ranges", &ranges, "--skip", "Gemm_6", "--per-tensor"];
    for (mode, options, says, share) in [
        ("half", &[][..], "4 of 4: 1 Flatten, 3 Linear", 0.51),
        ("static", &calibrated[..], "3 values in 3 batches", 0.27),
        ("static", &saved[..], "3 of 4: 1 Flatten, 2 Linear", 0.27),
        ("dynamic", &["--skip", "Gemm_6"][..], "2 of 4: 2 Linear", 0.27),
        ("weight-only", &[][..], "3 of 4: 3 Linear", 0.27),
    ] {
        let out = path("out.onnx");
        let args = [&["quantize", MLP, "--mode", mode, "-o", &out], options].concat();
        let shown = succeeds(&args);
        assert!(shown.contains(says), "{shown}");
        let size = std::fs::metadata(&out).unwrap().len() as f64;
        assert!(size < share * std::fs::metadata(MLP).unwrap().len() as f64, "{mode}: {size} bytes");
        let y = run(&Model::from_onnx_file(&out).unwrap());
        let mut apart = weighbridge::evaluate::Differences::default();
        apart.add(&y, &exact).unwrap();
        let cosine = apart.finish("y").cosine.unwrap();
        assert!(cosine > 0.99 && cosine < 1.0, "{mode} {options:?}: cosine {cosine}");
    }
    let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["out.onnx", "ranges.json", "x.npy"]);
}

#[test]
fn comparing_other_data() {
    if gpu::gpu().is_none() {
        return;
    }
    let dir = folder("cli-compare");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    npy(&dir.join("x.npy"), &[40, 1, 28, 28], images(40).as_f32().unwrap(), npyz::Order::C);
    npy(&dir.join("labels.npy"), &[40], &[8i64; 40], npyz::Order::C);
    let (data, json, labels) = (path("x.npy"), path("c.json"), path("labels.npy"));
    let shown = succeeds(&["compare", MLP, "--data", &data, "--batch", "2,20", "--json", &json]);
    assert!(shown.contains("calibrated on the first 8 of the same rows"), "{shown}");
    assert!(shown.contains("batch 20 ms") && !shown.contains("top-1"), "{shown}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 5);
    for row in report["rows"].as_array().unwrap() {
        assert!(row["top1"].is_null());
        assert_eq!(row["differences"][0]["output"], "logits");
        let cosine = row["differences"][0]["cosine"].as_f64().unwrap();
        assert!(cosine > 0.99 && cosine <= 1.0 + 1e-12, "{cosine}");
        assert!(row["latency_ms"]["2"].as_f64() > Some(0.0));
    }
    assert_eq!(report["rows"][0]["differences"][0]["max_abs"], 0.0);

    let args = ["compare", MLP, "--data", &data, "--calibration", &data, "--labels", &labels, "--batch", "8"];
    let shown = succeeds(&args);
    assert!(shown.contains("top-1 %") && shown.contains("calibrated on 40 other rows"), "{shown}");
}

#[test]
fn mistakes_with_arrays_are_one_line() {
    let dir = folder("cli-mistakes");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    npy(&dir.join("x.npy"), &[4, 1, 28, 28], images(4).as_f32().unwrap(), npyz::Order::C);
    npy(&dir.join("flat.npy"), &[4, 784], images(4).as_f32().unwrap(), npyz::Order::C);
    npy(&dir.join("wide.npy"), &[1, 1, 28, 28], &[1i64 << 40; 784], npyz::Order::C);
    npy(&dir.join("labels.npy"), &[3], &[1i64; 3], npyz::Order::C);
    std::fs::write(dir.join("text.npy"), "no array").unwrap();
    let [x, flat, wide, labels, nothing, out] =
        ["x.npy", "flat.npy", "wide.npy", "labels.npy", "text.npy", "out.onnx"].map(path);
    let nowhere = path("no/y.npy");
    let named = format!("image={x}");
    let other = format!("probabilities={out}");
    let (run, quantize) = (["run", MLP], ["quantize", MLP, "-o", &out, "--mode"]);
    let compare = ["compare", MLP, "--data", &x];
    let fails = |command: &[&str], options: &[&str], message: &str| {
        let output = weighbridge(&[command, options].concat());
        let error = text(&output.stderr);
        assert!(!output.status.success(), "{options:?} succeeds");
        assert!(error.starts_with("error: ") && error.contains(message), "{options:?}: {error}");
        assert!(!error.contains("panicked"), "{options:?}: {error}");
        // clap says more, and exits with 2.
        if output.status.code() == Some(1) {
            assert_eq!(error.lines().count(), 1, "{options:?}: {error}");
        }
    };
    fails(&run, &[], "input `input` (f32 [batch, 1, 28, 28]) is missing: give --input input=FILE.npy");
    fails(&run, &["--input", &named], "there is no input `image`, the model has `input`");
    fails(&run, &["--input", &flat], "shape [4, 784] does not fit input `input` of [batch, 1, 28, 28]");
    fails(&run, &["--input", &nothing], "text.npy: not a .npy file");
    fails(&run, &["--input", "none.npy"], "none.npy: ");
    fails(&run, &["--input", &x, "-o", &other], "there is no output `probabilities`, the model has `logits`");
    fails(&run, &["--input", &x, "-o", &nowhere], "no/y.npy: ");
    fails(&quantize, &["static"], "ranges are missing, give --data X.npy or --load-ranges IN.json");
    fails(&quantize, &["static", "--data", &x, "--batch", "0"], "expected a whole number");
    fails(&quantize, &["half", "--skip", "Gemm_6"], "--mode half has no use for --skip");
    fails(&quantize, &["dynamic", "--skip", "Gemm_7"], "there is no node `Gemm_7`");
    fails(&quantize, &["dynamic", "--group", "32"], "--mode dynamic has no use for --group");
    fails(&quantize, &["weight-only", "--group", "32"], "groups of 32 do not divide its k of 784");
    fails(&quantize, &["weight-only", "--per-tensor"], "--mode weight-only has no use for --per-tensor");
    fails(&quantize, &["static", "--load-ranges", &nothing], "text.npy: calibration ranges: ");
    fails(&compare, &["--batch", "5"], "--batch 5: there are only 4 rows of --data");
    fails(&compare, &["--labels", &x], "x.npy: labels are whole numbers, found f32");
    if gpu::gpu().is_some() {
        fails(&compare, &["--labels", &labels], "3 labels, but the first output has 4 rows of classes");
        // 2^40 is an f32: that it was an integer loses nothing.
        succeeds(&["run", MLP, "--input", &wide]);
    }
    let left = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|f| f.contains("out") || f.contains("part")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn what_was_tuned_is_found_again() {
    if gpu::gpu().is_none() {
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuned.json");
    let _ = std::fs::remove_file(&path);
    let run = |args: &[&str]| {
        let output = with_table(path.clone(), args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let tune = ["tune", MLP, "--mode", "float", "--budget", "0.1"];
    let (shown, _) = run(&[&tune[..], &["--dry-run"]].concat());
    assert!(shown.contains("gemm f32 1x") && shown.contains(" of "), "{shown}");
    assert!(!path.exists(), "a dry run writes nothing");
    let (shown, _) = run(&tune);
    assert!(shown.contains("tuned.json"), "{shown}");
    assert!(run(&tune).0.contains("in the table"));

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let x = dir.join("tuned_x.npy");
    npy(&x, &[1, 1, 28, 28], &[0.5f32; 784], npyz::Order::C);
    let infer = ["run", MLP, "--input", x.to_str().unwrap(), "--explain"];
    let (shown, said) = run(&infer);
    assert!(shown.contains("tuned: ") && said.contains("are tuned: "), "{shown}{said}");
    let (shown, said) = run(&[&infer[..], &["--no-tuned"]].concat());
    assert!(shown.contains("default table (") && !said.contains("tuned"), "{shown}{said}");
    std::fs::write(&path, "{").unwrap();
    let (shown, said) = run(&infer);
    assert!(shown.contains("default table (") && said.contains("nothing is tuned: "), "{shown}{said}");
    assert!(text(&with_table(path.clone(), &tune).stderr).contains("delete it to begin anew"));
    let bad = weighbridge(&["tune", "--shape", "3x4"]);
    assert!(text(&bad.stderr).contains("expected MxNxK"), "{}", text(&bad.stderr));
}

#[test]
fn profiling_says_where_the_time_goes() {
    if gpu::gpu().is_none() {
        return;
    }
    let folder = folder("profile");
    let [trace, json] = ["trace.json", "profile.json"].map(|n| folder.join(n).to_str().unwrap().to_owned());
    let args = ["profile", "mlp", "--mode", "static", "--shape", "8x1x28x28", "--repeat", "2"];
    let shown = succeeds(&[&args[..], &["--trace", &trace, "--json", &json]].concat());
    let read =
        |path: &str| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let profile = read(&json);
    let steps = profile["steps"].as_array().unwrap();
    assert!(steps.iter().any(|s| s["op"] == "gemm" && s["operations"].as_u64() > Some(0)), "{profile}");
    for step in steps {
        for dispatch in step["dispatches"].as_array().unwrap() {
            let kernel = dispatch["kernel"].as_str().unwrap();
            assert!(shown.contains(kernel), "{kernel} is not in {shown}");
        }
    }
    for said in ["input input: f32 [8, 1, 28, 28], made up", "Roofline: ", "dispatches: "] {
        assert!(shown.contains(said), "`{said}` is not in {shown}");
    }
    let trace = read(&trace);
    let events = trace["traceEvents"].as_array().unwrap();
    let dispatches: usize = steps.iter().map(|s| s["dispatches"].as_array().unwrap().len()).sum();
    assert_eq!(events.iter().filter(|e| e["ph"] == "X").count(), dispatches);
}
