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

/// To the nearest f16, ties to even, in one rounding: by way of an f32 that is rounded to odd, so that what was cut off
/// still counts. (The crate `half` rounds twice where the processor has instructions for f16.)
pub(super) fn round_to_f16(x: f64) -> f16 {
    let near = x as f32;
    let exact = f64::from(near) == x || x.is_nan();
    if exact || near.to_bits() & 1 == 1 {
        return f16::from_f32(near);
    }
    let away = if f64::from(near).abs() < x.abs() { near.to_bits() + 1 } else { near.to_bits() - 1 };
    f16::from_f32(f32::from_bits(away))
}
