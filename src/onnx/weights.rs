//! Weights in safetensors files, by name.
//!
//! Names and shapes are the model's: a matrix that ONNX's MatMul had as `[k, n]` is `[n, k]` here, since that is how a
//! [`crate::graph::Op::Linear`] holds it.

use crate::error::{Error, Result};
use crate::graph::Model;
use crate::tensor::{Element, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

fn dtype(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::I8 => Dtype::I8,
        Element::U8 => Dtype::U8,
        Element::I32 => Dtype::I32,
        Element::I64 => Dtype::I64,
        Element::Bool => Dtype::BOOL,
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    let all =
        [Element::F32, Element::F16, Element::I8, Element::U8, Element::I32, Element::I64, Element::Bool];
    all.into_iter().find(|e| self::dtype(*e) == dtype)
}

fn format(detail: impl std::fmt::Display) -> Error {
    Error::Format { what: "safetensors".into(), detail: detail.to_string() }
}

/// # Weights
impl Model {
    /// Writes every constant, by its name, as a safetensors file. How quantized constants are quantized is not written.
    ///
    /// The matrix of a Linear is `[outputs, inputs]`, as PyTorch has it, even where the ONNX file that it came from has a
    /// MatMul by `[inputs, outputs]`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where there are too many names for the format.
    pub fn weights_to_safetensors(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_safetensors_bytes()?;
        std::fs::write(path, bytes).map_err(|source| super::io(path, source))
    }

    /// The bytes of [`Model::weights_to_safetensors`].
    ///
    /// # Errors
    /// [`Error::Format`] where there are too many names for the format.
    pub fn to_safetensors_bytes(&self) -> Result<Vec<u8>> {
        let bytes: Vec<Vec<u8>> = self.constants().map(|(_, t)| super::tensor::bytes(t)).collect();
        let mut views = Vec::with_capacity(bytes.len());
        for ((id, tensor), bytes) in self.constants().zip(&bytes) {
            let view = TensorView::new(dtype(tensor.element()), tensor.shape().to_vec(), bytes);
            views.push((self.value(id).name.as_str(), view.map_err(format)?));
        }
        safetensors::serialize(views, None).map_err(format)
    }

    /// Replaces every constant of which the file has a tensor of the same name, and says how many those were.
    ///
    /// Shapes are compared, which says nothing of a square matrix: it must be `[outputs, inputs]`, as
    /// [`Model::weights_to_safetensors`] writes it, and not an ONNX MatMul's `[inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Model::load_safetensors_bytes`], and [`Error::Io`].
    pub fn load_safetensors(&mut self, path: impl AsRef<Path>) -> Result<usize> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| super::io(path, source))?;
        self.load_safetensors_bytes(&bytes)
    }

    /// [`Model::load_safetensors`] of the bytes of a file. Where it fails, the model is as it was.
    ///
    /// # Errors
    /// [`Error::Format`] where the bytes are no safetensors file, and where a tensor has another shape or type than the
    /// constant of its name.
    pub fn load_safetensors_bytes(&mut self, bytes: &[u8]) -> Result<usize> {
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let mut found = Vec::new();
        for (name, view) in file.iter() {
            let Some(id) = self.value_by_name(name) else { continue };
            let Some(old) = self.constant(id) else { continue };
            let fail =
                |detail: String| Err(Error::Format { what: format!("safetensors tensor `{name}`"), detail });
            if view.shape() != old.shape() {
                return fail(format!("shape {:?}, but the model has {:?}", view.shape(), old.shape()));
            }
            if element(view.dtype()) != Some(old.element()) {
                return fail(format!("type {:?}, but the model has {:?}", view.dtype(), old.element()));
            }
            let data = super::tensor::from_bytes(old.element(), view.data());
            let tensor = data.map(|data| Tensor::new(view.shape(), data)).transpose()?;
            match tensor {
                Some(tensor) => found.push((id, tensor)),
                None => return fail(format!("{} bytes are no whole number of elements", view.data().len())),
            }
        }
        let count = found.len();
        for (id, tensor) in found {
            self.values[id.0].constant = Some(tensor.into());
        }
        Ok(count)
    }
}
