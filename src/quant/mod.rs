//! Pure arithmetic of quantization: ranges, observers, schemes, scale and zero point. Never names wgpu.
//!
//! `real = scale * (q - zero_point)`, where the zero point is one of the integers, so that real zero is exact: zero
//! padding is the byte `zero_point`, and ReLU is `max(q, zero_point)`.
//!
//! # The signed domain
//!
//! Every integer here is in the signed 8-bit domain. An unsigned byte and its zero point are both held minus 128, which
//! leaves `q - zero_point`, and so the real number, as it was: one set of kernels serves both. The rules that come from
//! unsigned systems (FBGEMM, ONNX) choose their zero point in 0..=255 and are shifted afterwards, so adding 128 gives
//! back PyTorch's and ONNX Runtime's integers exactly.

mod observer;
mod params;
mod range;

pub use observer::{Accumulator, Observer};

/// The smallest and the largest value seen.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Range {
    /// The smallest value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
}

/// Scale and zero point of one tensor, channel or row, as the kernels read it from a storage buffer.
///
/// `real = scale * (q - zero_point)`, with `q` in the signed 8-bit domain: u8 parameters are held shifted by 128.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct QuantParams {
    /// The width of one step.
    pub scale: f32,
    /// `1 / scale`, rounded once: PyTorch quantizes with `x * inv_scale`.
    pub inv_scale: f32,
    /// The integer that stands for real zero.
    pub zero_point: i32,
    /// The smallest and the largest quantized value, `qmin & 0xffff | qmax << 16`.
    pub limits: i32,
}

/// How a range becomes a scale and a zero point: the rule of one of the systems in `NUMERICS` section 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rule {
    /// PyTorch's observers, f32 arithmetic: symmetric divides by `(qmax - qmin) / 2`, 127.5 for the full range.
    #[default]
    Observer,
    /// PyTorch's dynamic quantization (FBGEMM `ChooseQuantizationParams`), affine only.
    Fbgemm,
    /// ONNX `DynamicQuantizeLinear` as ONNX Runtime computes it, affine only.
    Onnx,
    /// PyTorch's pt2e per-token rule: symmetric divides by 127 with a floor of 1e-5 on the range.
    PerToken,
}

/// Quantized range, symmetry and rule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Scheme {
    /// The smallest quantized value, in the signed domain.
    pub qmin: i32,
    /// The largest quantized value, in the signed domain.
    pub qmax: i32,
    /// Zero point fixed at the middle of the range.
    pub symmetric: bool,
    /// How the scale is computed.
    pub rule: Rule,
    /// The smallest scale ([`Rule::Observer`] only).
    pub eps: f32,
}

#[cfg(test)]
mod tests;
