//! The command line as its users meet it.
#![cfg(feature = "cli")]

#[path = "common/gpu.rs"]
mod gpu;

use std::path::Path;
use std::process::{Command, Output};

fn weighbridge(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weighbridge")).args(args).output().unwrap()
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
        (&["--model", "vgg"][..], "expected `cnn`, `mlp`, or the path of an .onnx file"),
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
