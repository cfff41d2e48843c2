//! From nodes to steps: layouts are chosen, weights packed, and each node becomes calls of ops.
//!
//! A model speaks ONNX's NCHW; here images lie channels last, so that a pixel is a row, a 1x1 convolution a matrix
//! product and four int8 channels a word. Where a matrix follows an image, its weights take the image's order instead
//! of the image being turned back.

mod attention;
mod beside;
mod elementwise;
mod linear;
mod movement;
mod orders;
mod pointwise;
mod products;
mod reduce;
mod textures;
mod wide;

use super::{Home, Matrix, PlanDescriptor, Port, Scope, Step, Upload, Weights, state_stride};
use crate::error::{Error, Result};
use crate::graph::{Model, Node, Op, Quant, ValueId};
use crate::kernel::{self, Call, Kernels};
use crate::ops::{
    MinMax, MinMaxBindings, MinMaxDescriptor, Permute, PermuteBindings, PermuteDescriptor, ReshapeBindings,
};
use crate::plan::pools::{Need, Touched};
use crate::quant::QuantParams;
use crate::tensor::{Element, Tensor, View};
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

/// How a value's dimensions lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As the model has them, the innermost one a row.
    Natural,
    /// `[n, h, w, c]` of a model's `[n, c, h, w]`: a row for each pixel.
    ChannelsLast,
    /// `[n, pixels * channels]` of a model's `[n, channels * pixels]`: an image seen as a row, channels innermost and
    /// padded to whole words at each pixel.
    Flat { channels: usize, pixels: usize },
    /// `[.., m, h, e]` of a model's `[.., h, m, e]`: an attention's heads side by side for each token. Rows of whole
    /// words.
    Heads,
    /// `[.., n]`, or `[.., h, d]` with `h d = n`, as the columns from `first` on of the matrix, which is wider.
    Columns { first: usize },
}

/// A value on the device.
#[derive(Clone, Copy, Debug)]
struct Slot {
    matrix: Matrix,
    order: Order,
    /// Of an int8 value: its parameters, one or one for each row.
    params: Option<Matrix>,
}

/// Words for the device, and the matrix that they are.
type Words = (Vec<u32>, Element, usize, usize);

pub(super) struct Lowered {
    pub steps: Vec<Step>,
    pub needs: Vec<Need>,
    pub constants: Vec<wgpu::Buffer>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

struct Lowering<'m> {
    model: &'m Model,
    /// Where plans of this model share their weights.
    weights: Option<&'m Weights>,
    /// The constants that do not depend on the shapes of the inputs.
    shared: Vec<bool>,
    kernels: &'m Kernels,
    shapes: Vec<Vec<usize>>,
    /// The forms in which each value is at hand; the first is the one it was made in.
    slots: Vec<Vec<Slot>>,
    /// Values of rank 4 that some op wants channels last.
    wants_channels_last: Vec<bool>,
    /// Who makes each value.
    producer: Vec<Option<&'m Node>>,
    /// The Transposes that are carried out once somebody reads what they make, and not what they are of.
    put_off: Vec<Option<&'m Node>>,
    /// Values that are read only where they may be columns of a wider matrix.
    may_be_columns: Vec<bool>,
    /// For each value, the nodes that read it.
    readers: Vec<Vec<usize>>,
    /// Values whose ranges are observed.
    observed: Vec<bool>,
    /// Sums that the normalizations reading them will make.
    sums: HashMap<ValueId, beside::Sum<'m>>,
    /// What max pools make that convolutions have made.
    pooled: HashSet<ValueId>,
    /// Names of other nodes whose work the node at hand does.
    beside: Vec<String>,
    out: Lowered,
}

