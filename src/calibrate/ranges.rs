//! What calibration found out, as a file that can be kept, merged and read by people.

use crate::error::{Error, Result};
use crate::quant::{Observer, Range};
use std::collections::BTreeMap;

/// The range of each observed value, by name, over a number of batches.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ranges {
    /// How the batches were put together.
    pub observer: Observer,
    /// How many batches were seen.
    pub batches: u64,
    /// Ranges by the values' names.
    pub values: BTreeMap<String, Range>,
}

impl Ranges {
    /// No batches yet.
    pub fn new(observer: Observer) -> Self {
        Self { observer, ..Self::default() }
    }

    /// The range of a value.
    ///
    /// # Errors
    /// [`Error::Calibration`] where the value was not observed, or its range is not finite.
    pub fn get(&self, value: &str) -> Result<Range> {
        let fail = |detail: String| Error::Calibration { value: value.into(), detail };
        let range = self.values.get(value).ok_or_else(|| fail("it was not observed".into()))?;
        range.check().map_err(|e| fail(e.to_string()))
    }

    /// Both runs as one: the union for [`Observer::MinMax`], the mean weighted by batches for
    /// [`Observer::MovingAverage`] (each run's average stands for its batches: their order across runs is not known).
    ///
    /// # Errors
    /// [`Error::Calibration`] where the observers differ, or the observed values do; nothing is merged then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let fail = |value: &str, detail: String| Err(Error::Calibration { value: value.into(), detail });
        if self.observer != other.observer {
            return fail(
                "*",
                format!("ranges of {:?} and of {:?} cannot be merged", self.observer, other.observer),
            );
        }
        if other.batches == 0 {
            return Ok(());
        }
        if self.batches == 0 {
            self.clone_from(other);
            return Ok(());
        }
        let only = |a: &Self, b: &Self| a.values.keys().find(|k| !b.values.contains_key(*k)).cloned();
        if let Some(name) = only(self, other).or(only(other, self)) {
            return fail(&name, "it was observed in one of the runs only".into());
        }
        let weight = other.batches as f64 / (self.batches as f64 + other.batches as f64);
        for (range, new) in self.values.values_mut().zip(other.values.values()) {
            let mean = |a: f32, b: f32| (f64::from(a) + weight * (f64::from(b) - f64::from(a))) as f32;
            *range = match self.observer {
                Observer::MinMax => range.union(*new),
                Observer::MovingAverage { .. } => {
                    Range::new(mean(range.min, new.min), mean(range.max, new.max))
                }
            };
        }
        self.batches = self.batches.saturating_add(other.batches);
        Ok(())
    }

    /// As JSON text.
    ///
    /// # Errors
    /// [`Error::Calibration`] where a range is not finite: JSON has no such numbers.
    #[cfg(feature = "serde")]
    pub fn to_json(&self) -> Result<String> {
        self.values.keys().try_for_each(|name| self.get(name).map(|_| ()))?;
        serde_json::to_string_pretty(self).map_err(|e| json(&e))
    }

    /// From JSON text.
    ///
    /// # Errors
    /// [`Error::Format`] where it is not JSON of this form, [`Error::Calibration`] where a range is not one.
    #[cfg(feature = "serde")]
    pub fn from_json(text: &str) -> Result<Self> {
        let ranges: Self = serde_json::from_str(text).map_err(|e| json(&e))?;
        ranges.values.keys().try_for_each(|name| ranges.get(name).map(|_| ()))?;
        Ok(ranges)
    }

    /// Writes a JSON file.
    ///
    /// # Errors
    /// As [`Ranges::to_json`], and [`Error::Io`].
    #[cfg(feature = "serde")]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.to_json()?).map_err(|source| io(path, source))
    }

    /// Reads a JSON file.
    ///
    /// # Errors
    /// As [`Ranges::from_json`], and [`Error::Io`].
    #[cfg(feature = "serde")]
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&std::fs::read_to_string(path).map_err(|source| io(path, source))?)
    }
}

#[cfg(feature = "serde")]
fn json(error: &serde_json::Error) -> Error {
    Error::Format { what: "calibration ranges".into(), detail: error.to_string() }
}

#[cfg(feature = "serde")]
fn io(path: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}
