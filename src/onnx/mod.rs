//! Reading and writing ONNX files.
//!
//! [`Model::from_onnx_file`] reads operator sets 10 to 28, each operator in the form that the set has (axes and sizes as
//! attributes, or as inputs). Anything else is an error that names the node, and so is an attribute that is not known.
//!
//! | family | operators |
//! | --- | --- |
//! | windows | Conv and ConvTranspose (one and two dimensions, constant weights), MaxPool and AveragePool (one to three), GlobalAveragePool, GlobalMaxPool |
//! | products | MatMul, Gemm |
//! | normalization | BatchNormalization, LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization, MeanVarianceNormalization |
//! | one element | Abs, Neg, Sign, Floor, Ceil, Round, Reciprocal, Sqrt, Exp, Log, Sin, Cos, Erf, Tanh, Sigmoid, HardSigmoid, HardSwish, Swish, Softplus, Mish, Gelu, Elu, Selu, Celu, LeakyRelu, Relu, Clip, Not, IsNaN, IsInf, Identity, Dropout, Cast, CastLike |
//! | several, broadcast | Add, Sub, Mul, Div, Mod, Pow, PRelu, Min, Max, Sum, Mean, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, And, Or, Xor, Where, SwiGLU |
//! | along axes | ReduceMean, -Sum, -Max, -Min, -Prod, -L1, -L2, -SumSquare, -LogSum, -LogSumExp, ArgMax, ArgMin, CumSum, Softmax, LogSoftmax |
//! | movement | Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Gather, Concat, Split, Slice, Pad, Expand, Tile, Trilu, Resize (nearest and linear) |
//! | shapes, constants | Shape, Size, Constant, ConstantOfShape, Range |
//! | int8 | QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, QLinearMatMul, QLinearConv; MatMulInteger and ConvInteger as [`Model::to_onnx_bytes`] writes them, or of up to 258 products in a sum |
//!
//! Elements are f32, f16, i8, u8, i32, i64 and bool; f64 is read as f32. What follows from constants is computed while
//! reading; a shape that depends on an input's waits until that is known ([`crate::graph::Deferred`]).
//!
//! Data in other files is read from below the directory of the model. Weights alone go to safetensors files and come
//! from them: [`Model::load_safetensors`].
//!
//! Int8 weights beside a float input stay int8 where a kernel reads them: a Linear's, symmetric, with a scale for each
//! output or each block of a multiple of 32 along k. Others become floats. Blocks are read of constants alone.
//!
//! [`Model::to_onnx_bytes`] writes
//!
//! - f32 and f16 models as they are;
//! - static int8 as QDQ: int8 weights with DequantizeLinear per channel, int32 biases of scale `sa * sw` (f32 where that
//!   would overflow), int8 activations with zero points, so that ONNX Runtime runs the integer kernels;
//! - dynamic int8 as DynamicQuantizeLinear, MatMulInteger or ConvInteger, Cast, Mul and Add, as ONNX Runtime's
//!   `quantize_dynamic` does. ONNX has one rule for the range, per tensor and u8, so a scheme of ours that is per row
//!   or symmetric is not kept;
//! - weight-only int8 with DequantizeLinear on the weights: per channel, or with a block size along k (operator set 21).
//!
//! # Why prost
//!
//! It reads and writes; its derive macro needs neither `protoc` nor a build script, so the two dozen messages' fields in
//! use are declared by hand in one file; unknown fields are skipped; it limits recursion, so that a hostile file cannot
//! exhaust the stack; and it is maintained.
//!
//! # Hostile files
//!
//! Nothing is allocated by what a file says about a size, only by what it holds; arithmetic on sizes is checked; constants
//! that the graph makes of a few numbers may be 2^28 elements in all; a graph whose nodes are out of order, cyclic or
//! dangling is refused at the node that reads what is not there. Data in other files may not lie outside of the model's
//! directory, nor behind a link that leads there.

mod export;
mod external;
mod import;
mod integer;
mod nodes;
mod proto;
mod tensor;
mod volume;
mod weights;

use crate::error::{Error, Result};
use crate::graph::Model;
use std::path::Path;

/// # ONNX
impl Model {
    /// Reads an ONNX file and simplifies it (see [`Model::simplify`]).
    ///
    /// # Errors
    /// [`Error::Io`], and as [`Model::from_onnx_bytes`].
    pub fn from_onnx_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| io(path, source))?;
        Self::from_onnx_bytes_in(&bytes, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads the bytes of an ONNX file, whose tensors may have their data in other files of this directory.
    ///
    /// # Errors
    /// As [`Model::from_onnx_file`]: [`Error::Format`] names the tensor where its data is not below the directory, or not
    /// as long as the tensor is.
    pub fn from_onnx_bytes_in(bytes: &[u8], directory: impl AsRef<Path>) -> Result<Self> {
        import::import(bytes, Some(directory.as_ref()))?.simplify()
    }

    /// Reads the bytes of an ONNX file and simplifies the model (see [`Model::simplify`]).
    ///
    /// # Errors
    /// [`Error::Format`] where it is not ONNX or a tensor is malformed, [`Error::Node`] where a node is malformed or not
    /// supported, [`Error::Model`] where the graph is malformed as a whole.
    pub fn from_onnx_bytes(bytes: &[u8]) -> Result<Self> {
        import::import(bytes, None)?.simplify()
    }

    /// The bytes of an ONNX file: see [`crate::onnx`].
    ///
    /// # Errors
    /// As [`Model::validate`], and [`Error::Node`] where ONNX has no way to write a node's quantization.
    pub fn to_onnx_bytes(&self) -> Result<Vec<u8>> {
        export::export(self)
    }

    /// Writes an ONNX file: see [`crate::onnx`].
    ///
    /// # Errors
    /// As [`Model::to_onnx_bytes`], and [`Error::Io`].
    pub fn save_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.to_onnx_bytes()?).map_err(|source| io(path, source))
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}
