//! The arithmetic of ranges.

use super::Range;
use crate::error::{Error, Result};

/// The smaller of two, or NaN where either is: `f32::min` would let a NaN vanish.
fn lower(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }
}

/// The larger of two, or NaN where either is.
fn upper(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

impl Range {
    /// The range of no values at all, `inf..-inf`: the identity of [`Range::union`], and not valid.
    pub const EMPTY: Range = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };

    /// The range from `min` to `max`, unchecked: see [`Range::check`].
    pub const fn new(min: f32, max: f32) -> Self {
        Self { min, max }
    }

    /// Whether no value was seen.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Whether both ends are finite and in order.
    pub fn is_valid(self) -> bool {
        self.min.is_finite() && self.max.is_finite() && self.min <= self.max
    }

    /// The range itself, where it is valid.
    ///
    /// # Errors
    /// [`Error::Argument`] where an end is NaN or infinite, or `min` is above `max` (as in [`Range::EMPTY`]).
    pub fn check(self) -> Result<Self> {
        if self.is_valid() {
            return Ok(self);
        }
        let detail = if self.is_empty() {
            "no value was seen, so there is no range".into()
        } else {
            format!("range {}..{} is not finite and in order", self.min, self.max)
        };
        Err(Error::Argument { op: "range", detail })
    }

    /// The smallest range that holds both. Associative and commutative; a NaN in either end stays, to be refused by
    /// [`Range::check`].
    pub fn union(self, other: Self) -> Self {
        Self { min: lower(self.min, other.min), max: upper(self.max, other.max) }
    }

    /// The range widened to hold zero, as every scheme needs it: zero must be one of the integers' values.
    pub fn including_zero(self) -> Self {
        self.union(Self { min: 0.0, max: 0.0 })
    }

    /// One step of an exponential moving average of both ends: `m + c * (batch - m)` in f32, as PyTorch's
    /// `MovingAverageMinMaxObserver` computes it.
    pub fn moving_average(self, batch: Self, c: f32) -> Self {
        let step = |m: f32, b: f32| m + c * (b - m);
        Self { min: step(self.min, batch.min), max: step(self.max, batch.max) }
    }
}
