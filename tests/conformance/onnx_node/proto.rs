//! A model of one node as the bytes of an ONNX file, written with the few rules of protobuf's wire format: the crate's own
//! writer would hide what its reader gets wrong.

use super::case::{Named, NodeCase, Set};
use serde_json::Value;

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A field of wire type 0.
    fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// A field of wire type 5.
    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A field of wire type 2: text, bytes, a message.
    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn each<T>(self, items: impl IntoIterator<Item = T>, add: impl Fn(Self, T) -> Self) -> Self {
        items.into_iter().fold(self, add)
    }
}

/// Number of an ONNX data type.
fn data_type(name: &str) -> i64 {
    const NAMES: [&str; 27] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
        "float8e8m0",
        "uint2",
        "int2",
    ];
    // One that is not listed is some number that no reader knows.
    NAMES.iter().position(|n| *n == name).map_or(99, |i| i as i64)
}

/// `AttributeProto`. Attributes that are floats by definition may look like whole numbers in the case's file.
fn attribute(name: &str, value: &Value) -> Message {
    let m = Message::default().bytes(1, name.as_bytes());
    let float = |v: &Value| v.as_f64().unwrap_or_default() as f32;
    let int = |v: &Value| v.as_i64().unwrap_or_default();
    let always_float = matches!(name, "alpha" | "beta" | "epsilon" | "gamma" | "momentum");
    match value {
        Value::String(s) => m.bytes(4, s.as_bytes()).int(20, 3),
        Value::Array(list) if list.iter().all(Value::is_i64) => {
            m.each(list, |m, v| m.int(8, int(v))).int(20, 7)
        }
        Value::Array(list) => m.each(list, |m, v| m.float(7, float(v))).int(20, 6),
        v if v.is_i64() && !always_float => m.int(3, int(v)).int(20, 2),
        v => m.float(2, float(v)).int(20, 1),
    }
}

/// `ValueInfoProto`.
fn value_info(value: &Named) -> Message {
    let dim = |m: Message, &d: &usize| m.bytes(1, &Message::default().int(1, d as i64).0);
    let shape = Message::default().each(&value.array.shape, dim);
    let tensor = Message::default().int(1, data_type(&value.onnx_type)).bytes(2, &shape.0);
    let r#type = Message::default().bytes(1, &tensor.0);
    Message::default().bytes(1, value.name.as_bytes()).bytes(2, &r#type.0)
}

/// `TensorProto`.
fn initializer(value: &Named) -> Message {
    Message::default()
        .each(&value.array.shape, |m, &d| m.int(1, d as i64))
        .int(2, data_type(&value.onnx_type))
        .bytes(8, value.name.as_bytes())
        .bytes(9, &value.bytes())
}

/// `ModelProto`: the case's node, the first `given` of its inputs being the graph's and the rest initializers.
pub fn model(case: &NodeCase, set: &Set, given: usize) -> Vec<u8> {
    let node = Message::default()
        .each(&case.node_inputs, |m, name| m.bytes(1, name.as_bytes()))
        .each(&case.node_outputs, |m, name| m.bytes(2, name.as_bytes()))
        .bytes(3, case.name.as_bytes())
        .bytes(4, case.op.as_bytes())
        .each(&case.attributes, |m, (name, value)| m.bytes(5, &attribute(name, value).0));
    let (inputs, constants) = set.inputs.split_at(given.min(set.inputs.len()));
    let graph = Message::default()
        .bytes(1, &node.0)
        .bytes(2, b"one node")
        .each(constants, |m, value| m.bytes(5, &initializer(value).0))
        .each(inputs, |m, value| m.bytes(11, &value_info(value).0))
        .each(&set.outputs, |m, value| m.bytes(12, &value_info(value).0));
    let opset = Message::default().bytes(1, b"").int(2, case.opset);
    Message::default().int(1, 10).bytes(7, &graph.0).bytes(8, &opset.0).0
}
