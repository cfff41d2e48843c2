//! From a range to a scale and a zero point.

use super::{QuantParams, Range, Rule, Scheme};
use crate::error::{Error, Result};

/// What an unsigned byte is shifted by to be held as a signed one.
const SHIFT: i32 = 128;

/// FBGEMM's smallest scale, just under f16's smallest normal number.
const SMALL_SCALE: f32 = 6.1e-5;

impl Default for QuantParams {
    /// Scale 1, zero point 0, limits -128..=127: the integers as they are.
    fn default() -> Self {
        Self { scale: 1.0, inv_scale: 1.0, zero_point: 0, limits: pack(-128, 127) }
    }
}

const fn pack(qmin: i32, qmax: i32) -> i32 {
    (qmin & 0xffff) | (qmax << 16)
}

fn refuse<T>(detail: String) -> Result<T> {
    Err(Error::Argument { op: "quantization parameters", detail })
}

fn check_limits(qmin: i32, qmax: i32) -> Result<()> {
    if -128 <= qmin && qmin < qmax && qmax <= 127 {
        return Ok(());
    }
    refuse(format!("limits {qmin}..={qmax} are not a range within -128..=127"))
}

impl QuantParams {
    /// Parameters in the signed domain: for u8, subtract 128 from `zero_point`, `qmin` and `qmax` first.
    ///
    /// # Errors
    /// [`Error::Argument`] where the scale or its reciprocal is not positive and finite, the limits are not a range
    /// within -128..=127, or the zero point is outside of the limits (real zero would not be exact).
    pub fn new(scale: f32, zero_point: i32, qmin: i32, qmax: i32) -> Result<Self> {
        check_limits(qmin, qmax)?;
        let inv_scale = 1.0f32 / scale;
        let usable = |s: f32| s.is_finite() && s > 0.0;
        if !usable(scale) || !usable(inv_scale) {
            return refuse(format!("scale {scale} or its reciprocal {inv_scale} is not positive and finite"));
        }
        if !(qmin..=qmax).contains(&zero_point) {
            return refuse(format!("zero point {zero_point} is outside of {qmin}..={qmax}"));
        }
        Ok(Self { scale, inv_scale, zero_point, limits: pack(qmin, qmax) })
    }

    /// The smallest quantized value, in the signed domain.
    pub const fn qmin(&self) -> i32 {
        (self.limits << 16) >> 16 // sign-extends the low half
    }

    /// The largest quantized value, in the signed domain.
    pub const fn qmax(&self) -> i32 {
        self.limits >> 16
    }
}

impl Default for Scheme {
    /// [`Scheme::int8_affine`].
    fn default() -> Self {
        Self::int8_affine()
    }
}

impl Scheme {
    const fn new(qmin: i32, qmax: i32, symmetric: bool, rule: Rule) -> Self {
        Self { qmin, qmax, symmetric, rule, eps: f32::EPSILON }
    }

    /// Affine, -128..=127: PyTorch's `qint8` activations.
    pub const fn int8_affine() -> Self {
        Self::new(-128, 127, false, Rule::Observer)
    }

    /// Affine, -64..=63: PyTorch's `qint8` with `reduce_range`, for CPUs whose 16-bit pair sums saturate.
    pub const fn int8_affine_reduced() -> Self {
        Self::new(-64, 63, false, Rule::Observer)
    }

    /// Symmetric, -128..=127: PyTorch's `qint8` weights. The divisor is 127.5, so the largest magnitude, where it is
    /// positive, is clipped by half a step.
    pub const fn int8_symmetric() -> Self {
        Self::new(-128, 127, true, Rule::Observer)
    }

    /// Symmetric, -127..=127: TFLite's weights, ONNX Runtime's, and PyTorch's for qnnpack. The divisor is 127.
    pub const fn int8_symmetric_narrow() -> Self {
        Self::new(-127, 127, true, Rule::Observer)
    }

