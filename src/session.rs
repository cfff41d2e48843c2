//! A model on a [`Gpu`] of our own: tensors in, tensors out.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::graph::Model;
use crate::kernel::Chosen;
use crate::plan::{Frame, Observe, Plan, PlanDescriptor, Weights};
use crate::profile::{self, Profile, Roofline};
use crate::tensor::Tensor;
use crate::tune::{Tuned, Tuner};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Plans that a session keeps: enough for a few batch sizes, few enough that memory stays bounded.
const KEPT: usize = 8;

/// A plan with buffers for its inputs and outputs.
pub(crate) struct Prepared {
    shapes: Vec<(String, Vec<usize>)>,
    pub plan: Plan,
    pub frame: Frame,
    inputs: Vec<wgpu::Buffer>,
    outputs: Vec<wgpu::Buffer>,
}

impl Prepared {
    pub fn new(gpu: &Gpu, model: &Model, descriptor: &PlanDescriptor<'_>) -> Result<Self> {
        let plan = Plan::with_kernels(gpu.kernels(), model, descriptor)?;
        let buffers = |ports: &[crate::plan::Port]| {
            ports.iter().map(|p| gpu.buffer(p.bytes())).collect::<Result<Vec<_>>>()
        };
        let (inputs, outputs) = (buffers(plan.inputs())?, buffers(plan.outputs())?);
        let ports = plan.inputs().iter().zip(&inputs).chain(plan.outputs().iter().zip(&outputs));
        let views: Vec<_> = ports.map(|(port, buffer)| (port.name.as_str(), port.view(buffer))).collect();
        let frame = plan.bind(&views)?;
        let shapes = descriptor.inputs.iter().map(|(n, s)| ((*n).into(), s.to_vec())).collect();
        Ok(Self { shapes, plan, frame, inputs, outputs })
    }

    /// Whether it was made for inputs of these names and shapes.
    pub fn is_for(&self, inputs: &[(&str, &[usize])]) -> bool {
        self.shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())).eq(inputs.iter().copied())
    }

    /// Puts the tensors where the plan reads them.
    pub fn write(&self, gpu: &Gpu, inputs: &[(&str, &Tensor)]) -> Result<()> {
        for (port, buffer) in self.plan.inputs().iter().zip(&self.inputs) {
            let tensor = inputs.iter().find(|(name, _)| *name == port.name).map(|(_, t)| *t);
            let tensor = tensor.ok_or_else(|| Error::Model(format!("input `{}` is missing", port.name)))?;
            if tensor.element() != port.element {
                return Err(Error::Model(format!(
                    "input `{}` is {:?}, but the model takes {:?}",
                    port.name,
                    tensor.element(),
                    port.element
                )));
            }
            gpu.write(buffer, tensor)?;
        }
        Ok(())
    }
}

/// The plans of one model, for the shapes that were used last, and the weights that they share.
#[derive(Default)]
pub(crate) struct Plans {
    /// The most recently used is last.
    kept: VecDeque<Arc<Prepared>>,
    weights: Weights,
}

impl Plans {
    /// Drops the plans, but not the weights: packed, they are the same for all variants.
    fn forget(&mut self) {
        self.kept.clear();
    }

    /// The plan for inputs of these names and shapes, made where it is not there.
    pub fn get(
        &mut self,
        gpu: &Gpu,
        model: &Model,
        inputs: &[(&str, &[usize])],
        observe: Option<Observe<'_>>,
    ) -> Result<Arc<Prepared>> {
        if let Some(at) = self.kept.iter().position(|p| p.is_for(inputs)) {
            let found = self.kept[at].clone();
            self.kept.remove(at);
            self.kept.push_back(found.clone());
            return Ok(found);
        }
        let descriptor =
            PlanDescriptor { inputs, observe, weights: Some(&self.weights), ..Default::default() };
        let made = Arc::new(Prepared::new(gpu, model, &descriptor)?);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(made.clone());
        Ok(made)
    }
}

/// Runs a model: plans for new shapes are made on demand and kept.
pub struct Session<'g> {
    gpu: &'g Gpu,
    model: Model,
    plans: Mutex<Plans>,
    /// Held from writing inputs to reading outputs: runs of the same shapes share their buffers.
    turn: Mutex<()>,
}

