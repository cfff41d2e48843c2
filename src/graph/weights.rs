//! Int8 weights beside a float input: which of them have a kernel, and the reals of those that have none.

use super::{Model, Op, Quant, Value, ValueId, passes::floats};
use crate::error::Result;
use crate::tensor::{Data, Element, Tensor};
use std::collections::HashMap;

/// Groups along k are multiples of this, where a kernel reads them.
pub(crate) const GROUP: usize = 32;

/// `(q - zero point) * scale` of an int8 constant; `None` where its parameters are not known or do not fit it.
pub(crate) fn dequantized(tensor: &Tensor, quant: &Quant) -> Option<Vec<f32>> {
    let Data::I8(q) = tensor.data() else { return None };
    // How many elements that follow each other share their parameters.
    let (params, run) = match quant {
        Quant::Static { axis: None, params } => (params, q.len().max(1)),
        Quant::Static { axis: Some(axis), params } => {
            (params, tensor.shape().get(axis + 1..)?.iter().product::<usize>())
        }
        Quant::Grouped { group, params } => (params, *group),
        Quant::Dynamic { .. } => return None,
    };
    if params.is_empty() || run == 0 {
        return q.is_empty().then(Vec::new);
    }
    let real = |(i, &q): (usize, &i8)| {
        let p = &params[i / run % params.len()];
        (i32::from(q) - p.zero_point) as f32 * p.scale
    };
    Some(q.iter().enumerate().map(real).collect())
}

/// Whether a Linear of floats reads such weights as they are.
fn has_kernel(quant: &Quant) -> bool {
    match quant {
        Quant::Static { axis: None | Some(0), params } => params.iter().all(|p| p.zero_point == 0),
        Quant::Grouped { group, params } => {
            group.is_multiple_of(GROUP) && params.iter().all(|p| p.zero_point == 0)
        }
        Quant::Static { .. } | Quant::Dynamic { .. } => false,
    }
}

impl Model {
    /// Replaces int8 weights that a Conv or Linear reads beside a float input by their reals, where no kernel reads
    /// them as they are: those of a Conv, and a Linear's with other zero points than 0.
    pub(super) fn widen_weights(&mut self) -> Result<()> {
        let mut made: HashMap<(ValueId, Element), ValueId> = HashMap::new();
        for i in 0..self.nodes.len() {
            let node = &self.nodes[i];
            let (linear, product) = (matches!(node.op, Op::Linear { .. }), &node.op);
            if !linear && !matches!(product, Op::Conv { .. }) {
                continue;
            }
            let (Some(x), Some(weight)) = (node.inputs[0], node.inputs[1]) else { continue };
            let (element, value) = (self.value(x).element, self.value(weight));
            let Value { constant: Some(constant), quant: Some(quant), .. } = value else { continue };
            if !matches!(element, Element::F32 | Element::F16) || (linear && has_kernel(quant)) {
                continue;
            }
            let id = match made.get(&(weight, element)) {
                Some(id) => *id,
                None => {
                    let reals =
                        dequantized(constant, quant).and_then(|x| floats(element, constant.shape(), x));
                    let Some(reals) = reals else { continue };
                    let name = self.free_name(&format!("{}.real", value.name));
                    self.add_constant(name, reals)?
                }
            };
            made.insert((weight, element), id);
            self.nodes[i].inputs[1] = Some(id);
        }
        Ok(())
    }
}