    /// Symmetric, -64..=63: PyTorch's `qint8` weights with `reduce_range`. The divisor is 63.5.
    pub const fn int8_symmetric_reduced() -> Self {
        Self::new(-64, 63, true, Rule::Observer)
    }

    /// Affine, 0..=255, held as -128..=127: PyTorch's `quint8` activations. In the signed domain this is
    /// [`Scheme::int8_affine`]; the name says where the numbers come from.
    pub const fn uint8_affine() -> Self {
        Self::new(-128, 127, false, Rule::Observer)
    }

    /// Affine, 0..=127, held as -128..=-1: PyTorch's `quint8` with `reduce_range`, and its `default_observer`.
    pub const fn uint8_affine_reduced() -> Self {
        Self::new(-128, -1, false, Rule::Observer)
    }

    /// Symmetric, -128..=127 with the divisor 127 and a floor of 1e-5 on the range: PyTorch's pt2e
    /// `choose_qparams_per_token`.
    pub const fn per_token_symmetric() -> Self {
        Self::new(-128, 127, true, Rule::PerToken)
    }

    /// Affine, -128..=127: PyTorch's pt2e `choose_qparams_per_token_asymmetric`.
    pub const fn per_token_affine() -> Self {
        Self::new(-128, 127, false, Rule::PerToken)
    }

    /// Affine, 0..=255 (0..=127 with `reduce_range`), held shifted: the activations of PyTorch's dynamically quantized
    /// Linear, whose module passes `reduce_range = true`.
    pub const fn fbgemm_dynamic(reduce_range: bool) -> Self {
        Self::new(-128, if reduce_range { -1 } else { 127 }, false, Rule::Fbgemm)
    }

    /// Affine, 0..=255, held shifted: ONNX's `DynamicQuantizeLinear` as ONNX Runtime computes it.
    pub const fn onnx_dynamic() -> Self {
        Self::new(-128, 127, false, Rule::Onnx)
    }

    /// The same scheme with another smallest scale ([`Rule::Observer`] only): 2^-12 in PyTorch's qnnpack configurations.
    pub const fn with_eps(self, eps: f32) -> Self {
        Self { eps, ..self }
    }

    /// Scale and zero point of a range, widened to hold zero.
    ///
    /// A symmetric zero point is 0; where 0 is outside of the limits, as in unsigned 0..=127 held as -128..=-1, it is
    /// their middle, rounded down, as in PyTorch.
    ///
    /// An all-zero range is not an error. Its scale is `eps` ([`Rule::Observer`]), 0.1 ([`Rule::Fbgemm`]),
    /// 1 with the smallest zero point ([`Rule::Onnx`]), or the floor of the per-token rule.
    ///
    /// # Errors
    /// [`Error::Argument`] where the range has a NaN, an infinity, or `min > max`; where it is so wide that the scale
    /// overflows; where the limits are not a range within -128..=127; and where an affine-only rule is asked to be
    /// symmetric.
    pub fn params(&self, range: Range) -> Result<QuantParams> {
        let Range { min: lo, max: hi } = range.check()?.including_zero();
        check_limits(self.qmin, self.qmax)?;
        if self.symmetric && matches!(self.rule, Rule::Fbgemm | Rule::Onnx) {
            return refuse(format!("rule {:?} is affine only", self.rule));
        }
        let (scale, zero_point) = match self.rule {
            Rule::Observer => self.observer(lo, hi),
            Rule::Fbgemm => self.fbgemm(lo, hi),
            Rule::Onnx => self.onnx(lo, hi),
            Rule::PerToken => self.per_token(lo, hi),
        };
        QuantParams::new(scale, zero_point, self.qmin, self.qmax).map_err(|e| match e {
            Error::Argument { op, detail } => {
                Error::Argument { op, detail: format!("range {lo}..{hi}: {detail}") }
            }
            other => other,
        })
    }

    /// Number of steps between the limits, as f32.
    fn steps(&self) -> f32 {
        (self.qmax - self.qmin) as f32
    }

