//! Comparisons, each with the tolerance that its kind of result deserves.

use crate::harness::{Run, Stop};
use std::fmt::Debug;

/// Fails with the first element for which `wrong(index, got, expected)`.
pub fn each<T: Copy + Debug, U: Copy + Debug>(
    what: &str,
    got: &[T],
    expected: &[U],
    wrong: impl Fn(usize, T, U) -> bool,
) -> Run<()> {
    if got.len() != expected.len() {
        return Err(Stop::Failed(format!("{what}: {} elements, expected {}", got.len(), expected.len())));
    }
    let wrong: Vec<usize> = (0..got.len()).filter(|&i| wrong(i, got[i], expected[i])).collect();
    let Some(&first) = wrong.first() else { return Ok(()) };
    Err(Stop::Failed(format!(
        "{what}: {} of {} wrong, the first at {first}: {:?}, expected {:?}",
        wrong.len(),
        got.len(),
        got[first],
        expected[first],
    )))
}

/// Equality.
pub fn equal<T: Copy + Debug + PartialEq>(what: &str, got: &[T], expected: &[T]) -> Run<()> {
    each(what, got, expected, |_, a, b| a != b)
}

/// Equality, or within a few roundings where the arithmetic is not `exact`.
pub fn rounded(what: &str, exact: bool, got: &[f32], expected: &[f32]) -> Run<()> {
    each(what, got, expected, |_, a, b| match exact {
        true => a != b,
        false => a.is_nan() || (a - b).abs() > 4.0 * f32::EPSILON * b.abs(),
    })
}

/// Equality, but for a step up or down where `steps(index)`, the real in steps before rounding, is within `slack(steps)`
/// of a tie. `exact` grants nothing.
pub fn near_ties(
    what: &str,
    exact: bool,
    got: &[i8],
    expected: &[i8],
    steps: impl Fn(usize) -> f64,
    slack: fn(f64) -> f64,
) -> Run<()> {
    each(what, got, expected, |i, a, b| {
        let steps = steps(i);
        let at_tie = ((steps - steps.floor()) - 0.5).abs() < slack(steps);
        a != b && (exact || !at_tie || a.abs_diff(b) > 1)
    })
}

/// The slack of quantizing: the error of one f32 product.
pub fn quantize_slack(steps: f64) -> f64 {
    1e-5 * (1.0 + steps.abs())
}

/// The slack of requantizing: the error of three f32 operations on what is within the limits of int8.
pub fn requantize_slack(_: f64) -> f64 {
    1e-4
}

/// Within 1e-6 of the largest magnitude: a float output from an exact sum.
pub fn relative(what: &str, got: &[f32], expected: &[f32]) -> Run<()> {
    let largest = expected.iter().fold(0f64, |m, &y| m.max(f64::from(y).abs()));
    each(what, got, expected, |_, a, b| {
        let error = (f64::from(a) - f64::from(b)).abs();
        error.is_nan() || error > 1e-6 * largest
    })
}