/// Lays a model out for the shapes of its inputs.
pub(super) fn lower(kernels: &Kernels, model: &Model, descriptor: &PlanDescriptor<'_>) -> Result<Lowered> {
    let named: Vec<(&str, Vec<usize>)> = descriptor.inputs.iter().map(|(n, s)| (*n, s.to_vec())).collect();
    let shared: Vec<bool> = model.values().iter().map(|v| v.constant.is_some()).collect();
    let model = &model.specialize(&named)?;
    let shapes = model.fixed_shapes()?;
    let port = |id: &ValueId| {
        let value = model.value(*id);
        let name = value.name.clone();
        let texture = descriptor.textures.contains(&name.as_str());
        Port { name, shape: shapes[id.index()].clone(), element: value.element, texture }
    };
    let ports = |ids: &[ValueId]| ids.iter().map(port).collect::<Vec<Port>>();
    let (inputs, outputs) = (ports(model.inputs()), ports(model.outputs()));
    textures::check(descriptor.textures, &inputs, &outputs)?;
    let observed = |name: &String| descriptor.observe.is_some_and(|o| o.values.contains(name));
    let mut lowering = Lowering {
        model,
        kernels,
        producer: model.producers().into_iter().map(|i| i.map(|i| &model.nodes()[i])).collect(),
        put_off: vec![None; shapes.len()],
        may_be_columns: Vec::new(),
        slots: vec![Vec::new(); shapes.len()],
        shapes,
        wants_channels_last: wants_channels_last(model),
        readers: model.consumers(),
        observed: model.values().iter().map(|v| observed(&v.name)).collect(),
        sums: HashMap::new(),
        pooled: HashSet::new(),
        beside: Vec::new(),
        weights: descriptor.weights,
        shared,
        out: Lowered { steps: Vec::new(), needs: Vec::new(), constants: Vec::new(), inputs, outputs },
    };
    lowering.may_be_columns = lowering.may_be_columns();
    lowering.run(descriptor)?;
    Ok(lowering.out)
}

