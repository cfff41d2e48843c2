//! Classes, and how often two lists of them agree.

use crate::error::{Error, Result};
use crate::evaluate::{Batch, named};
use crate::session::Session;
use crate::tensor::Tensor;

/// The index of the largest number, the first of equals; `None` where there is no number. NaN is never the largest.
pub fn argmax(logits: &[f32]) -> Option<usize> {
    let largest = |best: Option<usize>, i: usize| match best {
        Some(b) if logits[b] >= logits[i] => best,
        _ if logits[i].is_nan() => best,
        _ => Some(i),
    };
    (0..logits.len()).fold(None, largest)
}

/// The fraction of places where both have the same class: accuracy where one are the labels. 0 of nothing.
/// A place without a class agrees with none.
///
/// # Errors
/// [`Error::Shape`] where they are not as long as each other.
pub fn agreement(a: &[Option<usize>], b: &[Option<usize>]) -> Result<f64> {
    if a.len() != b.len() {
        let detail = format!("{} classes against {}", a.len(), b.len());
        return Err(Error::Shape { op: "agreement", detail });
    }
    let same = a.iter().zip(b).filter(|(a, b)| a.is_some() && a == b).count();
    Ok(same as f64 / a.len().max(1) as f64)
}

/// The class of each row of an output: the argmax over the last dimension.
pub fn classes(logits: &Tensor) -> Vec<Option<usize>> {
    let width = logits.shape().last().copied().unwrap_or(1);
    logits.to_f32().chunks(width.max(1)).map(argmax).collect()
}

/// The class of each row of each batch: the argmax of the model's first output, whose outermost dimension is the
/// batch and which has no other but the classes. `on_batch` is told of the rows after each batch.
///
/// # Errors
/// As [`Session::run`]; [`Error::Model`] where the output does not have a row for each of the batch's.
pub async fn predict(
    session: &Session<'_>,
    batches: &[Batch],
    mut on_batch: impl FnMut(usize),
) -> Result<Vec<Option<usize>>> {
    let mut all = Vec::new();
    for batch in batches {
        let rows = batch.first().and_then(|(_, x)| x.shape().first()).copied().unwrap_or(1);
        let outputs = session.run(&named(batch)).await?;
        let Some(logits) = outputs.first().filter(|y| y.shape().len() == 2 && y.shape()[0] == rows) else {
            let found = outputs.first().map(Tensor::shape);
            return Err(Error::Model(format!("a batch of {rows} gave an output of shape {found:?}")));
        };
        all.extend(classes(logits));
        on_batch(rows);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_first_and_no_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, -1.0, f32::NAN]), Some(1));
        assert_eq!(argmax(&[f32::NEG_INFINITY]), Some(0));
        assert_eq!(argmax(&[f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn classes_are_of_the_last_dimension() {
        let y = Tensor::f32([2, 1, 3], [0.0, 2.0, 1.0, 5.0, 4.0, 3.0]).unwrap();
        assert_eq!(classes(&y), [Some(1), Some(0)]);
        assert_eq!(classes(&Tensor::f32([2, 0], []).unwrap()), []);
    }

    #[test]
    fn agreement_counts_equal_classes() {
        let a = [Some(1), Some(2), None, Some(4)];
        assert_eq!(agreement(&a, &a).unwrap(), 0.75, "nothing does not agree with nothing");
        assert_eq!(agreement(&a, &[Some(1), Some(0), Some(0), None]).unwrap(), 0.25);
        assert_eq!(agreement(&[], &[]).unwrap(), 0.0);
        let e = agreement(&a, &a[..2]).unwrap_err().to_string();
        assert_eq!(e, "agreement: 4 classes against 2");
    }
}
