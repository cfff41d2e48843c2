//! A model laid out for a device: memory planned by liveness, and a list of calls that is recorded into the caller's
//! pass. Nothing here submits, waits or reads back.

mod binding;
mod frame;
mod lower;
mod pools;

pub use binding::{Binding, Port};
pub use frame::{Cursor, Frame};

use crate::error::{Error, Result};
use crate::graph::{Model, ValueId};
use crate::kernel::{Call, Chosen, Kernels};
use crate::ops::Update;
use crate::plan::pools::Touched;
use crate::tensor::{Element, View};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;

/// What is asked of a [`Plan`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanDescriptor<'a> {
    /// Shape of each input, as the model has it.
    pub inputs: &'a [(&'a str, &'a [usize])],
    /// Ranges to be observed while the plan runs: see [`crate::calibrate`].
    pub observe: Option<Observe<'a>>,
    /// Inputs and outputs that are textures: images of 1, 3 or 4 channels, f32, the last three dimensions of the shape,
    /// with nothing but 1 before them. [`Plan::bind`] takes a texture for each, of any size.
    pub textures: &'a [&'a str],
    /// Weights on the device that plans of this model share, whatever the shapes of their inputs.
    pub weights: Option<&'a Weights>,
}

/// The weights of one model as they lie on the device, packed for its kernels: give the same to every plan of the model
/// ([`PlanDescriptor::weights`]), and each is packed and uploaded once. Of another model's plans the results are wrong.
#[derive(Debug, Default)]
pub struct Weights {
    forms: Mutex<HashMap<Form, Vec<Upload>>>,
}

/// Values of the model, what was made of them, and a number that this depends on.
type Form = (Vec<ValueId>, &'static str, usize);

/// A matrix in a buffer of its own.
#[derive(Clone, Debug)]
struct Upload {
    buffer: wgpu::Buffer,
    element: Element,
    rows: usize,
    columns: usize,
}

/// Observers attached to a plan.
#[derive(Clone, Copy, Debug)]
pub struct Observe<'a> {
    /// The values, by name.
    pub values: &'a [String],
    /// A [`crate::ops::RangeState`] for each value, [`state_stride`] bytes apart.
    pub states: &'a wgpu::Buffer,
    /// How a batch's range is added to a state.
    pub update: Update,
}

/// Bytes from one observer state to the next: each is bound by itself.
pub fn state_stride(device: &wgpu::Device) -> u64 {
    u64::from(device.limits().min_storage_buffer_offset_alignment).max(16)
}

/// Bytes of GPU memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Weights, biases and parameters.
    pub weights: u64,
    /// Pools of activations.
    pub activations: u64,
    /// The most bytes of activations that live at once: no plan could do with less.
    pub lower_bound: u64,
}

/// Where a step finds a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// A planned place.
    Need(usize),
    /// The caller's buffer for an input.
    Input(usize),
    /// The caller's buffer for an output.
    Output(usize),
    /// A constant of the plan.
    Constant(usize),
}

/// A matrix in some home.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Matrix {
    home: Home,
    element: Element,
    rows: usize,
    columns: usize,
}

/// Resolves homes to views while the calls are made.
struct Scope<'a> {
    kernels: &'a Kernels,
    plan: &'a Plan,
    inputs: Vec<Binding<'a>>,
    outputs: Vec<Binding<'a>>,
}

