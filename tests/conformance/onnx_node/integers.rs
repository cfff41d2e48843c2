//! The integer operators, by each backend. Their cases are put into the form of ONNX Runtime's families.

use super::case::{Named, NodeCase, Set};
use super::{network, proto};
use crate::backend::Backend;
use crate::common::npz::{Array, Values};
use crate::harness::{Case, Run, Stop};
use crate::{compare, conv, linear, quantize};
use serde_json::{Value, json};
use std::collections::HashMap;
use weighbridge::graph::Model;

type Check = fn(&Case, &dyn Backend) -> Run<()>;

/// The check of an integer operator.
pub fn check(op: &str) -> Option<Check> {
    Some(match op {
        "QuantizeLinear" => quantize::quantize_linear,
        "DequantizeLinear" => dequantize_linear,
        "DynamicQuantizeLinear" => quantize::dynamic_quantize_linear,
        "MatMulInteger" => linear::mat_mul_integer,
        "ConvInteger" => conv::conv_integer,
        "QLinearMatMul" => linear::qlinear_mat_mul,
        "QLinearConv" => conv::qlinear_conv,
        _ => return None,
    })
}

/// What the checks call an operator's inputs and outputs, by position.
fn names(op: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match op {
        "QuantizeLinear" | "DequantizeLinear" => (&["x", "scale", "zero_point"], &["y"]),
        "DynamicQuantizeLinear" => (&["x"], &["y", "y_scale", "y_zero_point"]),
        "MatMulInteger" => (&["a", "b", "a_zero_point", "b_zero_point"], &["y"]),
        "ConvInteger" => (&["x", "w", "x_zero_point", "w_zero_point"], &["y"]),
        "QLinearMatMul" => (
            &["a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point"],
            &["y"],
        ),
        _ => (
            &[
                "x",
                "x_scale",
                "x_zero_point",
                "w",
                "w_scale",
                "w_zero_point",
                "y_scale",
                "y_zero_point",
                "bias",
            ],
            &["y"],
        ),
    }
}

/// Whether there is a kernel for elements of this type in this place. Scales of f16 are widened, exactly.
fn supported(name: &str, onnx_type: &str) -> bool {
    match onnx_type {
        "float" | "int8" | "uint8" => true,
        "float16" => name.ends_with("scale"),
        "int32" => matches!(name, "y" | "bias"),
        _ => false,
    }
}

/// The case with the names and parameters of the families. One that is of other types than there are kernels for must
/// be refused by the importer too.
pub fn decode(case: &NodeCase, set: &Set) -> Run<Case> {
    let (inputs, outputs) = names(&case.op);
    let mut found: Vec<(&str, &Named)> = Vec::new();
    let mut given = set.inputs.iter();
    for (place, input) in case.node_inputs.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
        let name = inputs.get(place).ok_or_else(|| format!("{} has no input {place}", case.op))?;
        found.push((*name, given.next().ok_or_else(|| format!("there is no array of `{input}`"))?));
    }
    found.extend(outputs.iter().copied().zip(&set.outputs));
    if let Some((name, value)) = found.iter().find(|(name, v)| !supported(name, &v.onnx_type)) {
        let model = Model::from_onnx_bytes(&proto::model(case, set, 1));
        return Err(match model {
            Err(error) => network::refusal(case, error),
            Ok(_) => Stop::Failed(format!("imported, though `{name}` is of {}", value.onnx_type)),
        });
    }
    let widened = |array: &Array| match &array.values {
        Values::F16(v) => {
            let values = Values::F32(v.iter().map(|x| x.to_f32()).collect());
            Array { shape: array.shape.clone(), values }
        }
        _ => array.clone(),
    };
    let tensors: HashMap<String, Array> =
        found.into_iter().map(|(name, value)| (name.to_owned(), widened(&value.array))).collect();
    Ok(Case::new(params(case, &tensors)?, tensors))
}

/// The attributes by the families' names, with ONNX's defaults.
fn params(case: &NodeCase, tensors: &HashMap<String, Array>) -> Result<Value, String> {
    let mut params = Value::Object(case.attributes.clone());
    if matches!(case.op.as_str(), "QuantizeLinear" | "DequantizeLinear") {
        params["axis"] = json!(case.integer("axis").unwrap_or(1));
    }
    if let Some(pads) = case.attributes.get("pads") {
        params["pad"] = pads.clone();
    }
    let auto = case.attributes.get("auto_pad").and_then(Value::as_str).unwrap_or("NOTSET");
    if let ("SAME_UPPER" | "SAME_LOWER", Some(x), Some(w)) = (auto, tensors.get("x"), tensors.get("w")) {
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for (axis, (&n, &k)) in x.shape[2..].iter().zip(&w.shape[2..]).enumerate() {
            let of = |name: &str| case.attributes.get(name).and_then(|v| v[axis].as_u64()).unwrap_or(1);
            let (n, stride) = (n as u64, of("strides"));
            let span = (k as u64 - 1) * of("dilations") + 1;
            let total = ((n.div_ceil(stride) - 1) * stride + span).saturating_sub(n);
            let (less, more) = (total / 2, total - total / 2);
            let upper = auto == "SAME_UPPER";
            begin.push(if upper { less } else { more });
            end.push(if upper { more } else { less });
        }
        params["pad"] = json!([begin, end].concat());
    } else if auto == "VALID" {
        params["pad"] = json!(0);
    }
    Ok(params)
}

/// ONNX `DequantizeLinear`.
fn dequantize_linear(case: &Case, backend: &dyn Backend) -> Run<()> {
    let (x, scale, y) = (case.get("x")?, case.get("scale")?, case.get("y")?);
    let zeros = case.find("zero_point").map_or(Ok(vec![0]), Array::i32s)?;
    let params = quantize::params(scale.f32s()?, &zeros, x.shift(), quantize::full(x.shift()))?;
    let (axis, params) = quantize::linear_axis(case, &x.shape, &scale.shape, params)?;
    match &y.values {
        Values::F32(expected) => quantize::dequantized("y", backend, &x.bytes()?, axis, &params, expected),
        _ => {
            // In f16, one rounding more.
            let got = backend.dequantize(&x.bytes()?, axis, &params)?;
            compare::each("y", &got, &y.f64s()?, |_, a, b| {
                (f64::from(a) - b).abs() > b.abs() * f64::powi(2.0, -10)
            })
        }
    }
}
