//! Matrix products.

use super::super::import::{At, Found, Importer};
use super::super::tensor;
use super::rank;
use crate::error::Result;
use crate::graph::{Activation, Op, Quant, ValueId, passes};
use crate::tensor::Tensor;

/// Input 1 as a matrix `[n, k]` for Linear, where it is a constant that the file has as that or, `transposed`, as `[k, n]`.
fn matrix(im: &mut Importer, at: &At, transposed: bool) -> Result<Option<ValueId>> {
    let weight = match im.find(at, 1)? {
        Some(Found::Grouped { weight, transposed: held }) if held == transposed => return Ok(Some(weight)),
        // Groups that lie along n: floats.
        Some(Found::Grouped { .. }) => Some(im.value(at, 1)?),
        _ => im.weight(at, 1)?,
    };
    weight.map(|weight| linear_weight(im, at, weight, transposed)).transpose()
}

/// A matrix `[n, k]` for Linear, from `[n, k]` or, `transposed`, from `[k, n]`.
fn linear_weight(im: &mut Importer, at: &At, weight: ValueId, transposed: bool) -> Result<ValueId> {
    let value = im.model.value(weight);
    let quant = match &value.quant {
        Some(Quant::Static { axis: Some(axis), .. }) if *axis != usize::from(transposed) => {
            return Err(at.fail(format!("its weight is quantized along axis {axis}, not along its outputs")));
        }
        Some(Quant::Static { axis, params }) => {
            Some(Quant::Static { axis: axis.map(|_| 0), params: params.clone() })
        }
        other => other.clone(),
    };
    let (true, Some(tensor)) = (transposed, &value.constant) else { return Ok(weight) };
    let tensor = tensor::transpose(tensor).map_err(|e| at.fail(e.to_string()))?;
    im.derive(weight, "transposed", tensor, quant)
}

pub(super) fn gemm(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["alpha", "beta", "transA", "transB"])?;
    let (alpha, beta) = (at.float("alpha", 1.0), at.float("beta", 1.0));
    let transposed = at.int("transB", 0) == 0;
    let (mut a, c) = (im.value(at, 0)?, im.optional(at, 2)?);
    if rank(&im.model, a) != 2 {
        return Err(at.fail(format!("its input has shape {:?}, not 2 dimensions", im.model.value(a).shape)));
    }
    if at.int("transA", 0) != 0 {
        a = turned(im, at, a, "a")?;
    }
    let Some(mut weight) = matrix(im, at, transposed)? else {
        // A product of two values: only what Transpose, MatMul and Add can say.
        if alpha != 1.0 || (beta != 1.0 && c.is_some()) {
            return Err(at.fail("with a B that is no constant, alpha and beta are not supported"));
        }
        let mut b = im.value(at, 1)?;
        if !transposed {
            b = turned(im, at, b, "b")?;
        }
        return product(im, at, Op::MatMul, &[a, b], c);
    };
    if alpha != 1.0 {
        weight = scaled(im, at, weight, alpha)?;
    }
    let n = im.model.constant(weight).and_then(|t| t.shape().first().copied()).unwrap_or(0);
    let linear = Op::Linear { activation: Activation::Identity };
    let Some(mut c) = c else { return im.emit(at, linear, &[a, weight], at.output()?) };
    if beta != 1.0 {
        c = scaled(im, at, c, beta)?;
    }
    if im.model.constant(c).is_some_and(|t| t.shape() == [n]) {
        return im.emit(at, linear, &[a, weight, c], at.output()?);
    }
    product(im, at, linear, &[a, weight], Some(c))
}

/// A matrix operand as its transpose.
fn turned(im: &mut Importer, at: &At, x: ValueId, which: &str) -> Result<ValueId> {
    let name = im.free_name(&format!("{}.{which}.transposed", at.output()?));
    im.emit(at, Op::Transpose { order: vec![1, 0] }, &[x], &name)
}

/// An op, and `c` added to what it makes.
fn product(im: &mut Importer, at: &At, op: Op, inputs: &[ValueId], c: Option<ValueId>) -> Result<ValueId> {
    let Some(c) = c else { return im.emit(at, op, inputs, at.output()?) };
    let name = im.free_name(&format!("{}.product", at.output()?));
    let product = im.emit(at, op, inputs, &name)?;
    im.emit(at, Op::Add { activation: Activation::Identity }, &[product, c], at.output()?)
}

/// A float constant times a number.
fn scaled(im: &mut Importer, at: &At, id: ValueId, factor: f32) -> Result<ValueId> {
    let tensor = im.model.constant(id).filter(|_| im.model.value(id).quant.is_none());
    let scale =
        |t: &Tensor| passes::floats(t.element(), t.shape(), t.to_f32().iter().map(|x| x * factor).collect());
    let tensor = tensor.and_then(scale);
    let tensor = tensor.ok_or_else(|| at.fail("alpha and beta other than 1 need float constants"))?;
    im.derive(id, "scaled", tensor, None)
}

/// A vector on the left is a row and one on the right a column, of which the result has nothing left.
pub(super) fn matmul(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&[])?;
    let output = at.output()?;
    let mut a = im.value(at, 0)?;
    let grouped = match im.find(at, 1)? {
        Some(Found::Grouped { weight, transposed: true }) => Some(weight),
        _ => None,
    };
    let mut b = match grouped.map_or_else(|| im.weight(at, 1), |w| Ok(Some(w)))? {
        // Still quantized, where it is.
        Some(b) if rank(&im.model, b) == 2 => b,
        _ => im.value(at, 1)?,
    };
    let (row, column) = (rank(&im.model, a) == 1, rank(&im.model, b) == 1);
    let product = if row || column { im.free_name(&format!("{output}.product")) } else { output.into() };
    if row {
        let name = im.free_name(&format!("{output}.row"));
        a = im.emit_reshape(&[1, -1], a, &name)?;
    }
    if column {
        let name = im.free_name(&format!("{output}.column"));
        b = im.emit_reshape(&[-1, 1], b, &name)?;
    }
    let y = if im.model.constant(b).is_some() && rank(&im.model, b) == 2 {
        let weight = grouped.map_or_else(|| linear_weight(im, at, b, true), Ok)?;
        im.emit(at, Op::Linear { activation: Activation::Identity }, &[a, weight], &product)?
    } else {
        im.emit(at, Op::MatMul, &[a, b], &product)?
    };
    if !row && !column {
        return Ok(y);
    }
    // What was added is 1 and may go; one other dimension may be inferred, the rest are copied.
    let mut target = vec![0; rank(&im.model, y) - usize::from(row) - usize::from(column)];
    if let (true, Some(last)) = (row, target.last_mut()) {
        *last = -1;
    }
    im.emit_reshape(&target, y, output)
}
