//! Measuring the ranges that static quantization needs.

mod ranges;

pub use ranges::Ranges;