impl<'g> Session<'g> {
    /// Prepares to run a model. Nothing is compiled before the first shapes are known.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Node`] where the model is malformed.
    pub fn new(gpu: &'g Gpu, model: &Model) -> Result<Self> {
        model.validate()?;
        Ok(Self { gpu, model: model.clone(), plans: Mutex::default(), turn: Mutex::default() })
    }

    /// Uploads, runs and reads back, in one submit: the outputs in the model's order.
    ///
    /// # Errors
    /// [`Error::Model`] where inputs are missing, unknown or of other elements; what [`Plan::new`] finds wrong with
    /// new shapes; [`Error::Device`] where the device is lost.
    pub async fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
        let prepared = self.prepare(&shapes)?;
        let words = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.run_prepared(&prepared, inputs)?
        };
        let ports = prepared.plan.outputs();
        ports.iter().zip(words).map(|(p, w)| Tensor::from_device_words(&p.shape, p.element, &w)).collect()
    }

    /// Bytes of GPU memory for these input shapes: weights and parameters, and the pools of activations.
    ///
    /// # Errors
    /// See [`Session::run`].
    pub fn gpu_bytes(&self, inputs: &[(&str, Vec<usize>)]) -> Result<u64> {
        let memory = self.prepare(inputs)?.plan.memory();
        Ok(memory.weights + memory.activations)
    }

    /// A row for each dispatch of the plan for these input shapes.
    ///
    /// # Errors
    /// See [`Session::run`].
    pub fn explain(&self, inputs: &[(&str, Vec<usize>)]) -> Result<String> {
        self.prepare(inputs)?.plan.explain()
    }

    /// Measures the variants of every product for these input shapes ([`Tuner::tune_all`]), and plans anew with the
    /// fastest from then on, for all shapes.
    ///
    /// # Errors
    /// See [`Session::run`] and [`Tuner::tune`].
    pub fn tune(&self, tuner: &Tuner<'_>, inputs: &[(&str, Vec<usize>)]) -> Result<Vec<Tuned>> {
        let problems: Vec<_> = self.prepare(inputs)?.frame.chosen().map(|c| c.problem).collect();
        let tuned = tuner.tune_all(&problems, |_, _| ())?;
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).forget();
        Ok(tuned)
    }

    /// What is chosen for each product of the plan for these input shapes, in its order.
    ///
    /// # Errors
    /// See [`Session::run`].
    pub fn chosen(&self, inputs: &[(&str, Vec<usize>)]) -> Result<Vec<Chosen>> {
        Ok(self.prepare(inputs)?.frame.chosen().copied().collect())
    }

    /// The time of each dispatch, and what it amounts to beside what the device does at most.
    ///
    /// The inputs are uploaded once, and the network runs `repeat` times (at least once) with each dispatch in a compute
    /// pass of its own, as many times in one pass, and as many times as [`Session::run`] does it; the fastest counts.
    ///
    /// # Errors
    /// See [`Session::run`].
    pub fn profile(&self, inputs: &[(&str, &Tensor)], roofline: &Roofline, repeat: usize) -> Result<Profile> {
        let shapes: Vec<(&str, Vec<usize>)> = inputs.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
        let prepared = self.prepare(&shapes)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || self.run_prepared(&prepared, inputs).map(drop);
        run()?;
        profile::measure(self.gpu, &prepared.plan, &prepared.frame, roofline, repeat, run)
    }

    /// Uploads, runs and reads the outputs' words back, for whoever has the turn.
    fn run_prepared(&self, prepared: &Prepared, inputs: &[(&str, &Tensor)]) -> Result<Vec<Vec<u32>>> {
        let ports = prepared.plan.outputs();
        let sources: Vec<_> = ports.iter().zip(&prepared.outputs).map(|(p, b)| (b, p.bytes())).collect();
        prepared.write(self.gpu, inputs)?;
        self.gpu.run(|pass| prepared.frame.record(pass), &sources)
    }

    fn prepare(&self, inputs: &[(&str, Vec<usize>)]) -> Result<Arc<Prepared>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let named: Vec<(&str, &[usize])> = inputs.iter().map(|(n, s)| (*n, s.as_slice())).collect();
        plans.get(self.gpu, &self.model, &named, None)
    }
}
