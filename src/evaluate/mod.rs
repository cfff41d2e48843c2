//! Measuring what an optimization did: size, accuracy and latency of a model and its variants, and the report on it.
//!
//! ```text
//! Variant::all(model, bytes, batches)     fp32, fp16, static, dynamic and weight-only int8
//!   -> predict(session, images)           classes -> accuracy, agreement
//!   -> Differences                        of outputs from fp32's, whatever they mean
//!   -> latencies(sessions, batch)         medians, the variants interleaved
//!   -> Report                             a table for people, JSON for machines
//! ```
//!
//! Agreement with the f32 model is the sharper number: accuracy on a few thousand images has a standard error of half a
//! point, and a quantized model may gain where it errs by luck. Latencies are of the whole way: upload, compute, read
//! back.

mod classify;
mod difference;
mod latency;
mod report;
mod variant;

pub use classify::{agreement, argmax, classes, predict};
pub use difference::{Difference, Differences};
pub use latency::{Rounds, latencies, median};
pub use report::{AdapterReport, Report, Row};
pub use variant::Variant;

use crate::tensor::Tensor;

/// The inputs of one run, by name.
pub type Batch = Vec<(String, Tensor)>;

/// As [`crate::Session::run`] takes it.
fn named(batch: &Batch) -> Vec<(&str, &Tensor)> {
    batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}
