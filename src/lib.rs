//! Post-training optimization of neural networks on any GPU.
#![deny(missing_docs)]

pub mod calibrate;
pub mod error;
pub mod gpu;
pub mod graph;
mod kernel;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
pub mod optimize;
pub mod quant;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};
pub use gpu::Gpu;
