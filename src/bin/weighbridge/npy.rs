//! Arrays in numpy's `.npy` files, gzipped ones too.

use crate::Result;
use half::f16;
use npyz::{AutoSerialize, DType, Deserialize, NpyFile, Order, TypeChar, WriterBuilder};
use std::io::{Read, Write};
use std::path::Path;
use weighbridge::tensor::{Data, Element, Tensor};

/// What a file holds.
#[derive(Debug)]
pub struct Array {
    /// The elements, in the narrowest type of the crate's that has them all; f64 rounded to f32.
    pub tensor: Tensor,
    /// The elements' type in the file.
    pub dtype: String,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Array> {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut bytes = std::fs::read(path).map_err(|e| fail(&e))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).map_err(|e| fail(&e))?;
        bytes = unpacked;
    }
    Ok(parse(&bytes).map_err(|e| fail(&e))?)
}

fn parse(bytes: &[u8]) -> Result<Array> {
    let mut rest = bytes;
    let file = NpyFile::new(&mut rest).map_err(|e| format!("not a .npy file: {e}"))?;
    let (dtype, order) = (file.dtype(), file.order());
    let shape: Vec<usize> =
        file.shape().iter().map(|&n| n.try_into()).collect::<std::result::Result<_, _>>()?;
    let DType::Plain(kind) = &dtype else {
        return Err(format!("elements of type {} are not supported", dtype.descr()).into());
    };
    let size = kind.size_field();
    let name = match kind.type_char() {
        TypeChar::Float => format!("f{}", size * 8),
        TypeChar::Int => format!("i{}", size * 8),
        TypeChar::Uint => format!("u{}", size * 8),
        TypeChar::Bool => "bool".into(),
        _ => dtype.descr(),
    };
    let data = file.into_inner();
    let needed = shape.iter().try_fold(size, |n, &d| n.checked_mul(d as u64));
    if needed != Some(data.len() as u64) {
        let found = data.len();
        return Err(format!("shape {shape:?} of {name} does not fit the {found} bytes that follow").into());
    }
    let data = match name.as_str() {
        "f16" => Data::F16(elements(bytes)?),
        "f32" => Data::F32(elements(bytes)?),
        "f64" => Data::F32(narrowed(elements(bytes)?)?),
        "i8" => Data::I8(elements(bytes)?),
        "i16" => Data::I32(elements::<i16>(bytes)?.into_iter().map(i32::from).collect()),
        "i32" => Data::I32(elements(bytes)?),
        "i64" => Data::I64(elements(bytes)?),
        "u8" => Data::U8(elements(bytes)?),
        "u16" => Data::I32(elements::<u16>(bytes)?.into_iter().map(i32::from).collect()),
        "u32" => Data::I64(elements::<u32>(bytes)?.into_iter().map(i64::from).collect()),
        "bool" => Data::Bool(elements(bytes)?),
        _ => {
            let known = "f16, f32, f64, i8, i16, i32, i64, u8, u16, u32 or bool";
            return Err(format!("elements of type {name} are not supported, expected {known}").into());
        }
    };
    let tensor = match order {
        Order::C => Tensor::new(shape, data)?,
        // The first index is innermost.
        Order::Fortran => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            Tensor::new(reversed, data)?.permuted(&(0..shape.len()).rev().collect::<Vec<_>>())?
        }
    };
    Ok(Array { tensor, dtype: name })
}

fn elements<T: Deserialize>(bytes: &[u8]) -> Result<Vec<T>> {
    Ok(NpyFile::new(bytes)?.into_vec()?)
}

fn narrowed(wide: Vec<f64>) -> Result<Vec<f32>> {
    let each = |(i, x): (usize, f64)| match x as f32 {
        y if y.is_infinite() && x.is_finite() => Err(format!("element {i} is {x:e}, beyond f32").into()),
        y => Ok(y),
    };
    wide.into_iter().enumerate().map(each).collect()
}

