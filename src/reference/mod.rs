//! Every operation as scalar Rust: the specification that the kernels are tested against. Never names wgpu.
//!
//! Host slices go in, vectors come out. Layouts are the device's: images are channels-last `[n, h, w, c]`, weights
//! `[n, k]` or `[o, kh, kw, c / groups]`, all dense and row-major here. Integers are in the signed domain of
//! [`crate::quant`].
//!
//! - Integer results (quantize, integer accumulators, requantize) are what PyTorch and ONNX Runtime compute, bit for
//!   bit, in the f32 arithmetic that they use; a kernel must match them, but for ties (see [`Requantized::exact`]).
//! - Float results are accumulated and returned in f64, with a bound ([`gemm_bound`], [`conv2d_bound`]) on how far an
//!   f32 kernel may be from them, whatever its order of summation and rounding direction.
//!
//! # Values that are not finite
//!
//! NaN and infinities are left out of a range and flagged ([`Extrema`]); calibration turns the flag into an error.
//! Quantizing an infinity, or anything too large, saturates; quantizing NaN gives the zero point, so a NaN becomes a
//! real zero. (The systems disagree: on x86 PyTorch gives `qmax` and ONNX Runtime `qmin`.)

mod attention;
mod conv;
mod conv_transpose;
mod elementwise;
mod epilogue;
mod evaluate;
mod functions;
mod gemm;
mod half;
mod movement;
mod pointwise;
#[cfg(test)]
mod pointwise_tests;
mod pool;
mod quantize;
mod range;
mod reduce;
mod resize;
#[cfg(test)]
mod tests;
mod texture;

pub use attention::{Attention, attention};
pub use conv::{Conv, ConvI8, ConvShape, conv2d, conv2d_bound, conv2d_i8};
pub use conv_transpose::{ConvTranspose, conv_transpose, conv_transpose_bound};
pub use elementwise::{activate, activation, add};
pub use epilogue::{Bias, Requantized, Scales, activation_limits, requantize, scale_accumulators};
pub use evaluate::evaluate;
pub use gemm::{
    BLayout, Gemm, GemmI8, GemmWeightOnly, Storage, gemm, gemm_bound, gemm_i8, gemm_weight_only,
    gemm_weight_only_bound,
};
pub use half::{from_f16, to_f16, to_f16_saturating};
pub use movement::{concat, expand, gather, pad, slice, tile};
pub use pointwise::{binary, cast, select, unary};
pub use pool::{Pool, average_pool, global_average_pool, max_pool, max_pool_i8};
pub use quantize::{dequantize, quantize, quantize_divide};
pub use range::{Axis, Extrema, minmax};
pub use reduce::{arg_reduce, cumulative_sum, group_norm, layer_norm, reduce, softmax};
pub use resize::{Tap, resize, resize_taps};
pub use texture::{TensorToTexture, TextureToTensor, tensor_to_texture, texture_to_tensor};

use crate::error::{Error, Result};

/// Refuses a slice that is not of the length its shape asks for.
fn check_len(op: &'static str, name: &str, found: usize, shape: &[usize]) -> Result<()> {
    let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if expected == Some(found) {
        return Ok(());
    }
    Err(Error::Shape { op, detail: format!("{name} has {found} elements, but its shape is {shape:?}") })
}

/// Refuses a slice that has neither one element nor one of the given numbers.
fn check_one_or(op: &'static str, name: &str, found: usize, numbers: &[usize]) -> Result<()> {
    if found == 1 || numbers.contains(&found) {
        return Ok(());
    }
    Err(Error::Shape { op, detail: format!("{name} has {found} elements, expected 1 or one of {numbers:?}") })
}

/// `values[index]`, repeating a shorter slice: one value for all, one for each row of a shared matrix, or one for each.
fn cycled<T: Copy>(values: &[T], index: usize) -> T {
    values[index % values.len()]
}
