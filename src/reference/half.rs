//! Between f32 and f16.

use half::f16;

/// To the nearest f16, ties to even: 65520 and above become infinite, subnormals are kept, NaN stays NaN.
pub fn to_f16(x: &[f32]) -> Vec<f16> {
    x.iter().map(|&x| f16::from_f32(x)).collect()
}

/// As [`to_f16`], but what is beyond +-65504, the largest f16, is clamped to it. Also returns how many were.
///
/// For weights: one infinity would spread through every product. NaN stays NaN.
pub fn to_f16_saturating(x: &[f32]) -> (Vec<f16>, usize) {
    let max = f16::MAX.to_f32();
    let clamped = x.iter().filter(|x| x.abs() > max).count();
    (x.iter().map(|x| f16::from_f32(x.clamp(-max, max))).collect(), clamped)
}

/// To f32, exactly.
pub fn from_f16(x: &[f16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}
