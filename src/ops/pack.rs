//! Weights laid out for the kernels of the gemm family, on the host.

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// Weights packed for the lanes of the kernels, on the host.
///
/// `[groups, panels, k words rounded up to 4, 64 columns]` words, each the next elements along k of one column; the last
/// panel has what is left of the columns rounded up to 4. Padding is zero, so that it adds nothing to a sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The words.
    pub words: Vec<u32>,
    /// Words of k, rounded up to 4: `rows * pitch` words make one group.
    pub rows: usize,
    /// Columns rounded up to 4.
    pub pitch: usize,
    /// Of int8 weights, the sum of each column: what the zero point of `a` is multiplied by.
    pub sums: Vec<i32>,
}

impl Packed {
    /// Columns of a panel: what a workgroup of the widest default blocks computes on a CPU adapter.
    pub(crate) const PANEL: usize = 64;

    /// Packs weights of shape `[n, .., c]`: each of the `n` outputs a column, its elements in row-major order with
    /// the innermost dimension padded to whole words (as activations are). With `groups`, `n / groups` at a time.
    ///
    /// # Errors
    /// [`Error::Shape`] where the tensor has no dimension or `groups` does not divide `n`; [`Error::Element`] for
    /// elements that no kernel takes.
    pub fn new(weights: &Tensor, groups: usize) -> Result<Self> {
        let op = "pack";
        let n = weights.shape().first().copied().unwrap_or(0);
        if groups == 0 || !n.is_multiple_of(groups) || weights.shape().is_empty() {
            return Err(Error::Shape {
                op,
                detail: format!("weights {:?} in {groups} groups", weights.shape()),
            });
        }
        let words = weights.to_device_words()?;
        let k_words = words.len().checked_div(n).unwrap_or(0);
        let (per_group, rows) = (n / groups, k_words.next_multiple_of(4));
        let pitch = per_group.next_multiple_of(4);
        let mut packed = vec![0; groups * rows * pitch];
        for (column, k) in words.chunks(k_words.max(1)).enumerate() {
            let (group, column) = (column / per_group, column % per_group);
            let first = column / Self::PANEL * Self::PANEL;
            let base = group * rows * pitch + first * rows + column - first;
            let width = Self::PANEL.min(pitch - first);
            for (row, &word) in k.iter().enumerate() {
                packed[base + row * width] = word;
            }
        }
        Ok(Self { words: packed, rows, pitch, sums: column_sums(weights, n) })
    }
}

impl Packed {
    /// Lays weights of shape `[n, .., c]` out for small channel groups: a row of `n` for each of the others.
    pub(crate) fn by_taps(weights: &Tensor) -> Result<Self> {
        let n = weights.shape().first().copied().unwrap_or(0);
        let k = weights.len().checked_div(n).unwrap_or(0);
        let order = (0..weights.len()).map(|i| i % n * k + i / n);
        let data = match weights.data() {
            Data::F32(v) => Data::F32(order.map(|i| v[i]).collect()),
            Data::F16(v) => Data::F16(order.map(|i| v[i]).collect()),
            Data::I8(v) => Data::I8(order.map(|i| v[i]).collect()),
            _ => {
                return Err(Error::Element {
                    op: "pack",
                    got: weights.element(),
                    expected: "F32, F16 or I8",
                });
            }
        };
        let pitch = weights.element().words(n);
        let sums = column_sums(weights, n);
        Ok(Self { words: Tensor::new([k, n], data)?.to_device_words()?, rows: k, pitch, sums })
    }
}

/// Of int8 weights, the sum of each of the `n` columns: what the zero point of `a` is multiplied by.
fn column_sums(weights: &Tensor, n: usize) -> Vec<i32> {
    let Data::I8(v) = weights.data() else { return Vec::new() };
    let k = v.len().checked_div(n).unwrap_or(0);
    (0..n).map(|i| v[i * k..(i + 1) * k].iter().map(|&x| i32::from(x)).sum()).collect()
}
