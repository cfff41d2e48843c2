//! Just enough protobuf to write files that no honest exporter would.
#![allow(dead_code)]

pub fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

pub fn int(field: u64, n: i64) -> Vec<u8> {
    [varint(field << 3), varint(n as u64)].concat()
}

pub fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

pub fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = inputs.iter().map(|i| bytes(1, i)).collect();
    all.extend(outputs.iter().map(|o| bytes(2, o)));
    all.extend([bytes(3, name), bytes(4, op)]);
    all.extend(attributes.iter().map(|a| bytes(5, a)));
    bytes(1, all.concat())
}

pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|&v| int(8, v)).collect();
    [bytes(1, name), values.concat(), int(20, 7)].concat()
}

pub fn int_attribute(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name), int(3, value), int(20, 2)].concat()
}

pub fn string(name: &str, value: &str) -> Vec<u8> {
    [bytes(1, name), bytes(4, value), int(20, 3)].concat()
}

/// An f32 initializer.
pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims: Vec<Vec<u8>> = dims.iter().map(|&d| int(1, d)).collect();
    bytes(5, [dims.concat(), int(2, 1), bytes(8, name), bytes(9, raw)].concat())
}

/// An i64 initializer.
pub fn longs(name: &str, data: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes(5, [int(1, data.len() as i64), int(2, 7), bytes(8, name), bytes(9, raw)].concat())
}

/// An f32 input (field 11) or output (12); -1 is a symbolic batch.
pub fn value(field: u64, name: &str, dims: &[i64]) -> Vec<u8> {
    let dim = |&d: &i64| bytes(1, if d == -1 { bytes(2, "batch") } else { int(1, d) });
    let shape: Vec<Vec<u8>> = dims.iter().map(dim).collect();
    let tensor = [int(1, 1), bytes(2, shape.concat())].concat();
    bytes(field, [bytes(1, name), bytes(2, bytes(1, tensor))].concat())
}

pub fn model(opset: i64, graph: &[Vec<u8>]) -> Vec<u8> {
    [int(1, 8), bytes(7, graph.concat()), bytes(8, int(2, opset))].concat()
}

/// A float attribute.
pub fn float(name: &str, value: f32) -> Vec<u8> {
    [bytes(1, name), vec![0x15], value.to_le_bytes().to_vec(), int(20, 1)].concat()
}

/// An input (field 11) or output (12) of any data type; -1 is a symbolic batch.
pub fn typed(field: u64, name: &str, data_type: i64, dims: &[i64]) -> Vec<u8> {
    let dim = |&d: &i64| bytes(1, if d == -1 { bytes(2, "batch") } else { int(1, d) });
    let shape: Vec<Vec<u8>> = dims.iter().map(dim).collect();
    let tensor = [int(1, data_type), bytes(2, shape.concat())].concat();
    bytes(field, [bytes(1, name), bytes(2, bytes(1, tensor))].concat())
}

/// An f32 initializer whose data is in another file.
pub fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> = dims.iter().map(|&d| int(1, d)).collect();
    let entry = |(key, value): &(&str, &str)| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let entries: Vec<Vec<u8>> = entries.iter().map(entry).collect();
    bytes(5, [dims.concat(), int(2, 1), bytes(8, name), entries.concat(), int(14, 1)].concat())
}
