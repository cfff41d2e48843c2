//! Measuring what an optimization did: size, accuracy and latency of a model and its variants, and the report on it.
//!
//! ```text
//! Variant::all(model, bytes, batches)     fp32, fp16, static int8, dynamic int8
//!   -> predict(session, images)           classes -> accuracy, agreement
//!   -> latencies(sessions, batch)         medians, the variants interleaved
//!   -> Report                             a table for people, JSON for machines
//! ```
//!
//! Agreement with the f32 model is the sharper number: accuracy on a few thousand images has a standard error of half a
//! point, and a quantized model may gain where it errs by luck. Latencies are of the whole way: upload, compute, read
//! back.

mod classify;
mod latency;
mod report;
mod variant;

pub use classify::{agreement, argmax, predict};
pub use latency::{Rounds, latencies, median};
pub use report::{AdapterReport, Report, Row};
pub use variant::Variant;
