//! Post-training optimization of neural networks on any GPU.
#![deny(missing_docs)]

pub mod error;
pub mod graph;
pub mod quant;
pub mod reference;
pub mod tensor;

pub use error::{Error, Result};
