//! Finds the cases, runs a check over them, and reports.

use crate::backend::{Backend, ReferenceBackend};
use crate::common::gpu::gpu;
use crate::common::npz::{Array, read_npz};
use crate::gpu::GpuBackend;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Why a check did not go through to its end.
#[derive(Debug)]
pub enum Stop {
    /// Not asserted on, with the reason: printed and counted.
    LeftOut(String),
    /// Wrong.
    Failed(String),
}

impl From<String> for Stop {
    fn from(detail: String) -> Self {
        Stop::Failed(detail)
    }
}

impl From<weighbridge::Error> for Stop {
    fn from(error: weighbridge::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

pub type Run<T> = Result<T, Stop>;

/// One case: parameters and tensors by name.
pub struct Case {
    pub params: Value,
    tensors: HashMap<String, Array>,
}

impl Case {
    pub fn new(params: Value, tensors: HashMap<String, Array>) -> Self {
        Self { params, tensors }
    }

    pub fn find(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    pub fn get(&self, name: &str) -> Result<&Array, String> {
        self.find(name).ok_or_else(|| format!("the case has no tensor {name}"))
    }

    /// The only element of a tensor of f32.
    pub fn scalar(&self, name: &str) -> Result<f32, String> {
        match self.get(name)?.f32s()? {
            [x] => Ok(*x),
            other => Err(format!("{name} has {} elements, expected 1", other.len())),
        }
    }

    /// A flag, false where it is not given.
    pub fn flag(&self, name: &str) -> bool {
        self.params[name].as_bool().unwrap_or(false)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.params[name].as_i64()
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.params[name].as_f64()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.params[name].as_str()
    }
}

/// The sample in the repository.
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Where the cases are.
pub fn root() -> PathBuf {
    let Some(given) = std::env::var_os("WEIGHBRIDGE_CONFORMANCE") else { return sample() };
    // `join` gives an absolute path back as it is.
    let of_crate = Path::new(env!("CARGO_MANIFEST_DIR")).join(&given);
    if of_crate.is_dir() {
        return of_crate;
    }
    let path = PathBuf::from(given);
    assert!(path.is_dir(), "WEIGHBRIDGE_CONFORMANCE: {} is not a directory", path.display());
    path
}

/// Whether the outcome is implementation-defined, with the reason.
fn informative(name: &str, params: &Value) -> Option<String> {
    if let Some(reason) = params["informative"].as_str() {
        return Some(reason.to_owned());
    }
    let marked = params.get("informative").is_some_and(|v| !v.is_null() && v != &Value::Bool(false));
    if marked || name.starts_with("special_") || name.starts_with("huge_") {
        return Some("implementation-defined".into());
    }
    None
}

/// Everything that cases are checked against.
pub fn backends() -> Vec<Box<dyn Backend>> {
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(ReferenceBackend)];
    if let Some(gpu) = gpu() {
        backends.push(Box::new(GpuBackend(gpu)));
    }
    backends
}

/// Runs `check` over every case of a family and every backend, prints the counts, and fails with the failing cases.
pub fn run(family: &str, check: fn(&Case, &dyn Backend) -> Run<()>) {
    let directory = root().join(family);
    let index = directory.join("index.json");
    if !index.is_file() {
        println!("{family}: absent");
        return;
    }
    let text = std::fs::read_to_string(&index).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    let cases = json["cases"].as_array().unwrap_or_else(|| panic!("{}: no cases", index.display()));
    let mut report = String::new();
    let mut failures = Vec::new();
    for backend in &backends() {
        let mut ran = 0;
        let mut left_out = BTreeMap::<String, usize>::new();
        for case in cases {
            let file = case["file"].as_str().unwrap_or_default();
            let name = case["case"].as_str().unwrap_or(file);
            let outcome = match informative(name, &case["params"]) {
                Some(reason) => Err(Stop::LeftOut(reason)),
                None => read_npz(&directory.join(file)).map_err(Stop::Failed).and_then(|tensors| {
                    check(&Case { params: case["params"].clone(), tensors }, backend.as_ref())
                }),
            };
            match outcome {
                Ok(()) => ran += 1,
                Err(Stop::LeftOut(reason)) => *left_out.entry(reason).or_default() += 1,
                Err(Stop::Failed(detail)) => {
                    ran += 1;
                    failures.push(format!("{family}/{name} on {}: {detail}", backend.name()));
                }
            }
        }
        report += &format!("{family} on {}: {ran} ran", backend.name());
        for (reason, count) in left_out {
            report += &format!("; {count} left out ({reason})");
        }
        report += "\n";
    }
    // In one call, since the tests of other families print at the same time.
    print!("{report}");
    let shown = failures.len().min(40);
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures[..shown].join("\n"));
}
