//! Measuring the ranges that static quantization needs.

mod calibrator;
mod ranges;

pub use calibrator::Calibrator;
pub use ranges::Ranges;
