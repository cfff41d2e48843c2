//! The kernels as operations: a descriptor, bindings, and a [`Call`] that is recorded into the caller's pass.
//!
//! `new` checks features, `bind` checks shapes and limits and makes everything, `record` cannot fail.

mod conv;
mod gemm;
mod gemm_i8;
mod tile;

pub use crate::kernel::{Call, Kernels};
pub use conv::{Conv, ConvBindings, ConvDescriptor, ConvOperands};
pub use gemm::{Gemm, GemmBindings, GemmDescriptor};
pub use gemm_i8::{EpilogueBindings, GemmI8, GemmI8Bindings, GemmI8Descriptor};
pub use tile::{Blocking, Layout, Operand, Packed, Params};
