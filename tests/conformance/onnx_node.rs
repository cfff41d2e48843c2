//! ONNX's own node tests: what a node of each operator makes of its inputs.
//!
//! Operators of float networks go the way of a user's file: the bytes of a one-node model, `Model::from_onnx_bytes`,
//! `Session`. The integer operators, which the crate has as kernels rather than as a file's nodes, go to each
//! [`crate::backend::Backend`].
//!
//! A case may pass, or be refused, with an error that names the node and its operator set. Anything else fails.

mod case;
mod integers;
mod network;
mod proto;

use crate::harness::{self, Run, Stop};
use case::{NodeCase, Set};
use serde_json::Value;
use std::collections::BTreeMap;

/// Checks a case on one set of its inputs and outputs.
type Check = Box<dyn Fn(&NodeCase, &Set) -> Run<()>>;

/// One way to run a case, and what to call it.
type Route = (String, Box<dyn Fn(&NodeCase, &Set) -> Run<()>>);

/// What became of an operator's cases.
#[derive(Default)]
struct Tally {
    passed: usize,
    refused: Vec<String>,
    failed: Vec<String>,
}

/// Runs every case of the operators that `routes` knows, by each of its routes, and prints a table.
fn run(routes: impl Fn(&str) -> Vec<(String, Check)>) {
    let directory = harness::root().join("onnx_node");
    let index = directory.join("index.json");
    if !index.is_file() {
        println!("onnx_node: absent");
        return;
    }
    let text = std::fs::read_to_string(&index).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    let mut tallies = BTreeMap::<String, Tally>::new();
    for entry in json["cases"].as_array().unwrap_or_else(|| panic!("{}: no cases", index.display())) {
        let op = entry["op"].as_str().unwrap_or_default();
        let routes = routes(op);
        if routes.is_empty() {
            continue;
        }
        let tally = tallies.entry(op.to_owned()).or_default();
        let name = entry["dir"].as_str().unwrap_or_default();
        let case = match NodeCase::read(&directory.join(name)) {
            Ok(case) => case,
            Err(e) => {
                tally.failed.push(e);
                continue;
            }
        };
        for (how, check) in routes {
            match case.sets.iter().try_for_each(|set| check(&case, set)) {
                Ok(()) => tally.passed += 1,
                Err(Stop::LeftOut(reason)) => tally.refused.push(format!("{} {how}: {reason}", case.name)),
                Err(Stop::Failed(detail)) => tally.failed.push(format!("{} {how}: {detail}", case.name)),
            }
        }
    }
    let mut report = format!("{:24} passed refused failed\n", "onnx_node");
    for (op, t) in &tallies {
        report += &format!("{op:24} {:6} {:7} {:6}\n", t.passed, t.refused.len(), t.failed.len());
    }
    for refused in tallies.values().flat_map(|t| &t.refused) {
        report += &format!("refused: {refused}\n");
    }
    // In one call, since other tests print at the same time.
    print!("{report}");
    let failed: Vec<&str> = tallies.values().flat_map(|t| &t.failed).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn networks() {
    run(|op| {
        let route = |&given: &usize| -> (String, Check) {
            let how =
                if given == usize::MAX { "with all given".into() } else { format!("with {given} given") };
            (how, Box::new(move |case, set| network::check(case, set, given)))
        };
        network::given(op).iter().map(route).collect()
    });
}

#[test]
fn integers() {
    run(|op| {
        let Some(check) = integers::check(op) else { return Vec::new() };
        let route = |backend: Box<dyn crate::backend::Backend>| -> Route {
            let how = format!("on {}", backend.name());
            let run =
                move |case: &NodeCase, set: &Set| check(&integers::decode(case, set)?, backend.as_ref());
            (how, Box::new(run) as Check)
        };
        harness::backends().into_iter().map(route).collect()
    });
}

/// The sample in the repository has every operator, so that no check is vacuous without the full set.
#[test]
fn the_sample_has_every_operator() {
    let ops = "Abs Add ArgMax Attention AveragePool BatchNormalization Cast CastLike Celu Clip Concat Conv ConvInteger \
        ConvTranspose DequantizeLinear Div DynamicQuantizeLinear Elu Erf Exp Expand Flatten Floor Gather Gelu Gemm \
        GlobalAveragePool GlobalMaxPool GroupNormalization HardSigmoid HardSwish InstanceNormalization IsInf IsNaN \
        LayerNormalization LeakyRelu Log LogSoftmax MatMul MatMulInteger Max MaxPool MeanVarianceNormalization Min Mish \
        Mul Neg PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization ReduceMax ReduceMean ReduceMin \
        ReduceSum Relu Reshape Round Selu Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub SwiGLU Swish Tanh \
        Transpose Unsqueeze Where";
    for op in ops.split_whitespace() {
        assert!(harness::sample().join("onnx_node").join(op).is_dir(), "{op}");
        assert!(!network::given(op).is_empty(), "{op}");
    }
}