impl<'a> Scope<'a> {
    fn view(&self, m: &Matrix) -> View<'a> {
        let dense = |buffer, offset| View::new(buffer, m.element, m.rows, m.columns).at(offset);
        // The caller's view, read as the matrix that the step takes it for: both are dense.
        let bound = |binding: &Binding<'a>| match *binding {
            Binding::Buffer(view) => dense(view.buffer, view.offset),
            Binding::Texture(..) => {
                unreachable!("`bind` takes textures for what is lowered as textures alone")
            }
        };
        match m.home {
            Home::Need(i) => {
                let place = self.plan.layout.places[i];
                dense(&self.plan.pools[place.pool], place.offset)
            }
            Home::Input(i) => bound(&self.inputs[i]),
            Home::Output(i) => bound(&self.outputs[i]),
            Home::Constant(i) => dense(&self.plan.constants[i], 0),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
type Bind = Box<dyn Fn(&Scope<'_>) -> Result<Call> + Send + Sync>;
/// On the web wgpu's types stay in their thread.
#[cfg(target_arch = "wasm32")]
type Bind = Box<dyn Fn(&Scope<'_>) -> Result<Call>>;

/// One op of the plan.
pub(crate) struct Step {
    /// The node it comes from.
    pub node: String,
    /// What it does.
    pub op: &'static str,
    /// Shapes for people.
    pub shapes: String,
    /// Bytes read and written.
    pub bytes: u64,
    /// Multiplications and additions of a product; 0 for what only moves elements or computes little on each.
    pub operations: u64,
    /// Type of its first operand.
    pub element: Element,
    /// Why this op and not another.
    why: &'static str,
    /// Names of the nodes that were fused into its node.
    fused: Vec<String>,
    /// The needs that it touches.
    touched: Touched,
    bind: Bind,
}

impl Step {
    /// Why this op, why this variant, and what was fused: the names of up to eight nodes.
    fn why(&self, chosen: Option<String>) -> String {
        const SHOWN: usize = 8;
        let names = self.fused.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let chosen = chosen.map_or(String::new(), |c| format!("; {c}"));
        let why = self.why;
        match self.fused.len() {
            0 => format!("{why}{chosen}"),
            n if n > SHOWN => format!("{why}{chosen}; fused: {names} and {} more", n - SHOWN),
            _ => format!("{why}{chosen}; fused: {names}"),
        }
    }
}

/// A model for given input shapes on a device.
pub struct Plan {
    kernels: Kernels,
    steps: Vec<Step>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    constants: Vec<wgpu::Buffer>,
    layout: pools::Layout,
    pools: Vec<wgpu::Buffer>,
    memory: Memory,
}

impl Plan {
    /// Lays a model out for a device: plans memory, packs and uploads weights.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Node`] where shapes do not fit or an op has no kernel for its elements,
    /// [`Error::Limit`] where something is larger than the device allows.
    pub fn new(device: &wgpu::Device, model: &Model, descriptor: &PlanDescriptor<'_>) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), model, descriptor)
    }

    /// The same with kernels shared between plans.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn with_kernels(kernels: &Kernels, model: &Model, descriptor: &PlanDescriptor<'_>) -> Result<Self> {
        let lowered = lower::lower(kernels, model, descriptor)?;
        let device = kernels.device();
        let limits = device.limits();
        let mut needs = lowered.needs;
        for (at, step) in lowered.steps.iter().enumerate() {
            for &i in &step.touched.needs {
                needs[i].first = needs[i].first.min(at);
                needs[i].last = needs[i].last.max(at);
            }
        }
        let touched: Vec<Touched> = lowered.steps.iter().map(|s| s.touched.clone()).collect();
        let align = u64::from(limits.min_storage_buffer_offset_alignment).max(16);
        let layout = pools::place(&needs, &touched, align, limits.max_buffer_size);
        if let Some(&needed) = layout.pools.iter().find(|&&bytes| bytes > limits.max_buffer_size) {
            let what = "a tensor in bytes".into();
            return Err(Error::Limit { op: "plan", what, needed, limit: limits.max_buffer_size });
        }
        let pools: Vec<wgpu::Buffer> = layout
            .pools
            .iter()
            .map(|&size| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("weighbridge pool"),
                    size,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })
            .collect();
        let memory = Memory {
            weights: lowered.constants.iter().map(wgpu::Buffer::size).sum(),
            activations: layout.pools.iter().sum(),
            lower_bound: layout.lower_bound,
        };
        Ok(Self {
            kernels: kernels.clone(),
            steps: lowered.steps,
            inputs: lowered.inputs,
            outputs: lowered.outputs,
            constants: lowered.constants,
            layout,
            pools,
            memory,
        })
    }

    /// The inputs, in the model's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Its steps in order: [`Frame::calls`] of a frame of the plan has a call for each.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What the plan takes of GPU memory, without the caller's inputs and outputs.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Binds the caller's buffers and textures to inputs and outputs, by name, and makes every bind group.
    ///
    /// A buffer is given as a [`View`]; a texture, for what [`PlanDescriptor::textures`] names, as it is, or as an
    /// [`crate::tensor::Image`] with the [`crate::tensor::Pixels`] that say what its colours are. It is read or written
    /// by a step of the plan: nothing is copied.
    ///
    /// A frame may be recorded as often as wanted. Frames of one plan share its memory: recorded one after the other
    /// they are right, since a queue runs what it is given in order.
    ///
    /// # Errors
    /// [`Error::Model`] where a port is missing or unknown, or takes a texture and is given a buffer or the reverse,
    /// [`Error::Shape`] where a view is not of the port's shape, [`Error::Feature`] for a texture that the device cannot
    /// write, and what the ops find wrong with views, textures and limits.
    pub fn bind<'b, B>(&self, ports: &[(&str, B)]) -> Result<Frame>
    where
        B: Into<Binding<'b>> + Copy,
    {
        if let Some((name, _)) =
            ports.iter().find(|(n, _)| !self.inputs.iter().chain(&self.outputs).any(|p| p.name == *n))
        {
            return Err(Error::Model(format!("there is no input or output `{name}`")));
        }
        let find = |port: &Port| {
            let found = ports.iter().find(|(name, _)| *name == port.name).map(|(_, bound)| (*bound).into());
            let bound: Binding<'b> =
                found.ok_or_else(|| Error::Model(format!("nothing is bound to `{}`", port.name)))?;
            port.check(&bound)?;
            Ok(bound)
        };
        let inputs = self.inputs.iter().map(find).collect::<Result<_>>()?;
        let outputs = self.outputs.iter().map(find).collect::<Result<_>>()?;
        Frame::new(&self.steps, &Scope { kernels: &self.kernels, plan: self, inputs, outputs })
    }

    /// The matrix products and convolutions of the plan, in its order, and what is chosen for each.
    ///
    /// # Errors
    /// What [`Plan::bind`] finds wrong, since variants are chosen there.
    pub fn chosen(&self) -> Result<Vec<Chosen>> {
        Ok(self.bind_scratch()?.chosen().copied().collect())
    }

    /// Binds buffers and textures that nothing is ever put into.
    fn bind_scratch(&self) -> Result<Frame> {
        let device = self.kernels.device();
        let ports = || self.inputs.iter().chain(&self.outputs);
        let scratch: Vec<binding::Scratch> = ports().map(|port| port.scratch(device)).collect();
        let bound: Vec<_> =
            ports().zip(&scratch).map(|(port, scratch)| (port.name.as_str(), scratch.bind(port))).collect();
        self.bind(&bound)
    }

    /// A row for each dispatch: node, op, kernel and variant, shapes, bytes, and why.
    ///
    /// # Errors
    /// What [`Plan::bind`] finds wrong, since variants are chosen there.
    pub fn explain(&self) -> Result<String> {
        let frame = self.bind_scratch()?;
        let device = self.kernels.device();
        let mut rows: Vec<[String; 6]> =
            vec![["node", "op", "kernel", "shapes", "bytes", "why"].map(Into::into)];
        for (step, call) in self.steps.iter().zip(frame.calls()) {
            for (i, ((label, grid), origin)) in call.dispatches().zip(call.origins()).enumerate() {
                let first = i == 0;
                let chosen = origin.map(|o| o.name(device));
                let groups: u64 = grid.iter().map(|&g| u64::from(g)).product();
                rows.push([
                    if first { step.node.clone() } else { String::new() },
                    if first { step.op.into() } else { String::new() },
                    format!("{label} x{groups}"),
                    if first { step.shapes.clone() } else { String::new() },
                    if first { step.bytes.to_string() } else { String::new() },
                    if first { step.why(chosen) } else { chosen.unwrap_or_default() },
                ]);
            }
        }
        let widths: Vec<usize> =
            (0..6).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        Ok(text)
    }
}
