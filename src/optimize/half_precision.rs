//! Half precision: weights and activations in f16, inputs and outputs in f32.

use super::rewrite::{Rewrite, require_f32};
use crate::error::Result;
use crate::graph::{Deferred, Model, Op, Output};
use crate::tensor::{Data, Element, Tensor};
use half::f16;

/// What [`half()`] made.
#[derive(Clone, Debug)]
pub struct Half {
    /// The model in f16.
    pub model: Model,
    /// How many elements of constants were beyond f16's largest number, 65504, and were set to it.
    pub saturated: usize,
    /// How many elements of constants that were not zero became so: they were under 2^-25.
    pub flushed: usize,
}

/// Half precision, as PyTorch's `module.half()`: every float constant, biases too, and every float value in
/// between becomes f16; integers and truth values stay.
/// The graph's inputs and outputs stay f32, with a Cast at entry and exit. Kernels accumulate in f32.
///
/// Constants are rounded to nearest even and saturated to +-65504 instead of becoming infinite, as PyTorch's
/// `HandleWeightsSaturation` does it.
///
/// # Errors
/// [`crate::Error::Argument`] where some of the model's reals are not f32; as [`Model::validate`].
pub fn half(model: &Model) -> Result<Half> {
    require_f32(model, "half")?;
    let mut rewrite = Rewrite::new(model)?;
    let (mut saturated, mut flushed) = (0, 0);
    let mut narrow = vec![None; model.values().len()];
    for node in model.nodes() {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else {
                inputs.push(None);
                continue;
            };
            let value = model.value(id);
            // Integers stay, and so do the numbers that say how an op changes a shape: a Resize's scales.
            if value.element != Element::F32 || (i > 0 && matches!(node.op, Op::Deferred(_))) {
                inputs.push(Some(rewrite.real(id)?));
                continue;
            }
            let new = match (narrow[id.index()], &value.constant) {
                (Some(new), _) => new,
                (None, Some(constant)) => {
                    let tensor = narrowed(constant, &mut saturated, &mut flushed)?;
                    rewrite.new.add_constant(rewrite.name_or(&value.name, "f16"), tensor)?
                }
                (None, None) => {
                    // A graph input: everything else was made narrow below.
                    let wide = rewrite.real(id)?;
                    let name = rewrite.free_name(&format!("{}.f16", value.name));
                    let output = Output { name: name.clone(), element: Element::F16, quant: None };
                    rewrite.new.add_node_as(name, Op::Cast, &[wide], output)?
                }
            };
            narrow[id.index()] = Some(new);
            inputs.push(Some(new));
        }
        let y = node.outputs[0];
        if model.value(y).element != Element::F32 {
            rewrite.copy(node, &inputs)?;
            continue;
        }
        let name = match model.outputs().contains(&y) {
            true => rewrite.free_name(&format!("{}.f16", model.value(y).name)),
            false => model.value(y).name.clone(),
        };
        let op = match &node.op {
            Op::Deferred(Deferred::ConstantOfShape { value }) => Op::Deferred(Deferred::ConstantOfShape {
                value: narrowed(value, &mut saturated, &mut flushed)?.into(),
            }),
            op => op.clone(),
        };
        let output = Output { name, element: Element::F16, quant: None };
        narrow[y.index()] = Some(rewrite.add(node, op, &inputs, output)?);
    }
    let mut outputs = Vec::with_capacity(model.outputs().len());
    for &id in model.outputs() {
        outputs.push(match (rewrite.real[id.index()], narrow[id.index()]) {
            (None, Some(narrow)) if model.constant(id).is_none() => {
                let name = &model.value(id).name;
                let output = Output { name: name.clone(), ..Output::default() };
                let wide = rewrite.new.add_node_as(name, Op::Cast, &[narrow], output)?;
                rewrite.real[id.index()] = Some(wide);
                wide
            }
            (Some(wide), _) => wide,
            // An output that is a constant was not made by a node.
            (None, Some(narrow)) => {
                let name = rewrite.free_name(&format!("{}.f32", model.value(id).name));
                let output = Output { name: name.clone(), ..Output::default() };
                rewrite.new.add_node_as(name, Op::Cast, &[narrow], output)?
            }
            (None, None) => rewrite.real(id)?,
        });
    }
    Ok(Half { model: rewrite.finish(&outputs)?, saturated, flushed })
}

fn narrowed(tensor: &Tensor, saturated: &mut usize, flushed: &mut usize) -> Result<Tensor> {
    let limit = f16::MAX.to_f32();
    let convert = |x: f32| {
        let clamped = x.clamp(-limit, limit);
        // Between 65504 and 65520 rounding alone would do.
        *saturated += usize::from(clamped != x && !x.is_nan());
        let y = f16::from_f32(clamped);
        *flushed += usize::from(x != 0.0 && y.to_f32() == 0.0);
        y
    };
    let data = tensor.to_f32().into_iter().map(convert).collect();
    Tensor::new(tensor.shape(), Data::F16(data))
}
