//! Where the time of a network goes: each dispatch's, beside what the device does at most.
//!
//! ```no_run
//! use weighbridge::{Gpu, Session, graph::Model, profile::Roofline, tensor::Tensor};
//!
//! # fn example(gpu: &Gpu, model: &Model, x: &Tensor) -> weighbridge::Result<()> {
//! let roofline = Roofline::measure(gpu)?;
//! let profile = Session::new(gpu, model)?.profile(&[("x", x)], &roofline, 10)?;
//! println!("{profile}");                                  // a table
//! let trace = profile.chrome_trace();                     // for chrome://tracing or ui.perfetto.dev
//! # Ok(()) }
//! ```
//!
//! A step of the plan is a node's op, of one dispatch or a few. Its share of the roofline is the time that its work takes
//! at least ([`Roofline::least`]) by the time that it took: of a product, its multiplications and additions at the
//! device's rate or its bytes at the rate of a copy, whichever takes longer; of everything else, its bytes. Bytes are
//! counted once for each operand and result, however often a kernel reads them.

mod roofline;
mod table;
#[cfg(feature = "serde")]
mod trace;

pub use roofline::Roofline;

use crate::error::Result;
use crate::gpu::{Clock, Gpu};
use crate::plan::{Frame, Plan};
use crate::tensor::Element;
use std::time::Instant;

/// One dispatch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dispatch {
    /// Kernel and variant.
    pub kernel: String,
    /// Workgroups in each dimension.
    pub groups: [u32; 3],
    /// Nanoseconds of its fastest run.
    pub nanoseconds: f64,
    /// Nanoseconds of the run in the middle.
    pub median: f64,
}

/// One op of the plan.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Step {
    /// The node that it comes from.
    pub node: String,
    /// What it does.
    pub op: String,
    /// Shapes for people.
    pub shapes: String,
    /// Type of its first operand.
    pub element: Element,
    /// Multiplications and additions of a product, two for each term; 0 for what is no product.
    pub operations: u64,
    /// Bytes of its operands and results.
    pub bytes: u64,
    /// At least one, but where there is nothing to do.
    pub dispatches: Vec<Dispatch>,
}

impl Step {
    /// Nanoseconds of all its dispatches.
    pub fn nanoseconds(&self) -> f64 {
        self.dispatches.iter().map(|d| d.nanoseconds).sum()
    }

    /// The time that its work takes on the device at least, by the time that it took: 1 is all that the device can do.
    pub fn of_roofline(&self, roofline: &Roofline) -> f64 {
        roofline.least(self.operations, self.element, self.bytes) / self.nanoseconds()
    }
}

/// Where the time of one run goes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Profile {
    /// The device.
    pub adapter: String,
    /// What dispatches were timed with.
    pub clock: Clock,
    /// Runs, of which the fastest counts.
    pub repeat: usize,
    /// What the device does at most.
    pub roofline: Roofline,
    /// In the order that they run.
    pub steps: Vec<Step>,
    /// Nanoseconds of all dispatches in one pass, as an application records them.
    pub frame: f64,
    /// Nanoseconds of a run with upload and read back, by the host's clock.
    pub run: f64,
}

impl Profile {
    /// Nanoseconds of all dispatches, each alone in its pass.
    pub fn nanoseconds(&self) -> f64 {
        self.steps.iter().map(Step::nanoseconds).sum()
    }
}

/// A call and one of its dispatches, for each dispatch of a frame.
fn places(frame: &Frame) -> Vec<(usize, usize)> {
    let calls = frame.calls().iter().enumerate();
    calls.flat_map(|(step, call)| (0..call.dispatches().len()).map(move |d| (step, d))).collect()
}

/// Measures what each dispatch of a frame takes, in nanoseconds, for [`Frame::set_costs`]: the fastest of `repeat` runs
/// (at least one), each dispatch in a compute pass of its own. It runs the frame on what is bound to it, and submits
/// and waits: for the time at which an app is loaded.
///
/// # Errors
/// [`crate::Error::Device`] where the device is lost.
pub fn costs(gpu: &Gpu, frame: &Frame, repeat: usize) -> Result<Vec<f64>> {
    let places = places(frame);
    let mut fastest = vec![f64::INFINITY; places.len()];
    for _ in 0..repeat.max(1) {
        let timings = gpu.time_passes(places.len(), |i, pass| {
            let (step, dispatch) = places[i];
            frame.calls()[step].record_only(dispatch, pass, None);
        })?;
        fastest.iter_mut().zip(timings.nanoseconds).for_each(|(best, t)| *best = best.min(t));
    }
    Ok(fastest)
}

/// Times a frame's dispatches, the frame and `run`, which uploads, runs the frame and reads back.
pub(crate) fn measure(
    gpu: &Gpu,
    plan: &Plan,
    frame: &Frame,
    roofline: &Roofline,
    repeat: usize,
    run: impl Fn() -> Result<()>,
) -> Result<Profile> {
    let repeat = repeat.max(1);
    let places = places(frame);
    let mut times = vec![Vec::with_capacity(repeat); places.len()];
    let (mut whole, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let timings = gpu.time_passes(places.len(), |i, pass| {
            let (step, dispatch) = places[i];
            frame.calls()[step].record_only(dispatch, pass, None);
        })?;
        times.iter_mut().zip(timings.nanoseconds).for_each(|(all, t)| all.push(t));
        whole.extend(gpu.time_passes(1, |_, pass| frame.record(pass))?.nanoseconds);
        let start = Instant::now();
        run()?;
        runs.push(start.elapsed().as_secs_f64() * 1e9);
    }
    let fastest = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    let mut times = times.iter_mut();
    let steps = plan.steps().iter().zip(frame.calls()).map(|(step, call)| Step {
        node: step.node.clone(),
        op: step.op.into(),
        shapes: step.shapes.clone(),
        element: step.element,
        operations: step.operations,
        bytes: step.bytes,
        dispatches: call
            .dispatches()
            .zip(&mut times)
            .map(|((kernel, groups), times)| {
                times.sort_by(f64::total_cmp);
                Dispatch {
                    kernel: kernel.into(),
                    groups,
                    nanoseconds: times[0],
                    median: times[times.len() / 2],
                }
            })
            .collect(),
    });
    Ok(Profile {
        adapter: gpu.device().adapter_info().name,
        clock: gpu.clock(),
        repeat,
        roofline: *roofline,
        steps: steps.collect(),
        frame: fastest(&whole),
        run: fastest(&runs),
    })
}
