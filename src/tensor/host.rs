//! Tensors in host memory.

use crate::error::{Error, Result};
use crate::tensor::Element;
use half::f16;

/// The elements of a [`Tensor`], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::F16(v) => v.len(),
            Data::I8(v) => v.len(),
            Data::U8(v) => v.len(),
            Data::I32(v) => v.len(),
            Data::I64(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense row-major tensor in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shape's product is not the number of elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Result<Self> {
        let shape = shape.into();
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if len != Some(data.len()) {
            return Err(Error::Shape {
                op: "tensor",
                detail: format!("shape {shape:?} does not hold {} elements", data.len()),
            });
        }
        Ok(Self { shape, data })
    }

    /// A tensor of f32. See [`Tensor::new`].
    ///
    /// # Errors
    /// [`Error::Shape`] where the shape's product is not the number of elements.
    pub fn f32(shape: impl Into<Vec<usize>>, data: impl Into<Vec<f32>>) -> Result<Self> {
        Self::new(shape, Data::F32(data.into()))
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The type of the elements.
    pub fn element(&self) -> Element {
        match self.data {
            Data::F32(_) => Element::F32,
            Data::F16(_) => Element::F16,
            Data::I8(_) => Element::I8,
            Data::U8(_) => Element::U8,
            Data::I32(_) => Element::I32,
            Data::I64(_) => Element::I64,
            Data::Bool(_) => Element::Bool,
        }
    }

    /// The elements as f32, where they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(v) => Some(v),
            _ => None,
        }
    }

    /// The elements converted to f32 (exact for f16, bytes and truth values; rounded for wide integers).
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Data::F32(v) => v.clone(),
            Data::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x as f32).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f32).collect(),
            Data::Bool(v) => v.iter().map(|&x| f32::from(u8::from(x))).collect(),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of elements differ.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(shape, self.data)
    }

    /// A copy with the dimensions in another order: `order[i]` is the old place of the new dimension `i`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `order` is not a permutation of the dimensions.
    pub fn permuted(&self, order: &[usize]) -> Result<Self> {
        let old = &self.shape;
        if order.len() != old.len() || !(0..old.len()).all(|d| order.contains(&d)) {
            let detail = format!("{order:?} is not an order of the dimensions of {old:?}");
            return Err(Error::Shape { op: "permute", detail });
        }
        let shape: Vec<usize> = order.iter().map(|&d| old[d]).collect();
        // Beside a dimension of 0 the others may be of any size: what follows would overflow.
        if self.is_empty() {
            return Self::new(shape, self.data.clone());
        }
        let mut strides = vec![1; old.len()];
        for i in (0..old.len().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1] * old[i + 1];
        }
        let steps: Vec<usize> = order.iter().map(|&d| strides[d]).collect();
        let indices = (0..self.len()).map(|mut i| {
            let mut at = 0;
            for (&len, &step) in shape.iter().zip(&steps).rev() {
                at += i % len * step;
                i /= len;
            }
            at
        });
        let data = match &self.data {
            Data::F32(v) => Data::F32(indices.map(|i| v[i]).collect()),
            Data::F16(v) => Data::F16(indices.map(|i| v[i]).collect()),
            Data::I8(v) => Data::I8(indices.map(|i| v[i]).collect()),
            Data::U8(v) => Data::U8(indices.map(|i| v[i]).collect()),
            Data::I32(v) => Data::I32(indices.map(|i| v[i]).collect()),
            Data::I64(v) => Data::I64(indices.map(|i| v[i]).collect()),
            Data::Bool(v) => Data::Bool(indices.map(|i| v[i]).collect()),
        };
        Self::new(shape, data)
    }

    /// The device image: row-major, each innermost row padded with zeros to whole `u32` words, u8 shifted to i8.
    ///
    /// # Errors
    /// [`Error::Argument`] for a 64-bit integer that does not fit 32 bits.
    pub fn to_device_words(&self) -> Result<Vec<u32>> {
        let columns = self.shape.last().copied().unwrap_or(1);
        fn rows<T: Copy>(v: &[T], columns: usize, per_word: usize, pack: impl Fn(&[T]) -> u32) -> Vec<u32> {
            if columns == 0 {
                return Vec::new();
            }
            v.chunks(columns).flat_map(|row| row.chunks(per_word).map(&pack)).collect()
        }
        Ok(match &self.data {
            Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
            Data::I32(v) => v.iter().map(|&x| x as u32).collect(),
            Data::F16(v) => rows(v, columns, 2, |c| {
                c.iter().enumerate().fold(0, |w, (i, x)| w | u32::from(x.to_bits()) << (16 * i))
            }),
            Data::I8(v) => rows(v, columns, 4, |c| {
                c.iter().enumerate().fold(0, |w, (i, &x)| w | u32::from(x as u8) << (8 * i))
            }),
            Data::U8(v) => rows(v, columns, 4, |c| {
                c.iter().enumerate().fold(0, |w, (i, &x)| w | u32::from(x ^ 0x80) << (8 * i))
            }),
            Data::Bool(v) => v.iter().map(|&x| u32::from(x)).collect(),
            Data::I64(v) => {
                let narrow = |(i, &x): (usize, &i64)| {
                    i32::try_from(x).map(|x| x as u32).map_err(|_| Error::Argument {
                        op: "upload",
                        detail: format!("element {i} is {x}, but a device holds integers in 32 bits"),
                    })
                };
                v.iter().enumerate().map(narrow).collect::<Result<_>>()?
            }
        })
    }

    /// The inverse of [`Tensor::to_device_words`].
    ///
    /// # Errors
    /// [`Error::Shape`] where there are fewer words than the shape needs.
    pub fn from_device_words(shape: &[usize], element: Element, words: &[u32]) -> Result<Self> {
        let columns = shape.last().copied().unwrap_or(1);
        let outer: usize = shape.iter().rev().skip(1).product();
        let pitch = element.words(columns);
        if words.len() < outer * pitch {
            return Err(Error::Shape {
                op: "read back",
                detail: format!("shape {shape:?} needs {} words, found {}", outer * pitch, words.len()),
            });
        }
        let each = |r: usize, c: usize| words[r * pitch + c / element.per_word()];
        let index = (0..outer).flat_map(|r| (0..columns).map(move |c| (r, c)));
        let byte = |(r, c): (usize, usize)| (each(r, c) >> (8 * (c % 4))) as u8;
        let data = match element {
            Element::F32 => Data::F32(index.map(|(r, c)| f32::from_bits(each(r, c))).collect()),
            Element::I32 => Data::I32(index.map(|(r, c)| each(r, c) as i32).collect()),
            Element::F16 => {
                Data::F16(index.map(|(r, c)| f16::from_bits((each(r, c) >> (16 * (c % 2))) as u16)).collect())
            }
            Element::I8 => Data::I8(index.map(|i| byte(i) as i8).collect()),
            Element::U8 => Data::U8(index.map(|i| byte(i) ^ 0x80).collect()),
            Element::I64 => Data::I64(index.map(|(r, c)| i64::from(each(r, c) as i32)).collect()),
            Element::Bool => Data::Bool(index.map(|(r, c)| each(r, c) != 0).collect()),
        };
        Self::new(shape, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_in_another_order() {
        let t = Tensor::f32([2, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let p = t.permuted(&[1, 0]).unwrap();
        assert_eq!(p.shape(), [3, 2]);
        assert_eq!(p.as_f32().unwrap(), [1., 4., 2., 5., 3., 6.]);
        let t = Tensor::new([2, 1, 2, 2], Data::U8((0..8).collect())).unwrap();
        let p = t.permuted(&[3, 0, 1, 2]).unwrap();
        assert_eq!(p, Tensor::new([2, 2, 1, 2], Data::U8(vec![0, 2, 4, 6, 1, 3, 5, 7])).unwrap());
        let empty = Tensor::f32([0, 1 << 40, 1 << 40], vec![]).unwrap();
        assert_eq!(empty.permuted(&[0, 2, 1]).unwrap(), empty);
        for order in [&[0][..], &[0, 0], &[0, 2], &[0, 1, 2]] {
            assert!(p.permuted(order).is_err(), "{order:?}");
        }
    }
}
