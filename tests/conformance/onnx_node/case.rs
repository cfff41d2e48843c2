//! A case as the files describe it.

use crate::common::npz::{Array, Values, read_npy};
use serde_json::{Map, Value};
use std::path::Path;
use weighbridge::tensor::{Data, Tensor};

/// An input or output, with the type that ONNX calls it by; the array may be stored as another.
pub struct Named {
    pub name: String,
    pub onnx_type: String,
    pub array: Array,
}

/// Inputs and what they should give.
pub struct Set {
    pub inputs: Vec<Named>,
    pub outputs: Vec<Named>,
}

/// `case.json` and its arrays.
pub struct NodeCase {
    pub name: String,
    pub op: String,
    pub opset: i64,
    /// By name, an empty one where an optional input is left out.
    pub node_inputs: Vec<String>,
    pub node_outputs: Vec<String>,
    pub attributes: Map<String, Value>,
    pub rtol: f64,
    pub atol: f64,
    pub sets: Vec<Set>,
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    value[key].as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` is {}, not text", value[key]))
}

fn list<T>(value: &Value, key: &str, f: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    value[key].as_array().ok_or_else(|| format!("`{key}` is no list"))?.iter().map(f).collect()
}

fn named(directory: &Path, value: &Value) -> Result<Named, String> {
    let array = read_npy(&directory.join(text(value, "file")?))?;
    Ok(Named { name: text(value, "name")?, onnx_type: text(value, "onnx_dtype")?, array })
}

impl NodeCase {
    pub fn read(directory: &Path) -> Result<Self, String> {
        let path = directory.join("case.json");
        let context = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let bytes = std::fs::read(&path).map_err(|e| context(&e))?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| context(&e))?;
        let name = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| format!("{v} is no name"));
        let number = |key: &str| json[key].as_f64().ok_or_else(|| format!("`{key}` is no number"));
        let set = |s: &Value| {
            let read = |key: &str| list(s, key, |v| named(directory, v));
            Ok(Set { inputs: read("inputs")?, outputs: read("outputs")? })
        };
        let opset = [&json["opset"]["ai.onnx"], &json["opset"][""], &json["opset"]];
        Ok(Self {
            name: text(&json, "name")?,
            op: text(&json, "op")?,
            opset: opset.iter().find_map(|v| v.as_i64()).ok_or("`opset` is no number")?,
            node_inputs: list(&json, "node_inputs", name)?,
            node_outputs: list(&json, "node_outputs", name)?,
            attributes: json["attributes"].as_object().cloned().unwrap_or_default(),
            rtol: number("rtol")?,
            atol: number("atol")?,
            sets: list(&json, "data_sets", set)?,
        })
    }

    pub fn integer(&self, attribute: &str) -> Option<i64> {
        self.attributes.get(attribute)?.as_i64()
    }
}

impl Named {
    /// As a tensor of the crate; `None` for types that it does not have. As in its importer, f64 becomes f32.
    pub fn tensor(&self) -> Option<Tensor> {
        let data = match (self.onnx_type.as_str(), &self.array.values) {
            ("float", Values::F32(v)) => Data::F32(v.clone()),
            ("double", Values::F64(v)) => Data::F32(v.iter().map(|&x| x as f32).collect()),
            ("float16", Values::F16(v)) => Data::F16(v.clone()),
            ("int8", Values::I8(v)) => Data::I8(v.clone()),
            ("uint8", Values::U8(v)) => Data::U8(v.clone()),
            ("int32", Values::I32(v)) => Data::I32(v.clone()),
            ("int64", Values::I64(v)) => Data::I64(v.clone()),
            ("bool", Values::Bool(v)) => Data::Bool(v.clone()),
            _ => return None,
        };
        Tensor::new(self.array.shape.clone(), data).ok()
    }

    /// The elements, little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.array.values {
            Values::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I8(v) => v.iter().map(|&x| x as u8).collect(),
            Values::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::U8(v) => v.clone(),
            Values::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::Bool(v) => v.iter().map(|&x| x.into()).collect(),
        }
    }
}
