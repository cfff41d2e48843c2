//! Post-training optimization of neural networks on any GPU.
#![deny(missing_docs)]

pub mod calibrate;
pub mod error;
pub mod graph;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod optimize;
pub mod quant;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};
