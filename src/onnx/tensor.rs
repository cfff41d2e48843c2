//! `TensorProto` to [`Tensor`] and back. Nothing is allocated by what a file says about its size, only by what it holds.

use super::proto::{TensorProto, data_type};
use crate::error::{Error, Result};
use crate::tensor::{Data, Element, Tensor};
use half::f16;

/// The element of an ONNX data type; f64 is read as f32.
pub(super) fn element(data_type: i32) -> Option<Element> {
    Some(match data_type {
        data_type::FLOAT | data_type::DOUBLE => Element::F32,
        data_type::FLOAT16 => Element::F16,
        data_type::INT8 => Element::I8,
        data_type::UINT8 => Element::U8,
        data_type::INT32 => Element::I32,
        data_type::INT64 => Element::I64,
        data_type::BOOL => Element::Bool,
        _ => return None,
    })
}

/// The ONNX data type of an element.
pub(super) fn data_type_of(element: Element) -> i32 {
    match element {
        Element::F32 => data_type::FLOAT,
        Element::F16 => data_type::FLOAT16,
        Element::I8 => data_type::INT8,
        Element::U8 => data_type::UINT8,
        Element::I32 => data_type::INT32,
        Element::I64 => data_type::INT64,
        Element::Bool => data_type::BOOL,
    }
}

/// The bytes as little-endian numbers, where they are a whole number of them.
fn split<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let chunks = bytes.chunks_exact(N);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|c| c.try_into().ok().map(&f)).collect()
}

/// Reads a tensor; `name` is for messages.
pub(super) fn read(proto: &TensorProto, name: &str) -> Result<Tensor> {
    let fail = |detail: String| Error::Format { what: format!("tensor `{name}`"), detail };
    if proto.data_location != 0 {
        return Err(fail("its data is in another file".into()));
    }
    let dims: Option<Vec<usize>> = proto.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| fail(format!("negative dimensions {:?}", proto.dims)))?;
    let data = match &proto.raw_data {
        Some(raw) => read_raw(proto.data_type, raw),
        None => read_typed(proto),
    };
    let data = data.ok_or_else(|| match element(proto.data_type) {
        Some(e) => fail(format!("its data is not a whole number of {e:?}, or out of range")),
        None => fail(format!("data type {} is not supported", proto.data_type)),
    })?;
    Tensor::new(dims, data).map_err(|e| fail(e.to_string()))
}

fn read_raw(data_type: i32, raw: &[u8]) -> Option<Data> {
    Some(match data_type {
        data_type::FLOAT => Data::F32(split(raw, f32::from_le_bytes)?),
        data_type::DOUBLE => Data::F32(split(raw, |b| f64::from_le_bytes(b) as f32)?),
        data_type::FLOAT16 => Data::F16(split(raw, f16::from_le_bytes)?),
        data_type::INT8 => Data::I8(split(raw, i8::from_le_bytes)?),
        data_type::UINT8 => Data::U8(raw.to_vec()),
        data_type::INT32 => Data::I32(split(raw, i32::from_le_bytes)?),
        data_type::INT64 => Data::I64(split(raw, i64::from_le_bytes)?),
        data_type::BOOL => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        _ => return None,
    })
}

fn read_typed(proto: &TensorProto) -> Option<Data> {
    // Everything narrower than 32 bits is in `int32_data`; f16 as its bits.
    let narrow = &proto.int32_data;
    Some(match proto.data_type {
        data_type::FLOAT => Data::F32(proto.float_data.clone()),
        data_type::DOUBLE => Data::F32(proto.double_data.iter().map(|&x| x as f32).collect()),
        data_type::FLOAT16 => {
            let bits = |&b: &i32| u16::try_from(b).ok().map(f16::from_bits);
            Data::F16(narrow.iter().map(bits).collect::<Option<_>>()?)
        }
        data_type::INT8 => Data::I8(narrow.iter().map(|&b| b.try_into().ok()).collect::<Option<_>>()?),
        data_type::UINT8 => Data::U8(narrow.iter().map(|&b| b.try_into().ok()).collect::<Option<_>>()?),
        data_type::INT32 => Data::I32(narrow.clone()),
        data_type::INT64 => Data::I64(proto.int64_data.clone()),
        data_type::BOOL => Data::Bool(narrow.iter().map(|&b| b != 0).collect()),
        _ => return None,
    })
}

/// The elements, little-endian.
pub(super) fn bytes(tensor: &Tensor) -> Vec<u8> {
    match tensor.data() {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().map(|&x| x as u8).collect(),
        Data::U8(v) => v.clone(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Bool(v) => v.iter().map(|&x| u8::from(x)).collect(),
    }
}

/// The inverse of [`bytes`]; `None` where they are no whole number of elements.
pub(super) fn from_bytes(element: Element, bytes: &[u8]) -> Option<Data> {
    read_raw(data_type_of(element), bytes)
}

/// Writes a tensor.
pub(super) fn write(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: data_type_of(tensor.element()),
        name: name.into(),
        raw_data: Some(bytes(tensor)),
        ..TensorProto::default()
    }
}

/// The transpose of a matrix.
pub(super) fn transpose(tensor: &Tensor) -> Result<Tensor> {
    tensor.permuted(&[1, 0])
}
