//! Operators of float networks, through the importer and a session.

use super::case::{Named, NodeCase, Set};
use super::proto;
use crate::common::gpu::gpu;
use crate::harness::{Run, Stop};
use weighbridge::graph::Model;
use weighbridge::tensor::{Element, Tensor};
use weighbridge::{Error, Session};

/// How many of an operator's inputs a caller gives, the others being constants of the file: tensors are given, and what says
/// how they are shaped or quantized is in the file. Two numbers where it can be both ways; more than there are means all.
pub fn given(op: &str) -> &'static [usize] {
    match op {
        "Cast" | "Conv" | "ConvInteger" | "ConvTranspose" | "DequantizeLinear" | "Expand" | "Gemm"
        | "MatMulInteger" | "BatchNormalization" | "Pad" | "QLinearConv" | "QLinearMatMul"
        | "QuantizeLinear" | "Reshape" | "Resize" | "Tile" | "Trilu" | "CumSum" | "Slice" | "Split"
        | "Squeeze" | "Unsqueeze" => &[1],
        "Clip"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "RMSNormalization" => &[1, usize::MAX],
        // Where all are constants, so is the output.
        "Range" | "ConstantOfShape" => &[0],
        "Gather" | "MatMul" => &[2, 1],
        _ if op.starts_with("Reduce") => &[1],
        _ => &[usize::MAX],
    }
}

/// An error as the answer to a case that is not supported: it must say which node, and of which operator set.
pub fn refusal(case: &NodeCase, error: Error) -> Stop {
    match &error {
        Error::Node { node, opset, .. } if !node.is_empty() && *opset == case.opset => {
            Stop::LeftOut(error.to_string())
        }
        // The device's fault, not the model's.
        Error::Feature { .. } | Error::Limit { .. } => Stop::LeftOut(error.to_string()),
        _ => Stop::Failed(format!("an error that does not name the node: {error}")),
    }
}

pub fn check(case: &NodeCase, set: &Set, given: usize) -> Run<()> {
    let refused = |error| refusal(case, error);
    let model = Model::from_onnx_bytes(&proto::model(case, set, given)).map_err(refused)?;
    let tensor = |n: &Named| {
        let unknown = || Stop::Failed(format!("imported, though `{}` is of {}", n.name, n.onnx_type));
        n.tensor().ok_or_else(unknown)
    };
    let inputs: Vec<(&str, Tensor)> = set.inputs[..given.min(set.inputs.len())]
        .iter()
        .map(|n| Ok((n.name.as_str(), tensor(n)?)))
        .collect::<Run<_>>()?;
    let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
    let inferred = model.infer_shapes(&shapes).map_err(refused)?;
    for (id, expected) in model.outputs().iter().zip(&set.outputs) {
        let shape = &inferred[id.index()];
        if *shape != expected.array.shape {
            let detail =
                format!("`{}` is inferred as {shape:?}, not {:?}", expected.name, expected.array.shape);
            return Err(Stop::Failed(detail));
        }
        let element = model.value(*id).element;
        if tensor(expected)?.element() != element {
            return Err(Stop::Failed(format!(
                "`{}` is of {element:?}, not {}",
                expected.name, expected.onnx_type
            )));
        }
    }
    // Without a device this is as far as it goes.
    let Some(gpu) = gpu() else { return Ok(()) };
    let session = Session::new(gpu, &model).map_err(refused)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
    let outputs = pollster::block_on(session.run(&inputs)).map_err(refused)?;
    if outputs.len() != set.outputs.len() {
        return Err(Stop::Failed(format!("{} outputs, not {}", outputs.len(), set.outputs.len())));
    }
    outputs.iter().zip(&set.outputs).try_for_each(|(got, expected)| {
        compare(&expected.name, got, &tensor(expected)?, case.rtol, case.atol)
    })
}

/// Shape, type, and each element within the tolerance; integers exactly.
fn compare(name: &str, got: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> Run<()> {
    let kind = |t: &Tensor| format!("{:?} of {:?}", t.shape(), t.element());
    if kind(got) != kind(expected) {
        return Err(Stop::Failed(format!("`{name}` is {}, not {}", kind(got), kind(expected))));
    }
    let float = matches!(got.element(), Element::F32 | Element::F16);
    let (rtol, atol) = if float { (rtol, atol) } else { (0.0, 0.0) };
    crate::compare::each(name, &got.to_f32(), &expected.to_f32(), |_, a, b| {
        let (a, b) = (f64::from(a), f64::from(b));
        let same = a == b || (a.is_nan() && b.is_nan());
        let near = (a - b).abs() <= atol + rtol * b.abs();
        !(same || b.is_finite() && near)
    })
}
