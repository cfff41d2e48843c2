//! Observers: how the ranges of many batches become one. Pure accumulators, fed with ranges and not with tensors.

use super::Range;
use crate::error::{Error, Result};

/// How the ranges of successive batches are put together.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Observer {
    /// The union of all batches (PyTorch's `MinMaxObserver`). Does not depend on the order of the batches.
    #[default]
    MinMax,
    /// An exponential moving average, started with the first batch (PyTorch's `MovingAverageMinMaxObserver`).
    /// Depends on the order, but not on a single wild batch.
    MovingAverage {
        /// The weight of the newest batch, 0..=1.
        constant: f32,
    },
}

impl Observer {
    /// A moving average with PyTorch's constant, 0.01.
    pub const fn moving_average() -> Self {
        Observer::MovingAverage { constant: 0.01 }
    }

    /// The range after `batch`, where it was `seen` before. A batch without values changes nothing.
    pub fn update(self, seen: Range, batch: Range) -> Range {
        match self {
            _ if batch.is_empty() => seen,
            _ if seen.is_empty() => batch,
            Observer::MinMax => seen.union(batch),
            Observer::MovingAverage { constant } => seen.moving_average(batch, constant),
        }
    }
}

/// The ranges of one value over batches: one range for a whole tensor, or one for each channel.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Accumulator {
    observer: Observer,
    ranges: Vec<Range>,
}

impl Accumulator {
    /// Nothing seen yet of `channels` channels (1 where the range is the whole tensor's).
    ///
    /// # Errors
    /// [`Error::Argument`] where a moving average's constant is not in 0..=1.
    pub fn new(observer: Observer, channels: usize) -> Result<Self> {
        if let Observer::MovingAverage { constant } = observer {
            if !(0.0..=1.0).contains(&constant) {
                return Err(Error::Argument {
                    op: "moving average",
                    detail: format!("the constant is {constant}, expected 0..=1"),
                });
            }
        }
        Ok(Self { observer, ranges: vec![Range::EMPTY; channels] })
    }

    /// Takes in the ranges of one batch, one for each channel.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not as many as channels. Nothing is taken in then.
    pub fn observe(&mut self, batch: &[Range]) -> Result<()> {
        self.same_channels(batch.len())?;
        for (seen, &batch) in self.ranges.iter_mut().zip(batch) {
            *seen = self.observer.update(*seen, batch);
        }
        Ok(())
    }

    /// Takes in what another accumulator has seen, over other batches of the same value.
    ///
    /// # Errors
    /// [`Error::Argument`] where either is a moving average, which has no meaning without an order;
    /// [`Error::Shape`] where the channels differ in number.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.observer != Observer::MinMax || other.observer != Observer::MinMax {
            return Err(Error::Argument {
                op: "merge",
                detail: format!("{:?} and {:?}: only MinMax can be merged", self.observer, other.observer),
            });
        }
        self.observe(&other.ranges)
    }

    /// How batches are put together.
    pub fn observer(&self) -> Observer {
        self.observer
    }

    /// The ranges so far, [`Range::EMPTY`] for a channel of which no value was seen.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    fn same_channels(&self, found: usize) -> Result<()> {
        if found == self.ranges.len() {
            return Ok(());
        }
        Err(Error::Shape {
            op: "observe",
            detail: format!("{found} ranges for {} channels", self.ranges.len()),
        })
    }
}
