//! Observers attached to a plan, and the schedule of passes over the data.

use crate::calibrate::Ranges;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::graph::Model;
use crate::ops::{RangeState, Update};
use crate::optimize::observed_values;
use crate::plan::{Observe, state_stride};
use crate::quant::Observer;
use crate::reference::Extrema;
use crate::session::Plans;
use crate::tensor::Tensor;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::pin::pin;

/// Batches that the device may be behind. One more waits for the oldest: memory stays bounded however fast the
/// stream is, and the device is never idle while the next batch is made.
const IN_FLIGHT: usize = 3;

/// Runs representative data through a model and keeps the range of every value that static quantization needs.
///
/// The ranges accumulate in GPU memory; [`Calibrator::finish`] reads them back, once.
pub struct Calibrator<'g> {
    gpu: &'g Gpu,
    model: Model,
    observer: Observer,
    values: Vec<String>,
    states: wgpu::Buffer,
    plans: Plans,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    batches: u64,
}

impl<'g> Calibrator<'g> {
    /// Attaches an observer to each value that [`crate::optimize::observed_values`] names.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Node`] where the model is malformed, [`Error::Argument`] for a moving average whose
    /// constant is not in (0, 1].
    pub fn new(gpu: &'g Gpu, model: &Model, observer: Observer) -> Result<Self> {
        model.validate()?;
        if let Observer::MovingAverage { constant } = observer {
            if !(constant > 0.0 && constant <= 1.0) {
                let detail =
                    format!("the constant of a moving average is {constant}, expected within (0, 1]");
                return Err(Error::Argument { op: "calibrate", detail });
            }
        }
        let values: Vec<String> =
            observed_values(model).into_iter().map(|id| model.value(id).name.clone()).collect();
        let states = gpu.buffer(values.len() as u64 * state_stride(gpu.device()))?;
        Ok(Self {
            gpu,
            model: model.clone(),
            observer,
            values,
            states,
            plans: Plans::default(),
            in_flight: VecDeque::new(),
            batches: 0,
        })
    }

    /// Observes one batch: the inputs by name. Returns once it is submitted, and no more than a few are under way; on the
    /// web, where nothing may block, [`Calibrator::observe_all`] is what sees to that.
    ///
    /// # Errors
    /// See [`crate::Session::run`].
    pub fn observe(&mut self, inputs: &[(&str, &Tensor)]) -> Result<()> {
        let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(n, t)| (*n, t.shape())).collect();
        let update = Update::Accumulate(self.observer);
        let observe = Observe { values: &self.values, states: &self.states, update };
        let prepared = self.plans.get(self.gpu, &self.model, &shapes, Some(observe))?;
        #[cfg(not(target_arch = "wasm32"))]
        while let Some(oldest) = self.too_many() {
            self.gpu.wait_for(oldest)?;
        }
        prepared.write(self.gpu, inputs)?;
        self.in_flight.push_back(self.gpu.submit(|pass| prepared.frame.record(pass)));
        self.batches += 1;
        Ok(())
    }

    /// Observes every batch of a stream, which is asked for the next one only when there is room for it.
    ///
    /// # Errors
    /// The stream's own, and see [`Calibrator::observe`]. What was observed before stays observed.
    pub async fn observe_all<S>(&mut self, batches: S) -> Result<()>
    where
        S: Stream<Item = Result<Vec<(String, Tensor)>>>,
    {
        let mut batches = pin!(batches);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let inputs: Vec<(&str, &Tensor)> = batch.iter().map(|(n, t)| (n.as_str(), t)).collect();
            while let Some(oldest) = self.too_many() {
                self.gpu.finished(oldest).await?;
            }
            self.observe(&inputs)?;
        }
        Ok(())
    }

    /// The batch to wait for before the next is submitted.
    fn too_many(&mut self) -> Option<wgpu::SubmissionIndex> {
        if self.in_flight.len() < IN_FLIGHT { None } else { self.in_flight.pop_front() }
    }

    /// Reads the ranges back.
    ///
    /// # Errors
    /// [`Error::Calibration`] where nothing was observed, or a value was NaN or infinite in some batch;
    /// [`Error::Device`] where the device is lost.
    pub async fn finish(self) -> Result<Ranges> {
        let stride = state_stride(self.gpu.device()) as usize / 4;
        let words = self.gpu.read_words(&self.states, 0, self.values.len() * stride).await?;
        let mut ranges = Ranges::new(self.observer);
        ranges.batches = self.batches;
        for (value, words) in self.values.into_iter().zip(words.chunks(stride)) {
            let state: RangeState = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words[..4]));
            let fail = |detail: String| Err(Error::Calibration { value: value.clone(), detail });
            if state.flags != 0 {
                let what = match (state.flags & Extrema::NAN != 0, state.flags & Extrema::INF != 0) {
                    (true, true) => "NaN and infinity",
                    (true, false) => "NaN",
                    _ => "infinity",
                };
                return fail(format!("{what} in {} batches of calibration data", self.batches));
            }
            if state.batches == 0 {
                return fail(format!("no element was seen in {} batches", self.batches));
            }
            ranges.values.insert(value, state.range());
        }
        Ok(ranges)
    }
}
