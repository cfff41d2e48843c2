//! Quantization of constants.

use crate::error::{Error, Result};
use crate::graph::Quant;
use crate::quant::{QuantParams, Range, Scheme};
use crate::tensor::{Data, Tensor};

/// Quantizes a float tensor `[o, ..]` to int8: with parameters for each index of axis 0 where `per_channel`, else with
/// one for all. The range is the smallest and the largest element's.
///
/// `q = clamp(round(x * (1 / scale)) + zero_point)`, ties to even: PyTorch's `quantize_per_channel`. A channel of zeros
/// gets the scheme's smallest scale.
///
/// # Errors
/// [`Error::Argument`] naming `name` where an element is NaN or infinite, or the tensor has no axis 0.
pub fn quantize_weight(
    name: &str,
    tensor: &Tensor,
    scheme: &Scheme,
    per_channel: bool,
) -> Result<(Tensor, Quant)> {
    let channels = match tensor.shape().first() {
        Some(&n) if per_channel => n,
        None if per_channel => return Err(fail(name, "a scalar has no channels".into())),
        _ => 1,
    };
    let (tensor, params) = quantize_runs(name, tensor, scheme, tensor.len().checked_div(channels))?;
    Ok((tensor, Quant::Static { axis: per_channel.then_some(0), params }))
}

/// Quantizes a float matrix `[n, k]` to int8 with parameters for each `group` of elements along k, each as
/// [`quantize_weight`] does it.
///
/// # Errors
/// [`Error::Argument`] naming `name` where an element is NaN or infinite, the tensor is no matrix, or k is no multiple of
/// `group`.
pub fn quantize_weight_grouped(
    name: &str,
    tensor: &Tensor,
    scheme: &Scheme,
    group: usize,
) -> Result<(Tensor, Quant)> {
    let &[_, k] = tensor.shape() else {
        return Err(fail(name, format!("shape {:?} is no matrix", tensor.shape())));
    };
    if group == 0 || !k.is_multiple_of(group) {
        return Err(fail(name, format!("groups of {group} do not divide its k of {k}")));
    }
    let (tensor, params) = quantize_runs(name, tensor, scheme, Some(group))?;
    Ok((tensor, Quant::Grouped { group, params }))
}

fn fail(name: &str, detail: String) -> Error {
    Error::Argument { op: "quantize weight", detail: format!("`{name}`: {detail}") }
}

/// Parameters for every `run` elements that follow each other.
fn quantize_runs(
    name: &str,
    tensor: &Tensor,
    scheme: &Scheme,
    run: Option<usize>,
) -> Result<(Tensor, Vec<QuantParams>)> {
    let x = tensor.to_f32();
    if let Some(i) = x.iter().position(|x| !x.is_finite()) {
        return Err(fail(name, format!("element {i} is {}", x[i])));
    }
    let Some(run) = run.filter(|&run| run > 0 && !x.is_empty()) else {
        return Err(fail(name, format!("shape {:?} is empty", tensor.shape())));
    };
    let mut q = Vec::with_capacity(x.len());
    let mut params = Vec::with_capacity(x.len() / run);
    for row in x.chunks_exact(run) {
        let range = row
            .iter()
            .fold(Range { min: 0.0, max: 0.0 }, |r, &x| Range { min: r.min.min(x), max: r.max.max(x) });
        let p = scheme.params(range).map_err(|e| fail(name, e.to_string()))?;
        q.extend(row.iter().map(|&x| quantize(x, &p, scheme)));
        params.push(p);
    }
    Ok((Tensor::new(tensor.shape(), Data::I8(q))?, params))
}

fn quantize(x: f32, params: &QuantParams, scheme: &Scheme) -> i8 {
    let q = (x * params.inv_scale).round_ties_even() as i32;
    // Within i8, since the scheme's limits are.
    q.saturating_add(params.zero_point).clamp(scheme.qmin, scheme.qmax) as i8
}