    fn symmetric_zero_point(&self) -> i32 {
        if (self.qmin..=self.qmax).contains(&0) { 0 } else { (self.qmin + self.qmax).div_euclid(2) }
    }

    /// PyTorch `UniformQuantizationObserverBase._calculate_qparams`.
    fn observer(&self, lo: f32, hi: f32) -> (f32, i32) {
        if self.symmetric {
            let scale = (hi.max(-lo) / (self.steps() / 2.0)).max(self.eps);
            return (scale, self.symmetric_zero_point());
        }
        let scale = ((hi - lo) / self.steps()).max(self.eps);
        // The shift between domains cancels: qmin and the result move together.
        let zero_point = self.qmin - (lo / scale).round_ties_even() as i32;
        (scale, zero_point.clamp(self.qmin, self.qmax))
    }

    /// PyTorch `quant_utils::ChooseQuantizationParams`, in f64 and in the unsigned domain: which candidate is taken
    /// depends on `|qmin|` and `|qmax|`.
    fn fbgemm(&self, lo: f32, hi: f32) -> (f32, i32) {
        let (qmin, qmax) = (f64::from(self.qmin + SHIFT), f64::from(self.qmax + SHIFT));
        let (mut lo, mut hi) = (lo, hi);
        let mut scale = (f64::from(hi) - f64::from(lo)) / (qmax - qmin);
        if scale as f32 == 0.0 || (1.0 / scale as f32).is_infinite() {
            scale = 0.1;
        }
        if scale < f64::from(SMALL_SCALE) {
            // The range is blown up with the scale, so that the zero point stays where it was in proportion.
            let amplifier = SMALL_SCALE / scale as f32;
            scale = f64::from(SMALL_SCALE);
            if lo == 0.0 {
                hi = SMALL_SCALE * self.steps();
            } else if hi == 0.0 {
                lo = -SMALL_SCALE * self.steps();
            } else {
                (lo, hi) = (lo * amplifier, hi * amplifier);
            }
        }
        let (below, above) = (f64::from(lo) / scale, f64::from(hi) / scale);
        let candidate =
            if qmin.abs() - below.abs() < qmax.abs() - above.abs() { qmin - below } else { qmax - above };
        let zero_point = candidate.clamp(qmin, qmax).round_ties_even() as i32;
        (scale as f32, zero_point - SHIFT)
    }

    /// ONNX `DynamicQuantizeLinear` in ONNX Runtime, in the unsigned domain: ties of the zero point depend on it.
    fn onnx(&self, lo: f32, hi: f32) -> (f32, i32) {
        let (qmin, qmax) = ((self.qmin + SHIFT) as f32, (self.qmax + SHIFT) as f32);
        let scale = (hi - lo) / self.steps();
        // ONNX Runtime tests for `lo == hi` only; a scale without a reciprocal is as good as no range.
        if scale == 0.0 || (1.0 / scale).is_infinite() {
            return (1.0, self.qmin);
        }
        let zero_point = (qmin - lo / scale).clamp(qmin, qmax).round_ties_even() as i32;
        (scale, zero_point - SHIFT)
    }

    /// PyTorch `quantized_decomposed::choose_qparams_per_token` and `.._asymmetric`.
    fn per_token(&self, lo: f32, hi: f32) -> (f32, i32) {
        if self.symmetric {
            return (hi.max(-lo).max(1e-5) / self.qmax as f32, self.symmetric_zero_point());
        }
        let (qmin, qmax) = (self.qmin as f32, self.qmax as f32);
        let scale = ((hi - lo) / self.steps()).max(f32::EPSILON);
        let (below, above) = (lo / scale, hi / scale);
        let candidate = if (qmin + below) + (qmax + above) > 0.0 { qmin - below } else { qmax - above };
        (scale, candidate.clamp(qmin, qmax).round_ties_even() as i32)
    }
}