/// The bytes of a file, gzipped where its name ends with `.gz`.
pub fn bytes(tensor: &Tensor, path: &Path) -> Result<Vec<u8>> {
    let shape: Vec<u64> = tensor.shape().iter().map(|&n| n as u64).collect();
    fn plain<T: AutoSerialize + Copy>(shape: &[u64], data: &[T]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd()?;
        writer.extend(data.iter().copied())?;
        writer.finish()?;
        Ok(bytes)
    }
    let bytes = match tensor.data() {
        Data::F32(v) => plain(&shape, v),
        Data::F16(v) => plain(&shape, v),
        Data::I8(v) => plain(&shape, v),
        Data::U8(v) => plain(&shape, v),
        Data::I32(v) => plain(&shape, v),
        Data::I64(v) => plain(&shape, v),
        Data::Bool(v) => plain(&shape, v),
    }?;
    if path.extension().is_none_or(|e| e != "gz") {
        return Ok(bytes);
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&bytes)?;
    Ok(packed.finish()?)
}

/// An element type as people write it.
pub fn name(element: Element) -> String {
    format!("{element:?}").to_lowercase()
}

impl Array {
    /// The elements in another type. No element may change: floats stay floats and whole numbers may become any type
    /// that has them.
    pub fn converted(self, to: Element) -> Result<Tensor> {
        let from = self.tensor.element();
        if from == to {
            return Ok(self.tensor);
        }
        let (dtype, wanted) = (&self.dtype, name(to));
        let shape = self.tensor.shape().to_vec();
        let lost = |i: usize, x: &dyn std::fmt::Display| -> Box<dyn std::error::Error> {
            format!("the file's elements are {dtype}, the model takes {wanted}: element {i} is {x}, which {wanted} does not have").into()
        };
        let whole: Vec<i64> = match self.tensor.data() {
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I64(v) => v.clone(),
            Data::Bool(v) => v.iter().map(|&x| x.into()).collect(),
            Data::F32(_) | Data::F16(_) => {
                let wide = self.tensor.to_f32();
                let data = match to {
                    Element::F32 => Data::F32(wide),
                    Element::F16 => {
                        let narrow = |(i, &x): (usize, &f32)| match f16::from_f32(x) {
                            y if y.to_f32() == x || x.is_nan() => Ok(y),
                            _ => Err(lost(i, &x)),
                        };
                        Data::F16(wide.iter().enumerate().map(narrow).collect::<Result<_>>()?)
                    }
                    _ => {
                        return Err(
                            format!("the file's elements are {dtype}, but the model takes {wanted}").into()
                        );
                    }
                };
                return Ok(Tensor::new(shape, data)?);
            }
        };
        fn all<T>(v: &[i64], to: impl Fn(i64) -> Option<T>) -> std::result::Result<Vec<T>, (usize, i64)> {
            v.iter().enumerate().map(|(i, &x)| to(x).ok_or((i, x))).collect()
        }
        let data = match to {
            Element::I8 => all(&whole, |x| x.try_into().ok()).map(Data::I8),
            Element::U8 => all(&whole, |x| x.try_into().ok()).map(Data::U8),
            Element::I32 => all(&whole, |x| x.try_into().ok()).map(Data::I32),
            Element::I64 => Ok(Data::I64(whole)),
            Element::Bool => all(&whole, |x| (0..=1).contains(&x).then_some(x == 1)).map(Data::Bool),
            Element::F32 => {
                all(&whole, |x| Some(x as f32).filter(|&y| y as i128 == i128::from(x))).map(Data::F32)
            }
            Element::F16 => all(&whole, |x| {
                Some(f16::from_f32(x as f32)).filter(|y| y.is_finite() && y.to_f32() as i128 == i128::from(x))
            })
            .map(Data::F16),
        };
        Ok(Tensor::new(shape, data.map_err(|(i, x)| lost(i, &x))?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(data: Data) -> Array {
        let tensor = Tensor::new([data.len()], data).unwrap();
        Array { dtype: name(tensor.element()), tensor }
    }

    #[test]
    fn every_type_comes_back() {
        for data in [
            Data::F32(vec![0.5, f32::INFINITY]),
            Data::F16(vec![f16::ONE, f16::MAX]),
            Data::I8(vec![-128, 127]),
            Data::U8(vec![0, 255]),
            Data::I32(vec![i32::MIN, 1]),
            Data::I64(vec![i64::MAX, -1]),
            Data::Bool(vec![true, false]),
        ] {
            for (shape, path) in [(vec![2, 1], "a.npy"), (vec![2], "a.npy.gz")] {
                let tensor = Tensor::new(shape, data.clone()).unwrap();
                let bytes = bytes(&tensor, Path::new(path)).unwrap();
                let dir = std::env::temp_dir().join(format!("weighbridge-npy-{}-{path}", std::process::id()));
                std::fs::write(&dir, bytes).unwrap();
                let back = read(&dir).unwrap();
                std::fs::remove_file(&dir).unwrap();
                assert_eq!(back.tensor, tensor);
                assert_eq!(back.dtype, name(tensor.element()));
            }
        }
        let scalar = Tensor::f32([], [3.0]).unwrap();
        assert_eq!(parse(&bytes(&scalar, Path::new("a")).unwrap()).unwrap().tensor, scalar);
        let none = Tensor::f32([0, 3], []).unwrap();
        assert_eq!(parse(&bytes(&none, Path::new("a")).unwrap()).unwrap().tensor, none);
    }

    /// A file by hand.
    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn other_orders_and_types_are_understood_or_refused() {
        let columns = file("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        let tensor = parse(&columns).unwrap().tensor;
        assert_eq!(tensor, Tensor::new([2, 3], Data::U8(vec![1, 2, 3, 4, 5, 6])).unwrap());
        let big = file(">i2", "False", "(1,)", &[1, 0]);
        assert_eq!(parse(&big).unwrap().tensor.data(), &Data::I32(vec![256]));
        let wide = file("<f8", "False", "(1,)", &1e-3f64.to_le_bytes());
        assert_eq!(parse(&wide).unwrap().tensor.data(), &Data::F32(vec![1e-3]));

        let refused = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        let e = refused(&file("<f8", "False", "(1,)", &1e300f64.to_le_bytes()));
        assert_eq!(e, "element 0 is 1e300, beyond f32");
        let e = refused(&file("<f4", "False", "(2,)", &[0; 4]));
        assert_eq!(e, "shape [2] of f32 does not fit the 4 bytes that follow");
        let e = refused(&file("<c8", "False", "(1,)", &[0; 8]));
        assert!(e.contains("are not supported, expected f16,"), "{e}");
        assert!(refused(b"not numpy at all").starts_with("not a .npy file"));
        assert!(refused(&columns[..20]).starts_with("not a .npy file"));
    }

    #[test]
    fn conversions_keep_every_element() {
        let to = |data, element| array(data).converted(element).map(|t| t.data().clone());
        assert_eq!(to(Data::U8(vec![7]), Element::F32).unwrap(), Data::F32(vec![7.0]));
        assert_eq!(to(Data::I64(vec![-3]), Element::I32).unwrap(), Data::I32(vec![-3]));
        assert_eq!(to(Data::I64(vec![0, 1]), Element::Bool).unwrap(), Data::Bool(vec![false, true]));
        assert_eq!(to(Data::F32(vec![0.5]), Element::F16).unwrap(), Data::F16(vec![f16::from_f32(0.5)]));
        for (data, element, message) in [
            (Data::I64(vec![1, 70_000]), Element::I8, "i64, the model takes i8: element 1 is 70000"),
            (Data::I64(vec![(1 << 24) + 1]), Element::F32, "element 0 is 16777217"),
            (Data::I64(vec![i64::MAX]), Element::F32, "element 0 is 9223372036854775807"),
            (Data::F32(vec![0.1]), Element::F16, "f32, the model takes f16: element 0 is 0.1"),
            (Data::F32(vec![1.0]), Element::I64, "elements are f32, but the model takes i64"),
            (Data::U8(vec![2]), Element::Bool, "element 0 is 2"),
        ] {
            let e = to(data, element).unwrap_err().to_string();
            assert!(e.contains(message), "{e}");
        }
    }
}
