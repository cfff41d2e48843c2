//! How far an output is from another, whatever it means.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How far one output of a variant is from the f32 model's.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Difference {
    /// The output's name.
    pub output: String,
    /// The mean over rows of the cosine of the angle between both; `None` where a row has NaN or infinity.
    pub cosine: Option<f64>,
    /// The largest absolute difference of an element; `None` where one is NaN or infinite and not the same in both.
    pub max_abs: Option<f64>,
}

/// Accumulates a [`Difference`] over batches.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    cosines: f64,
    rows: usize,
    max_abs: f64,
}

impl Differences {
    /// Takes in one batch. A row is what belongs to one index of the outermost of two or more dimensions.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ.
    pub fn add(&mut self, ours: &Tensor, reference: &Tensor) -> Result<()> {
        if ours.shape() != reference.shape() {
            let detail = format!("shape {:?} against {:?}", ours.shape(), reference.shape());
            return Err(Error::Shape { op: "difference", detail });
        }
        let rows = if ours.shape().len() > 1 { ours.shape()[0] } else { 1 };
        let width = (ours.len() / rows.max(1)).max(1);
        let (ours, reference) = (ours.to_f32(), reference.to_f32());
        for (a, b) in ours.chunks(width).zip(reference.chunks(width)) {
            let [mut ab, mut aa, mut bb] = [0.0f64; 3];
            for (&a, &b) in a.iter().zip(b) {
                let (x, y) = (f64::from(a), f64::from(b));
                (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
                let same = a == b || (a.is_nan() && b.is_nan());
                let apart = if same { 0.0 } else { (x - y).abs() };
                // `max` would drop NaN.
                self.max_abs = if apart.is_nan() { f64::INFINITY } else { self.max_abs.max(apart) };
            }
            self.cosines += match (aa > 0.0, bb > 0.0) {
                // No direction at all is the same as none.
                (false, false) if aa == bb => 1.0,
                _ if aa == 0.0 || bb == 0.0 => 0.0,
                _ => ab / (aa.sqrt() * bb.sqrt()),
            };
            self.rows += 1;
        }
        Ok(())
    }

    /// Of all batches so far.
    pub fn finish(&self, output: impl Into<String>) -> Difference {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let cosine = if self.rows == 0 { 1.0 } else { self.cosines / self.rows as f64 };
        Difference { output: output.into(), cosine: finite(cosine), max_abs: finite(self.max_abs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(a: &[f32], b: &[f32], columns: usize) -> (Option<f64>, Option<f64>) {
        let tensor = |v: &[f32]| Tensor::f32([v.len() / columns, columns], v).unwrap();
        let mut differences = Differences::default();
        differences.add(&tensor(a), &tensor(b)).unwrap();
        let d = differences.finish("y");
        (d.cosine, d.max_abs)
    }

    #[test]
    fn cosine_is_the_mean_of_rows_and_the_difference_the_largest() {
        assert_eq!(of(&[3.0, 4.0], &[3.0, 4.0], 2), (Some(1.0), Some(0.0)));
        assert_eq!(of(&[1.0, 0.0, 2.0, 0.0], &[0.0, 1.0, 1.0, 0.0], 2), (Some(0.5), Some(1.0)));
        assert_eq!(of(&[0.0, 0.0], &[0.0, 0.0], 2), (Some(1.0), Some(0.0)));
        assert_eq!(of(&[0.0, 0.0], &[1.0, 0.0], 2), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        assert_eq!(of(&[f32::NAN, 1.0], &[0.0, 1.0], 2), (None, None));
        assert_eq!(of(&[f32::INFINITY, 1.0], &[1.0, 1.0], 2), (None, None));
        assert_eq!(of(&[f32::INFINITY, 1.0], &[f32::INFINITY, 1.0], 2).1, Some(0.0));
        assert!(
            Differences::default()
                .add(&Tensor::f32([1], [0.0]).unwrap(), &Tensor::f32([2], [0.0; 2]).unwrap())
                .is_err()
        );
        assert_eq!(Differences::default().finish("y").cosine, Some(1.0), "of nothing");
    }
}
