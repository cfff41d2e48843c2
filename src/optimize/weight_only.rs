//! Weights in int8, everything else as it was.

use super::int8::{copied_inputs, quantized_weight};
use super::policy::Policy;
use super::rewrite::{Rewrite, require_f32};
use super::weights::quantize_weight_grouped;
use crate::error::{Error, Result};
use crate::graph::weights::GROUP;
use crate::graph::{Model, Node, Op, ValueId};
use crate::quant::Scheme;

const OP: &str = "weight-only";

/// How [`weight_only`] quantizes.
#[derive(Clone, Debug)]
pub struct WeightOnlyOptions {
    /// From a weight's range to its parameters. Symmetric, as it must be; -128..=127 by default.
    pub weights: Scheme,
    /// Weights along a Linear's inputs that share a scale: a multiple of 32 that divides each Linear's inputs. By default
    /// `None`: one scale for each of its outputs.
    pub group: Option<usize>,
    /// Which nodes are quantized.
    pub policy: Policy,
}

impl Default for WeightOnlyOptions {
    fn default() -> Self {
        Self { weights: Scheme::int8_symmetric(), group: None, policy: Policy::default() }
    }
}

/// Weight-only int8: each Linear reads its weights in int8 and multiplies them by floats as they are; embedding tables are
/// int8 too, with a scale for each row. Needs no calibration, and nothing that flows through the network is rounded: what
/// shrinks is the weights, to a quarter of f32's bytes, and the time to read them.
///
/// A Conv stays float, whatever the policy: its kernel has no such form.
///
/// # Errors
/// [`Error::Argument`] where the model is not f32 throughout, a weight is not finite, the scheme is none or not symmetric,
/// the group does not fit a Linear that the policy does not leave float, or the policy names what the model does not have.
pub fn weight_only(model: &Model, options: &WeightOnlyOptions) -> Result<Model> {
    require_f32(model, OP)?;
    options.policy.check(model, OP)?;
    let fail = |detail: String| Err(Error::Argument { op: OP, detail });
    let WeightOnlyOptions { weights, group, policy } = options;
    if !weights.symmetric || !(weights.qmin..=weights.qmax).contains(&0) {
        let limits = format!("{}..={}", weights.qmin, weights.qmax);
        return fail(format!("weights must be symmetric around 0, which {limits} of this scheme is not"));
    }
    if let Some(group) = group.filter(|g| *g == 0 || !g.is_multiple_of(GROUP)) {
        return fail(format!("groups of {group}: a multiple of {GROUP} is needed"));
    }
    let mut rewrite = Rewrite::new(model)?;
    // A table that a Gather reads too is quantized by rows there.
    let mut grouped = vec![None; model.values().len()];
    for node in model.nodes() {
        if !matches!(node.op, Op::Linear { .. }) || !policy.decide(node, true) {
            let inputs = copied_inputs(&mut rewrite, node, policy, weights, true)?;
            rewrite.copy(node, &inputs)?;
            continue;
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, id) in node.inputs.iter().enumerate() {
            inputs.push(match (*id, *group) {
                (Some(id), None) if i == 1 => Some(quantized_weight(&mut rewrite, id, weights, true)?),
                (Some(id), Some(group)) if i == 1 => {
                    let weight = match grouped[id.index()] {
                        Some(weight) => weight,
                        None => grouped_weight(&mut rewrite, node, id, weights, group)?,
                    };
                    grouped[id.index()] = Some(weight);
                    Some(weight)
                }
                (id, _) => id.map(|id| rewrite.real(id)).transpose()?,
            });
        }
        rewrite.copy(node, &inputs)?;
    }
    let outputs = model.outputs().iter().map(|id| rewrite.real(*id)).collect::<Result<Vec<_>>>()?;
    rewrite.finish(&outputs)
}

/// A Linear's weight in groups along k.
fn grouped_weight(
    rewrite: &mut Rewrite,
    node: &Node,
    id: ValueId,
    scheme: &Scheme,
    group: usize,
) -> Result<ValueId> {
    let old = rewrite.old.value(id);
    let Some(constant) = &old.constant else { return rewrite.real(id) };
    let k = constant.shape().last().copied().unwrap_or(0);
    if !k.is_multiple_of(group) {
        let detail = format!(
            "node `{}`: groups of {group} do not divide its k of {k}; leave it float, or take another group",
            node.name
        );
        return Err(Error::Argument { op: OP, detail });
    }
    let (tensor, quant) = quantize_weight_grouped(&old.name, constant, scheme, group)?;
    let name = rewrite.name_or(&old.name, "int8");
    rewrite.new.add_constant_as(name, tensor, Some(quant))
}
