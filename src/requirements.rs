//! What a device must have for a model, before there is one.

use crate::error::Result;
use crate::graph::{Model, Node, Op, ValueId};

/// The features that a device must have to run a model: none, for any model. Kernels that need one are taken where the
/// device has it ([`crate::useful_features`]), and asked for by name.
///
/// A texture of Bgra8Unorm that a plan writes needs `BGRA8UNORM_STORAGE`; that depends on the texture, not on the model.
pub fn required_features(_model: &Model) -> wgpu::Features {
    wgpu::Features::empty()
}

/// The features that some kernel is faster with. An app that makes its own device asks for those that its adapter has:
/// `adapter.features() & weighbridge::useful_features()`.
pub fn useful_features() -> wgpu::Features {
    wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::PIPELINE_CACHE
        | wgpu::Features::SHADER_INT64
}

/// The limits that a device must have to run a model on inputs of these shapes: WebGPU's defaults, but that
/// `max_storage_buffer_binding_size` is what the largest tensor of a plan takes in whatever layout it may get (a word for
/// each element, so that f16 and int8 often need less), and `max_buffer_size` holds that. What the app needs beside is
/// taken together with [`wgpu::Limits::or_better_values_from`].
///
/// # Errors
/// As [`Model::specialize`]: shapes that do not fit the model.
pub fn required_limits(model: &Model, inputs: &[(&str, &[usize])]) -> Result<wgpu::Limits> {
    let named: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, s)| (*n, s.to_vec())).collect();
    let model = &model.specialize(&named)?;
    let shapes = model.fixed_shapes()?;
    let needs = Needs { model, shapes: &shapes };
    let values = shapes.iter().map(|shape| elements(shape)).max().unwrap_or(0);
    let nodes = model.nodes().iter().map(|node| needs.node(node)).max().unwrap_or(0);
    let stacked = needs.stacked().into_iter().max().unwrap_or(0);
    // Offsets in a buffer are multiples of this at most.
    let bytes = (4 * values.max(nodes).max(stacked)).max(16).next_multiple_of(256);
    let defaults = wgpu::Limits::default();
    Ok(wgpu::Limits {
        max_storage_buffer_binding_size: bytes,
        max_buffer_size: defaults.max_buffer_size.max(bytes),
        ..defaults
    })
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |n, &d| n.saturating_mul(d as u64))
}

struct Needs<'m> {
    model: &'m Model,
    shapes: &'m [Vec<usize>],
}

impl Needs<'_> {
    fn shape(&self, id: Option<ValueId>) -> &[usize] {
        id.map_or(&[], |id| &self.shapes[id.index()])
    }

    /// Words of the largest thing that lowering makes for a node beside its values.
    fn node(&self, node: &Node) -> u64 {
        let input = |i: usize| self.shape(node.inputs.get(i).copied().flatten());
        let output = self.shape(node.outputs.first().copied());
        match &node.op {
            Op::Conv { groups, .. } => packed(input(1), *groups),
            Op::Linear { .. } => packed(input(1), 1),
            // Every output is padded by itself.
            Op::ConvTranspose { .. } => packed(input(1), input(1).first().copied().unwrap_or(1)),
            Op::MatMul => packed(input(1), 1).max(padded(input(1))),
            // Parameters of each row, whichever dimension is innermost.
            Op::Quantize => {
                let shortest =
                    [output.last(), output.get(1)].into_iter().flatten().copied().min().unwrap_or(1);
                4 * elements(output) / (shortest as u64).max(1)
            }
            Op::Attention { .. } => {
                let keys = input(2).iter().rev().nth(1).copied().unwrap_or(1) as u64;
                let columns = output.last().copied().unwrap_or(1).max(1) as u64;
                elements(output) / columns * keys
            }
            // One pair of axes after the other.
            Op::Resize(_) => {
                let longer: Vec<usize> = input(0).iter().zip(output).map(|(&a, &b)| a.max(b)).collect();
                elements(&longer)
            }
            _ => 0,
        }
    }

    /// Linears that read the same may be one product: its weights, and its result.
    fn stacked(&self) -> Vec<u64> {
        let mut words = vec![[0u64; 2]; self.shapes.len()];
        for node in self.model.nodes() {
            if let (Op::Linear { .. }, Some(x)) = (&node.op, node.inputs.first().copied().flatten()) {
                let [weights, result] = &mut words[x.index()];
                *weights += self.node(node);
                *result += elements(self.shape(node.outputs.first().copied()));
            }
        }
        words.into_iter().flatten().collect()
    }
}

/// Words of weights `[n, .., c]` as products read them: columns and rows in fours, for each group.
fn packed(shape: &[usize], groups: usize) -> u64 {
    let n = shape.first().copied().unwrap_or(1).max(1);
    let k = elements(shape) / n as u64;
    let per_group = n.div_ceil(groups.max(1)).next_multiple_of(4) as u64;
    k.next_multiple_of(4).saturating_mul(per_group).saturating_mul(groups.max(1) as u64)
}

/// The same, where any dimension may become the columns.
fn padded(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |n, &d| n.saturating_mul((d as u64).next_multiple_of(4)))
}
