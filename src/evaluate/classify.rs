//! Classes, and how often two lists of them agree.

use crate::error::{Error, Result};
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

/// The class of each row of each batch: the argmax of the model's first output, whose outermost dimension is the
/// batch. `on_batch` is told of the rows after each batch.
///
/// # Errors
/// As [`Session::run`]; [`Error::Model`] where the output does not have a row for each of the batch's.
pub async fn predict(
    session: &Session<'_>,
    input: &str,
    batches: &[Tensor],
    mut on_batch: impl FnMut(usize),
) -> Result<Vec<Option<usize>>> {
    let mut classes = Vec::new();
    for batch in batches {
        let rows = batch.shape().first().copied().unwrap_or(1);
        let outputs = session.run(&[(input, batch)]).await?;
        let Some(logits) = outputs.first().filter(|y| y.shape().first() == Some(&rows)) else {
            let found = outputs.first().map(Tensor::shape);
            return Err(Error::Model(format!("a batch of {rows} gave an output of shape {found:?}")));
        };
        let values = logits.to_f32();
        let width = values.len() / rows.max(1);
        classes.extend((0..rows).map(|r| argmax(&values[r * width..(r + 1) * width])));
        on_batch(rows);
    }
    Ok(classes)
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
    fn agreement_counts_equal_classes() {
        let a = [Some(1), Some(2), None, Some(4)];
        assert_eq!(agreement(&a, &a).unwrap(), 0.75, "nothing does not agree with nothing");
        assert_eq!(agreement(&a, &[Some(1), Some(0), Some(0), None]).unwrap(), 0.25);
        assert_eq!(agreement(&[], &[]).unwrap(), 0.0);
        let e = agreement(&a, &a[..2]).unwrap_err().to_string();
        assert_eq!(e, "agreement: 4 classes against 2");
    }
}
