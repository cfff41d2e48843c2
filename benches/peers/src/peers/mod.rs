//! Who is compared: each makes lanes of the same problems.

#[cfg(feature = "burn")]
pub mod burn;
pub mod cpu;
pub mod onnxruntime;
pub mod weighbridge;
