//! Matrix products.

use super::{activation, check_len, check_one_or, cycled};
use crate::error::{Error, Result};
use crate::graph::Activation;

/// How the second operand of a matrix product lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BLayout {
    /// `[n, k]`, k innermost: the weight of a Linear layer.
    #[default]
    Nk,
    /// `[k, n]`, n innermost: ONNX MatMul's second input.
    Kn,
}

/// Sizes of a batched matrix product `[m, k] x [k, n]`, and how its operands lie.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    layout: BLayout,
    /// Elements from one batch's B to the next, 0 where it is shared.
    b_step: usize,
}

impl Sizes {
    fn new(
        op: &'static str,
        [batch, m, n, k]: [usize; 4],
        layout: BLayout,
        a_len: usize,
        b_len: usize,
    ) -> Result<Self> {
        check_len(op, "a", a_len, &[batch, m, k])?;
        let shared = n.checked_mul(k) == Some(b_len);
        if !shared {
            check_len(op, "b", b_len, &[batch, n, k])?;
        }
        Ok(Self { batch, m, n, k, layout, b_step: if shared { 0 } else { n * k } })
    }

    /// Calls `f(batch, row, column)` for each element of the result, in its order.
    fn each<T>(self, f: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(self.batch * self.m * self.n);
        for batch in 0..self.batch {
            for row in 0..self.m {
                out.extend((0..self.n).map(|column| f(batch, row, column)));
            }
        }
        out
    }

    fn a(self, batch: usize, row: usize, k: usize) -> usize {
        (batch * self.m + row) * self.k + k
    }

    fn b(self, batch: usize, column: usize, k: usize) -> usize {
        batch * self.b_step
            + match self.layout {
                BLayout::Nk => column * self.k + k,
                BLayout::Kn => k * self.n + column,
            }
    }
}

/// Operands of [`gemm`].
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'a> {
    /// Number of products.
    pub batch: usize,
    /// Rows of A and of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// `[batch, m, k]`.
    pub a: &'a [f32],
    /// `[batch, n, k]` or `[n, k]` shared by the batch, or with k and n exchanged.
    pub b: &'a [f32],
    /// Which.
    pub layout: BLayout,
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl Gemm<'_> {
    fn sizes(&self) -> Result<Sizes> {
        let sizes = [self.batch, self.m, self.n, self.k];
        if let Some(bias) = self.bias {
            check_len("gemm", "bias", bias.len(), &[self.n])?;
        }
        Sizes::new("gemm", sizes, self.layout, self.a.len(), self.b.len())
    }

    /// The sum of each element of the result over `f` of its factors, from `f` of its bias.
    fn sums(&self, f: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
        let s = self.sizes()?;
        Ok(s.each(|batch, row, column| {
            let bias = self.bias.map_or(0.0, |b| f(b[column].into()));
            (0..self.k).fold(bias, |sum, k| {
                sum + f(self.a[s.a(batch, row, k)].into()) * f(self.b[s.b(batch, column, k)].into())
            })
        }))
    }
}

/// `act(a . b^T + bias)`, accumulated in f64: `[batch, m, n]`. For f16, widen the operands (exactly) first.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape.
pub fn gemm(args: &Gemm) -> Result<Vec<f64>> {
    let mut sums = args.sums(|x| x)?;
    sums.iter_mut().for_each(|x| *x = activation(*x, args.activation));
    Ok(sums)
}

/// What the result is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, from an f32 sum.
    F16,
}

/// How far each element of an f32 kernel's result may be from [`gemm`]'s: `[batch, m, n]`.
///
/// `(k + 2) * eps * sum|a||b|`, where the bias counts as a term of the sum and eps is 2^-23: each product and each
/// addition rounds once, and WGSL leaves the direction open. To it comes one f16 ulp of the result for
/// [`Storage::F16`], and what flushing subnormals may lose.
///
/// # Errors
/// As [`gemm`].
pub fn gemm_bound(args: &Gemm, storage: Storage) -> Result<Vec<f64>> {
    let magnitudes = args.sums(f64::abs)?;
    Ok(magnitudes.iter().zip(gemm(args)?).map(|(&sum, y)| float_bound(args.k, sum, y, storage)).collect())
}

/// The bound of [`gemm_bound`] for one element with `k` terms of total `magnitude`, and result `y`.
pub(super) fn float_bound(k: usize, magnitude: f64, y: f64, storage: Storage) -> f64 {
    let terms = k as f64 + 2.0;
    let sum = terms * (f64::from(f32::EPSILON) * magnitude + f64::from(f32::MIN_POSITIVE));
    match storage {
        Storage::F32 => sum,
        Storage::F16 => {
            sum + (y.abs() + sum) * half::f16::EPSILON.to_f64() + half::f16::MIN_POSITIVE.to_f64()
        }
    }
}

