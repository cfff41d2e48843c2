//! Attention as one operation.

use super::check_len;
use crate::error::{Error, Result};

/// `softmax(scale q k + mask) v` of heads side by side.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Sequences.
    pub batch: usize,
    /// Heads in each row.
    pub heads: usize,
    /// Queries in each sequence.
    pub m: usize,
    /// Keys in each sequence.
    pub n: usize,
    /// Columns of each head.
    pub d: usize,
    /// `[batch, m, heads, d]`.
    pub q: &'a [f32],
    /// `[batch, n, heads, d]`.
    pub k: &'a [f32],
    /// `[batch, n, heads, d]`.
    pub v: &'a [f32],
    /// `[batch, n]` or `[n]`: added to the scaled scores of each key.
    pub mask: Option<&'a [f32]>,
    /// Multiplies the scores.
    pub scale: f32,
}

/// [`Attention`] in f64: `[batch, m, heads, d]`. A query whose scores are NaN, infinite or nothing but minus infinity is
/// all NaN.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit, or there is no key.
pub fn attention(a: &Attention<'_>) -> Result<Vec<f64>> {
    const OP: &str = "attention";
    let Attention { batch, heads, m, n, d, .. } = *a;
    check_len(OP, "q", a.q.len(), &[batch, m, heads, d])?;
    check_len(OP, "k", a.k.len(), &[batch, n, heads, d])?;
    check_len(OP, "v", a.v.len(), &[batch, n, heads, d])?;
    if n == 0 || a.mask.is_some_and(|mask| ![n, batch * n].contains(&mask.len())) {
        let mask = a.mask.map(<[f32]>::len);
        let detail = format!("{n} keys and a mask of {mask:?} for {batch} sequences");
        return Err(Error::Shape { op: OP, detail });
    }
    let real = |x: &[f32], token: usize, head: usize, c: usize| f64::from(x[(token * heads + head) * d + c]);
    let mut out = Vec::with_capacity(batch * m * heads * d);
    for (b, query) in (0..batch).flat_map(|b| (0..m).map(move |i| (b, b * m + i))) {
        for head in 0..heads {
            let score = |j: usize| {
                let dot: f64 =
                    (0..d).map(|c| real(a.q, query, head, c) * real(a.k, b * n + j, head, c)).sum();
                let mask = a.mask.map_or(0.0, |mask| f64::from(mask[(b * n + j) % mask.len()]));
                dot * f64::from(a.scale) + mask
            };
            let scores: Vec<f64> = (0..n).map(score).collect();
            let wrong = scores.iter().any(|s| s.is_nan() || *s == f64::INFINITY);
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            out.extend((0..d).map(|c| {
                let mean: f64 = (0..n).map(|j| weights[j] * real(a.v, b * n + j, head, c)).sum::<f64>() / sum;
                if wrong { f64::NAN } else { mean }
            }));
        }
    }
    Ok(out)
}
