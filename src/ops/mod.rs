//! The kernels as operations: a descriptor, bindings, and a [`Call`] that is recorded into the caller's pass.
//!
//! `new` checks features, `bind` checks shapes and limits and makes everything, `record` cannot fail.

mod gemm;
mod tile;

pub use crate::kernel::{Call, Kernels};
pub use gemm::{Gemm, GemmBindings, GemmDescriptor};
pub use tile::{Blocking, Layout, Operand, Packed, Params};