/// Operands of [`gemm_weight_only`].
#[derive(Clone, Copy, Debug)]
pub struct GemmWeightOnly<'a> {
    /// Rows of A and of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// `[m, k]`.
    pub a: &'a [f32],
    /// `[n, k]`, symmetric.
    pub b: &'a [i8],
    /// `[n, k / group]`: the scale of each group of weights along k.
    pub scales: &'a [f32],
    /// Weights in a group, which divides k.
    pub group: usize,
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl GemmWeightOnly<'_> {
    /// The sum of each element of the result over `f` of its factors, from `f` of its bias.
    fn sums(&self, f: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
        let op = "gemm weight-only";
        let Self { m, n, k, group, .. } = *self;
        let groups = k.checked_div(group).unwrap_or(0);
        check_len(op, "a", self.a.len(), &[m, k])?;
        check_len(op, "b", self.b.len(), &[n, k])?;
        check_len(op, "scales", self.scales.len(), &[n, groups])?;
        if groups * group != k {
            return Err(Error::Shape { op, detail: format!("groups of {group} along a k of {k}") });
        }
        if let Some(bias) = self.bias {
            check_len(op, "bias", bias.len(), &[n])?;
        }
        let weight = |column: usize, i: usize| {
            f64::from(self.b[column * k + i]) * f64::from(self.scales[column * groups + i / group])
        };
        let one = |row: usize, column: usize| {
            let bias = self.bias.map_or(0.0, |b| f(b[column].into()));
            (0..k).fold(bias, |sum, i| sum + f(self.a[row * k + i].into()) * f(weight(column, i)))
        };
        Ok((0..m * n).map(|i| one(i / n, i % n)).collect())
    }
}

/// `act(a . (scale * b)^T + bias)`, with weights dequantized and all accumulated in f64: `[m, n]`.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape.
pub fn gemm_weight_only(args: &GemmWeightOnly) -> Result<Vec<f64>> {
    let mut sums = args.sums(|x| x)?;
    sums.iter_mut().for_each(|x| *x = activation(*x, args.activation));
    Ok(sums)
}

/// How far each element of an f32 kernel's result may be from [`gemm_weight_only`]'s, as in [`gemm_bound`]: to the
/// roundings of the sum come one product and one addition for each group.
///
/// # Errors
/// As [`gemm_weight_only`].
pub fn gemm_weight_only_bound(args: &GemmWeightOnly, storage: Storage) -> Result<Vec<f64>> {
    let magnitudes = args.sums(f64::abs)?;
    let terms = args.k + 2 * args.k.checked_div(args.group).unwrap_or(0);
    let bounds = magnitudes.iter().zip(gemm_weight_only(args)?);
    Ok(bounds.map(|(&sum, y)| float_bound(terms, sum, y, storage)).collect())
}

/// Operands of [`gemm_i8`]: zero points are in the signed domain, like the integers.
#[derive(Clone, Copy, Debug)]
pub struct GemmI8<'a> {
    /// Number of products.
    pub batch: usize,
    /// Rows of A and of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// `[batch, m, k]`.
    pub a: &'a [i8],
    /// `[batch, n, k]` or `[n, k]` shared by the batch, or with k and n exchanged.
    pub b: &'a [i8],
    /// Which.
    pub layout: BLayout,
    /// One, or one for each row: `[m]` or `[batch, m]`.
    pub a_zero_point: &'a [i32],
    /// One, or one for each column: `[n]` or `[batch, n]`.
    pub b_zero_point: &'a [i32],
}

/// `sum_k (a - za) * (b - zb)`, exactly: `[batch, m, n]`. ONNX `MatMulInteger`.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape; [`Error::Argument`] where a sum does not fit an i32.
pub fn gemm_i8(args: &GemmI8) -> Result<Vec<i32>> {
    let op = "gemm_i8";
    let GemmI8 { batch, m, n, k, .. } = *args;
    let s = Sizes::new(op, [batch, m, n, k], args.layout, args.a.len(), args.b.len())?;
    check_one_or(op, "a_zero_point", args.a_zero_point.len(), &[m, batch.saturating_mul(m)])?;
    check_one_or(op, "b_zero_point", args.b_zero_point.len(), &[n, batch.saturating_mul(n)])?;
    let sums = s.each(|batch, row, column| {
        let za = i64::from(cycled(args.a_zero_point, batch * m + row));
        let zb = i64::from(cycled(args.b_zero_point, batch * n + column));
        let term = |k| {
            (i64::from(args.a[s.a(batch, row, k)]) - za) * (i64::from(args.b[s.b(batch, column, k)]) - zb)
        };
        (0..k).map(term).sum()
    });
    narrow(op, &sums)
}

/// To i32, which is what a device accumulates in.
pub(super) fn narrow(op: &'static str, sums: &[i64]) -> Result<Vec<i32>> {
    sums.iter()
        .map(|&sum| {
            i32::try_from(sum).map_err(|_| Error::Argument {
                op,
                detail: format!("the sum {sum} does not fit a 32-bit accumulator"),
            })
        })
        .collect()
}
