//! Post-training optimization of neural networks on any GPU.
#![deny(missing_docs)]

pub mod error;
pub mod gpu;
pub mod graph;
mod kernel;
pub mod ops;
pub mod quant;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};
pub use gpu::Gpu;
