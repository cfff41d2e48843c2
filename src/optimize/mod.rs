//! From a model to a smaller one that computes nearly the same. Pure functions; never names wgpu.
//!
//! | | weights | between ops | needs |
//! | --- | --- | --- | --- |
//! | [`half()`] | f16 | f16 | nothing |
//! | [`static_int8`] | int8 | int8 | calibrated ranges |
//! | [`dynamic_int8`] | int8 | f32, quantized before each product | nothing |
//! | [`weight_only`] | int8 of Linears, a scale for each output or group | f32 | nothing |

mod half_precision;
mod int8;
mod policy;
mod rewrite;
mod weight_only;
mod weights;

pub use half_precision::{Half, half};
pub use int8::{DynamicOptions, StaticOptions, dynamic_int8, observed_values, static_int8};
pub use policy::{Policy, Which};
pub use weight_only::{WeightOnlyOptions, weight_only};
pub use weights::{quantize_weight, quantize_weight_grouped};