/// Which values of rank 4 an image op reads, perhaps through elementwise ops.
fn wants_channels_last(model: &Model) -> Vec<bool> {
    let mut wants = vec![false; model.values().len()];
    for node in model.nodes().iter().rev() {
        let through = match node.op {
            Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } | Op::GlobalAveragePool => true,
            Op::Quantize
            | Op::Dequantize
            | Op::Cast
            | Op::Activation(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Add { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Resize(_) => wants[node.outputs[0].index()],
            _ => false,
        };
        let images =
            if matches!(node.op, Op::Conv { .. } | Op::ConvTranspose { .. }) { 1 } else { node.inputs.len() };
        for id in node.inputs.iter().take(images).flatten().filter(|_| through) {
            wants[id.index()] |= model.value(*id).shape.len() == 4;
        }
    }
    wants
}

impl<'m> Lowering<'m> {
    fn run(&mut self, descriptor: &PlanDescriptor<'_>) -> Result<()> {
        let model = self.model;
        for (i, id) in model.inputs().iter().enumerate() {
            let slot = if self.out.inputs[i].texture {
                self.read_texture(i, *id)?
            } else {
                let matrix = self.natural(Home::Input(i), *id);
                Slot { matrix, order: Order::Natural, params: self.known_params(*id)? }
            };
            self.slots[id.index()].push(slot);
            self.observe(descriptor, *id)?;
        }
        for node in model.nodes() {
            let first = self.out.steps.len();
            self.node(node)?;
            if let Some(last) = self.out.steps[first..].last_mut() {
                last.fused.extend_from_slice(&node.fused);
                last.fused.append(&mut self.beside);
            }
            for id in &node.outputs {
                self.observe(descriptor, *id)?;
            }
        }
        for (i, id) in model.outputs().iter().enumerate() {
            self.deliver(i, *id)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &'m Node) -> Result<()> {
        match &node.op {
            Op::Conv { window, groups, activation } => self.conv(node, *window, *groups, *activation),
            Op::Linear { activation } => self.linear(node, *activation),
            Op::MatMul => self.matmul(node),
            Op::Activation(activation) => self.activation(node, *activation),
            Op::Add { activation } => self.add(node, *activation),
            Op::Pool { kind, window } => self.pool(node, *kind, *window),
            Op::GlobalAveragePool => self.global_average(node),
            Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                self.reshape(node)
            }
            Op::Transpose { .. } => self.transpose(node),
            Op::Quantize => self.quantize(node),
            Op::Dequantize => self.dequantize(node),
            Op::Cast => self.cast(node),
            Op::Unary(op) => self.function(node, *op),
            Op::Binary(op) => self.binary(node, *op),
            Op::Where => self.select(node),
            Op::Reduce { op, axes, .. } => self.reduce(node, *op, axes),
            Op::ArgReduce { max, axis, last, .. } => self.arg_reduce(node, *axis, *max, *last),
            Op::CumSum { axis, exclusive, reverse } => self.cumulative_sum(node, *axis, *exclusive, *reverse),
            Op::Softmax { axis, log } => self.softmax(node, *axis, *log),
            Op::LayerNorm { axis, epsilon, rms } => self.layer_norm(node, *axis, *epsilon, *rms),
            Op::GroupNorm { groups, epsilon } => self.group_norm(node, *groups, *epsilon),
            Op::Gather { axis } => self.gather(node, *axis),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Slice { axes } => self.slice(node, axes),
            Op::Pad { begin, end, mode } => self.pad(node, begin, end, *mode),
            Op::Expand { .. } => self.expand(node),
            Op::Tile { repeats } => self.tile(node, repeats),
            Op::Resize(geometry) => self.resize(node, geometry),
            Op::ConvTranspose { window, groups, .. } => self.conv_transpose(node, *window, *groups),
            Op::Attention { scale } => self.attention(node, *scale),
            Op::Deferred(_) => Err(self.fail(node, "its shape depends on values that only a run can know")),
        }
    }

    /// Brings an output into the caller's buffer, where it was not made there, or texture.
    fn deliver(&mut self, i: usize, id: ValueId) -> Result<()> {
        if self.out.outputs[i].texture {
            return self.write_texture(i, id);
        }
        let slot = self.get(id, Order::Natural, "deliver")?;
        if slot.matrix.home == Home::Output(i) {
            return Ok(());
        }
        let out = self.natural(Home::Output(i), id);
        let name = self.model.value(id).name.clone();
        self.copy(
            &name,
            slot.matrix,
            out,
            "the output is also needed elsewhere, or was made in another layout",
        );
        Ok(())
    }

    /// Adds the step that observes a value, if it is to be observed.
    fn observe(&mut self, descriptor: &PlanDescriptor<'_>, id: ValueId) -> Result<()> {
        let Some(observe) = descriptor.observe else { return Ok(()) };
        let name = &self.model.value(id).name;
        let Some(index) = observe.values.iter().position(|v| v == name) else { return Ok(()) };
        let made = self.made(id)?;
        let columns = matches!(made.order, Order::Columns { .. });
        let slot = if columns { self.get(id, Order::Natural, name)? } else { made };
        let states = observe.states.clone();
        let offset = index as u64 * state_stride(self.kernels.device());
        let (x, update) = (slot.matrix, observe.update);
        self.step(
            name,
            "minmax",
            format!("[{}, {}]", x.rows, x.columns),
            "observed for calibration",
            &[x],
            move |s| {
                let d = MinMaxDescriptor { element: x.element, update, ..Default::default() };
                let op = MinMax::with_kernels(s.kernels, &d)?;
                op.bind(&MinMaxBindings {
                    x: s.view(&x),
                    outer: 1,
                    state: View::params(&states, 1).at(offset),
                })
            },
        );
        Ok(())
    }

    // ---- Homes and steps.

    /// The matrix of a value with its dimensions as the model has them.
    fn natural(&self, home: Home, id: ValueId) -> Matrix {
        let shape = &self.shapes[id.index()];
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).product();
        Matrix { home, element: self.element(id), rows, columns }
    }

    /// The element of a value as the device holds it.
    fn element(&self, id: ValueId) -> Element {
        self.model.value(id).element.stored()
    }

    /// The parameters of an int8 value that are known beforehand: bytes that stand for themselves have the scale 1.
    fn known_params(&mut self, id: ValueId) -> Result<Option<Matrix>> {
        let value = self.model.value(id);
        let known = match (&value.quant, value.element) {
            (Some(Quant::Static { axis: None, params }), _) => params.clone(),
            (None, Element::I8) => vec![QuantParams::new(1.0, 0, -128, 127)?],
            (None, Element::U8) => vec![QuantParams::new(1.0, -128, -128, 127)?],
            _ => return Ok(None),
        };
        Ok(Some(self.constant_params(&known)))
    }

    /// A home for a matrix that a step will write.
    fn need(&mut self, element: Element, rows: usize, columns: usize) -> Matrix {
        let bytes = (rows * element.words(columns)) as u64 * 4;
        self.out.needs.push(Need { bytes, first: usize::MAX, last: 0 });
        Matrix { home: Home::Need(self.out.needs.len() - 1), element, rows, columns }
    }

    /// A home for a node's result: the caller's buffer where it is an output that lies as the caller expects it.
    fn result(&mut self, id: ValueId, order: Order, rows: usize, columns: usize) -> Matrix {
        let element = self.element(id);
        let output = self.model.outputs().iter().position(|o| *o == id);
        match output {
            Some(i) if order == Order::Natural && !self.out.outputs[i].texture => {
                Matrix { home: Home::Output(i), element, rows, columns }
            }
            _ => self.need(element, rows, columns),
        }
    }

    fn constant(&mut self, words: &[u32], element: Element, rows: usize, columns: usize) -> Matrix {
        let bytes = bytemuck::cast_slice(words);
        let buffer = kernel::constant(self.kernels.device(), bytes, wgpu::BufferUsages::STORAGE);
        self.out.constants.push(buffer);
        Matrix { home: Home::Constant(self.out.constants.len() - 1), element, rows, columns }
    }

    /// What is made of constants of the model, in matrices: taken from another plan that has made it already.
    fn form(
        &mut self,
        ids: &[ValueId],
        form: &'static str,
        variant: usize,
        make: impl FnOnce() -> Result<Vec<Words>>,
    ) -> Result<Vec<Matrix>> {
        let weights = self.weights.filter(|_| ids.iter().all(|id| self.shared[id.index()]));
        let mut forms = weights.map(|w| w.forms.lock().unwrap_or_else(PoisonError::into_inner));
        let key = (ids.to_vec(), form, variant);
        let uploads = match forms.as_ref().and_then(|f| f.get(&key)) {
            Some(found) => found.clone(),
            None => {
                let device = self.kernels.device();
                let upload = |(words, element, rows, columns): Words| {
                    let bytes = bytemuck::cast_slice(&words);
                    let buffer = kernel::constant(device, bytes, wgpu::BufferUsages::STORAGE);
                    Upload { buffer, element, rows, columns }
                };
                let made: Vec<Upload> = make()?.into_iter().map(upload).collect();
                if let Some(forms) = &mut forms {
                    forms.insert(key, made.clone());
                }
                made
            }
        };
        let matrices = uploads.into_iter().map(|u| {
            self.out.constants.push(u.buffer);
            let home = Home::Constant(self.out.constants.len() - 1);
            Matrix { home, element: u.element, rows: u.rows, columns: u.columns }
        });
        Ok(matrices.collect())
    }

    fn constant_params(&mut self, params: &[QuantParams]) -> Matrix {
        self.constant(bytemuck::cast_slice(params), Element::I32, params.len(), 4)
    }

    /// Adds a step that touches `matrices`.
    fn step(
        &mut self,
        node: &str,
        op: &'static str,
        shapes: String,
        why: &'static str,
        matrices: &[Matrix],
        bind: impl Fn(&Scope<'_>) -> Result<Call> + wgpu::WasmNotSendSync + 'static,
    ) {
        let touched = matrices.iter().filter_map(|m| match m.home {
            Home::Need(i) => Some(i),
            _ => None,
        });
        let bytes = matrices.iter().map(|m| (m.rows * m.element.words(m.columns)) as u64 * 4).sum();
        self.out.steps.push(Step {
            node: node.into(),
            op,
            shapes,
            bytes,
            operations: 0,
            element: matrices.first().map_or(Element::F32, |m| m.element),
            why,
            fused: Vec::new(),
            touched: Touched { needs: touched.collect(), one_buffer: false },
            bind: Box::new(bind),
        });
    }

    /// Says of the step added last how many products it sums: two operations for each.
    fn products(&mut self, products: usize) {
        if let Some(step) = self.out.steps.last_mut() {
            step.operations = 2 * products as u64;
        }
    }

    /// Says of the step added last that what it reads and writes may lie in one buffer.
    fn takes_one_buffer(&mut self) {
        if let Some(step) = self.out.steps.last_mut() {
            step.touched.one_buffer = true;
        }
    }

    fn done(&mut self, node: &Node, slot: Slot) {
        self.slots[node.outputs[0].index()].push(slot);
    }

    /// A copy between matrices that hold the same elements in the same order, in rows of other lengths perhaps.
    fn copy(&mut self, node: &str, x: Matrix, out: Matrix, why: &'static str) {
        let shapes = format!("[{}, {}] -> [{}, {}]", x.rows, x.columns, out.rows, out.columns);
        self.step(node, "reshape", shapes, why, &[x, out], move |s| {
            let op = Permute::with_kernels(s.kernels, &PermuteDescriptor { element: x.element })?;
            op.bind_reshape(&ReshapeBindings { x: s.view(&x), out: s.view(&out) })
        });
    }

    fn permute(
        &mut self,
        node: &str,
        x: Matrix,
        shape: Vec<usize>,
        order: &[usize],
        out: Matrix,
        why: &'static str,
    ) {
        let order = order.to_vec();
        self.step(node, "permute", format!("{shape:?} by {order:?}"), why, &[x, out], move |s| {
            let op = Permute::with_kernels(s.kernels, &PermuteDescriptor { element: x.element })?;
            op.bind(&PermuteBindings { x: s.view(&x), shape: &shape, order: &order, out: s.view(&out) })
        });
    }

    // ---- Values in the order that an op wants.

    fn input(&self, node: &Node, i: usize) -> Result<ValueId> {
        node.inputs.get(i).copied().flatten().ok_or_else(|| self.fail(node, format!("input {i} is missing")))
    }

    fn fail(&self, node: &Node, detail: impl Into<String>) -> Error {
        self.model.node_error(node, detail)
    }

    /// The value as it was made, or uploaded where it is a constant.
    fn made(&mut self, id: ValueId) -> Result<Slot> {
        if let Some(slot) = self.slots[id.index()].first() {
            return Ok(*slot);
        }
        if let Some(node) = self.put_off[id.index()].take() {
            self.turn(node, "not all that reads it can take it as it lies")?;
            return self.made(id);
        }
        let value = self.model.value(id);
        let Some(tensor) = value.constant.clone() else {
            return Err(Error::Model(format!("`{}` is read before anything makes it", value.name)));
        };
        let shape = self.natural(Home::Input(0), id);
        let words = || Ok(vec![(tensor.to_device_words()?, shape.element, shape.rows, shape.columns)]);
        let matrix = self.form(&[id], "as it is", 0, words)?[0];
        let params = self.known_params(id)?;
        let slot = Slot { matrix, order: Order::Natural, params };
        self.slots[id.index()].push(slot);
        Ok(slot)
    }

    /// The one set of parameters of a statically quantized value.
    fn static_params(&self, node: &Node, id: ValueId) -> Result<QuantParams> {
        match &self.model.value(id).quant {
            Some(Quant::Static { axis: None, params }) if params.len() == 1 => Ok(params[0]),
            other => {
                let name = &self.model.value(id).name;
                Err(self.fail(
                    node,
                    format!("`{name}` is quantized as {other:?}, expected one static set of parameters"),
                ))
            }
        }
    }

    /// A constant input.
    fn weight(&self, node: &Node, i: usize) -> Result<&'m Tensor> {
        let id = self.input(node, i)?;
        self.model.constant(id).ok_or_else(|| {
            self.fail(node, format!("input {i}, `{}`, must be constant", self.model.value(id).name))
        })
    }
}
