//! Arrays from numpy's `.npz` and `.npy` files.

use half::f16;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

/// The elements of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

/// A dense row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Values,
}

impl Array {
    pub fn f32s(&self) -> Result<&[f32], String> {
        match &self.values {
            Values::F32(v) => Ok(v),
            other => Err(format!("expected f32, found {}", kind(other))),
        }
    }

    pub fn f16s(&self) -> Result<&[f16], String> {
        match &self.values {
            Values::F16(v) => Ok(v),
            other => Err(format!("expected f16, found {}", kind(other))),
        }
    }

    /// Floats of any width, widened.
    pub fn f64s(&self) -> Result<Vec<f64>, String> {
        match &self.values {
            Values::F16(v) => Ok(v.iter().map(|x| x.to_f64()).collect()),
            Values::F32(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Values::F64(v) => Ok(v.clone()),
            other => Err(format!("expected floats, found {}", kind(other))),
        }
    }

    /// Integers of any width that fit an i32; floats, where they are whole.
    pub fn i32s(&self) -> Result<Vec<i32>, String> {
        fn all<T: Copy + std::fmt::Display + TryInto<i32>>(v: &[T]) -> Result<Vec<i32>, String> {
            v.iter().map(|&x| x.try_into().map_err(|_| format!("{x} does not fit an i32"))).collect()
        }
        match &self.values {
            Values::I8(v) => all(v),
            Values::I16(v) => all(v),
            Values::I32(v) => Ok(v.clone()),
            Values::I64(v) => all(v),
            Values::U8(v) => all(v),
            Values::U16(v) => all(v),
            Values::U32(v) => all(v),
            Values::U64(v) => all(v),
            Values::Bool(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Values::F16(_) | Values::F32(_) | Values::F64(_) => {
                let whole = |x: f64| (x as i32 as f64 == x).then_some(x as i32);
                self.f64s()?
                    .into_iter()
                    .map(|x| whole(x).ok_or_else(|| format!("{x} is not whole")))
                    .collect()
            }
        }
    }

    /// What was subtracted from the integers to hold them in the signed domain: 128 for u8.
    pub fn shift(&self) -> i32 {
        if matches!(self.values, Values::U8(_)) { 128 } else { 0 }
    }

    /// int8 in the signed domain, from either kind of byte.
    pub fn bytes(&self) -> Result<Vec<i8>, String> {
        match &self.values {
            Values::I8(v) => Ok(v.clone()),
            Values::U8(v) => Ok(v.iter().map(|&x| (x ^ 0x80) as i8).collect()),
            other => Err(format!("expected bytes, found {}", kind(other))),
        }
    }
}

fn kind(values: &Values) -> &'static str {
    match values {
        Values::F16(_) => "f16",
        Values::F32(_) => "f32",
        Values::F64(_) => "f64",
        Values::I8(_) => "i8",
        Values::I16(_) => "i16",
        Values::I32(_) => "i32",
        Values::I64(_) => "i64",
        Values::U8(_) => "u8",
        Values::U16(_) => "u16",
        Values::U32(_) => "u32",
        Values::U64(_) => "u64",
        Values::Bool(_) => "bool",
    }
}

/// One array from the bytes of a `.npy` file.
pub fn parse_npy(bytes: &[u8]) -> Result<Array, String> {
    let file = npyz::NpyFile::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let shape: Vec<usize> = file.shape().iter().map(|&d| d as usize).collect();
    if file.order() == npyz::Order::Fortran && shape.iter().filter(|&&d| d > 1).count() > 1 {
        return Err(format!("column-major array of shape {shape:?}"));
    }
    let npyz::DType::Plain(kind) = file.dtype() else {
        return Err(format!("structured type {}", file.dtype().descr()));
    };
    let error = |e: std::io::Error| e.to_string();
    let values = match (kind.type_char(), kind.size_field()) {
        (npyz::TypeChar::Float, 2) => Values::F16(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Float, 4) => Values::F32(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Float, 8) => Values::F64(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Int, 1) => Values::I8(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Int, 2) => Values::I16(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Int, 4) => Values::I32(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Int, 8) => Values::I64(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Uint, 1) => Values::U8(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Uint, 2) => Values::U16(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Uint, 4) => Values::U32(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Uint, 8) => Values::U64(file.into_vec().map_err(error)?),
        (npyz::TypeChar::Bool, _) => Values::Bool(file.into_vec().map_err(error)?),
        _ => return Err(format!("type {kind} is not known")),
    };
    Ok(Array { shape, values })
}

/// One array from a `.npy` file.
pub fn read_npy(path: &Path) -> Result<Array, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse_npy(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// All arrays of a `.npz` file, by name. Its members must be stored, not deflated.
pub fn read_npz(path: &Path) -> Result<HashMap<String, Array>, String> {
    let context = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(|e| context(&e))?;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| context(&e))?;
    let mut arrays = HashMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| context(&e))?;
        let name = member.name().trim_end_matches(".npy").to_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(|e| context(&e))?;
        let array = parse_npy(&bytes).map_err(|e| context(&format!("{name}: {e}")))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}
