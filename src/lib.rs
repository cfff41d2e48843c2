//! Post-training optimization of neural networks on any GPU.
//!
//! A network trained in fp32 comes in as ONNX; it leaves in half precision, in static or dynamic int8, or
//! with its weights alone in int8, with what that did to its size, speed and accuracy measured, and runs on any Vulkan,
//! Metal or DX12 device through [`wgpu`] and WGSL compute shaders.
//!
//! ```no_run
//! use futures_util::stream;
//! use weighbridge::{Gpu, Session, calibrate::Calibrator, graph::Model, optimize, quant::Observer, tensor::Tensor};
//!
//! # async fn example(batches: Vec<weighbridge::Result<Vec<(String, Tensor)>>>, batch: Tensor) -> weighbridge::Result<()> {
//! let gpu = Gpu::new().await?;
//! let model = Model::from_onnx_file("network.onnx")?;
//!
//! let mut calibrator = Calibrator::new(&gpu, &model, Observer::MinMax)?;
//! calibrator.observe_all(stream::iter(batches)).await?;   // ranges accumulate on the GPU
//! let ranges = calibrator.finish().await?;                // one read-back for the whole run
//!
//! let int8 = optimize::static_int8(&model, &ranges, &Default::default())?;
//! let outputs = Session::new(&gpu, &int8)?.run(&[("image", &batch)]).await?;
//! int8.save_onnx("network.int8.onnx")?;
//! # Ok(()) }
//! ```
//!
//! # The contract
//!
//! An app that has a [`wgpu::Device`] of its own records into its own pass: [`ops`] for single operations,
//! [`plan::Plan`] for whole networks.
//!
//! - What can fail fails in `new` and `bind`, with the numbers in the message. `record` cannot fail, and may be repeated.
//! - Nothing is submitted, waited for, or written behind the caller's back: the queue is named in [`gpu`] alone.
//! - Capabilities are read from the device that is handed in. What it lacks is an error that names it; a choice between
//!   kernels shows in [`plan::Plan::explain`] and never changes the numerics silently.
//! - Numbers born on the GPU stay there: a dynamic network is one submit without a read-back.
//!
//! # Numerics
//!
//! "Static", "dynamic", "observer", "scale" and "zero point" mean what they mean in PyTorch, to the last bit where WGSL
//! allows it; [`mod@reference`] is the specification of every operation as scalar Rust, and the tests hold the kernels and
//! the specification to results computed by PyTorch and ONNX Runtime. Sums of f16 products are in f32. Sums of int8
//! products are exact.
//!
//! # The rooms
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`tensor`] | element types, host tensors, views over buffers |
//! | [`quant`] | ranges, schemes, scale and zero point: pure arithmetic |
//! | [`mod@reference`] | every op as scalar Rust |
//! | [`ops`] | every op as a kernel: descriptor, bindings, call |
//! | [`graph`], `onnx` | models; ONNX in and out (feature `onnx`, on by default) |
//! | [`optimize`] | model to model: half precision, static, dynamic and weight-only int8 |
//! | [`plan`] | a model laid out for a device |
//! | [`calibrate`] | the ranges that static int8 needs |
//! | [`gpu`], [`Session`] | for those without a device of their own |
//! | [`tune`] | variants chosen by measurement |
//! | [`profile`] | the time of each dispatch, beside what the device does at most |
//! | [`evaluate`] | accuracy, agreement and latency of variants, and the report on them |
#![deny(missing_docs)]

pub mod calibrate;
pub mod error;
pub mod evaluate;
pub mod gpu;
pub mod graph;
mod kernel;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
pub mod optimize;
pub mod plan;
pub mod profile;
pub mod quant;
pub mod reference;
mod requirements;
mod session;
pub mod tensor;
pub mod tune;

pub use error::{Error, Result};
pub use gpu::Gpu;
pub use requirements::{required_features, required_limits, useful_features};
pub use session::Session;
pub use tune::Tuner;
