//! Ranges of tensors, rows and channels.

use super::check_len;
use crate::error::{Error, Result};
use crate::quant::Range;

/// A tensor seen as `[outer, channels, inner]`, row-major, with one range or one set of parameters for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis.
    pub channels: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
}

impl Axis {
    /// One channel: the whole tensor.
    pub const fn tensor(len: usize) -> Self {
        Self { outer: 1, channels: 1, inner: len }
    }

    /// One channel for each row of a matrix: per token.
    pub const fn rows(rows: usize, columns: usize) -> Self {
        Self { outer: 1, channels: rows, inner: columns }
    }

    /// The given axis of a shape.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shape has no such axis.
    pub fn of(shape: &[usize], axis: usize) -> Result<Self> {
        let Some(&channels) = shape.get(axis) else {
            return Err(Error::Argument {
                op: "axis",
                detail: format!("shape {shape:?} has no axis {axis}"),
            });
        };
        // Saturating, so that a shape beyond all memory is refused later, by the length of its slice.
        let product = |shape: &[usize]| shape.iter().fold(1usize, |n, &d| n.saturating_mul(d));
        Ok(Self { outer: product(&shape[..axis]), channels, inner: product(&shape[axis + 1..]) })
    }

    /// `[outer, channels, inner]`.
    pub const fn shape(self) -> [usize; 3] {
        [self.outer, self.channels, self.inner]
    }

    /// The channel of the element at a row-major index, which must be below the product of the shape.
    pub const fn channel(self, index: usize) -> usize {
        index / self.inner % self.channels
    }
}

/// The range of one channel's finite values, and what was left out of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extrema {
    /// The smallest and the largest finite value, [`Range::EMPTY`] where there is none.
    pub range: Range,
    /// [`Extrema::NAN`] and [`Extrema::INF`], or'ed.
    pub flags: u32,
}

impl Extrema {
    /// Flag: a NaN was seen.
    pub const NAN: u32 = 1;
    /// Flag: an infinity was seen.
    pub const INF: u32 = 2;
}

/// The range of each channel of `x [outer, channels, inner]`: `[channels]`.
///
/// # Errors
/// [`Error::Shape`] where `x` is not of that shape.
pub fn minmax(x: &[f32], axis: Axis) -> Result<Vec<Extrema>> {
    check_len("minmax", "x", x.len(), &axis.shape())?;
    let mut found = vec![Extrema { range: Range::EMPTY, flags: 0 }; axis.channels];
    for (index, &value) in x.iter().enumerate() {
        let channel = &mut found[axis.channel(index)];
        if value.is_nan() {
            channel.flags |= Extrema::NAN;
        } else if value.is_infinite() {
            channel.flags |= Extrema::INF;
        } else {
            channel.range = channel.range.union(Range::new(value, value));
        }
    }
    Ok(found)
}
