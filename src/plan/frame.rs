//! A plan bound to what the caller has, recorded whole or in parts.

use super::{Scope, Step};
use crate::error::{Error, Result};
use crate::kernel::{Call, Chosen};
use crate::tensor::Element;
use std::time::Duration;

/// What a step does, for an estimate of its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub operations: u64,
    pub element: Element,
    pub bytes: u64,
}

/// A plan bound to the caller's buffers and textures.
pub struct Frame {
    /// For each step.
    calls: Vec<Call>,
    /// For each step.
    work: Vec<Work>,
    /// Nanoseconds of each dispatch; none where the caller has set none.
    costs: Vec<f64>,
}

/// How far a frame has been recorded that is spread over several of the caller's: see [`Frame::record_range`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    call: usize,
    /// Of the call's.
    dispatch: usize,
    /// Of the frame's.
    recorded: usize,
}

impl Cursor {
    /// How many of the frame's dispatches have been recorded since it began: 0 between two runs.
    pub fn recorded(&self) -> usize {
        self.recorded
    }
}

impl Frame {
    pub(super) fn new(steps: &[Step], scope: &Scope<'_>) -> Result<Self> {
        let work = |s: &Step| Work { operations: s.operations, element: s.element, bytes: s.bytes };
        Ok(Self { calls: bind_all(steps, scope)?, work: steps.iter().map(work).collect(), costs: Vec::new() })
    }

    /// Records every dispatch into the caller's pass. Infallible and repeatable; allocates nothing but what wgpu does for
    /// the same commands.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.calls.iter().fold(None, |last, call| call.record_after(pass, last));
    }

    /// Records every dispatch into a compute pass of its own.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let label = Some("weighbridge");
        self.record(
            &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None }),
        );
    }

    /// Records as many dispatches as fit the budget, from where `cursor` is, which is moved on; at least one, so that
    /// a frame ends however small the budget. Returns whether that was the last one: then the outputs are there once this
    /// is submitted, and the cursor is at the beginning again. Infallible and repeatable, and allocates nothing.
    ///
    /// What a dispatch costs is what [`Frame::set_costs`] was told. Until then each is taken to use up any budget: there
    /// is one at a time.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use weighbridge::plan::{Cursor, Frame};
    /// # fn app(frame: &Frame, cursor: &mut Cursor, encoder: &mut wgpu::CommandEncoder) {
    /// // Every frame of the app: a millisecond of the network, and its answer every few frames.
    /// let mut pass = encoder.begin_compute_pass(&Default::default());
    /// let done = frame.record_range(&mut pass, cursor, Duration::from_millis(1));
    /// # }
    /// ```
    ///
    /// From the first part to the last, the parts must be submitted in their order, and
    /// - what is bound to inputs must keep what it holds, since any step may read it: draw the next picture into another
    ///   texture, or copy;
    /// - what is bound to outputs is incomplete, and must not be written, since a step may read what another has put there;
    /// - no other frame of the same plan may be recorded, nor this one with another cursor: they share the plan's memory.
    ///   Make a second plan, with the same [`super::Weights`], for what has to run in between.
    ///
    /// A run may be given up at any point by starting with a new cursor.
    pub fn record_range(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        cursor: &mut Cursor,
        budget: Duration,
    ) -> bool {
        let budget = budget.as_secs_f64() * 1e9;
        let (mut spent, mut last, first) = (0.0, None, cursor.recorded);
        while let Some(call) = self.calls.get(cursor.call) {
            if cursor.dispatch == call.dispatches().len() {
                (cursor.call, cursor.dispatch) = (cursor.call + 1, 0);
                continue;
            }
            spent += self.costs.get(cursor.recorded).copied().unwrap_or(f64::INFINITY);
            if spent > budget && cursor.recorded > first {
                return false;
            }
            last = call.record_only(cursor.dispatch, pass, last);
            (cursor.dispatch, cursor.recorded) = (cursor.dispatch + 1, cursor.recorded + 1);
        }
        *cursor = Cursor::default();
        true
    }

    /// Says what each dispatch takes, in nanoseconds and in the order that they are recorded in: as estimated for a
    /// device by [`crate::profile::Roofline::costs`], or as measured by [`crate::profile::costs`].
    ///
    /// # Errors
    /// [`Error::Argument`] where it is not one for each dispatch, or one is negative or no number.
    pub fn set_costs(&mut self, nanoseconds: &[f64]) -> Result<()> {
        let fail = |detail: String| Err(Error::Argument { op: "set_costs", detail });
        if nanoseconds.len() != self.dispatches() {
            return fail(format!("{} costs for {} dispatches", nanoseconds.len(), self.dispatches()));
        }
        if let Some((i, cost)) = nanoseconds.iter().enumerate().find(|(_, c)| c.is_nan() || **c < 0.0) {
            return fail(format!("dispatch {i} costs {cost} ns"));
        }
        self.costs = nanoseconds.to_vec();
        Ok(())
    }

    /// What was chosen for each matrix product and convolution, in the plan's order.
    pub fn chosen(&self) -> impl Iterator<Item = &Chosen> {
        self.calls.iter().flat_map(Call::chosen)
    }

    /// A call for each step of the plan.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The work of each step of the plan, beside its call.
    pub(crate) fn work(&self) -> impl Iterator<Item = (&Work, &Call)> {
        self.work.iter().zip(&self.calls)
    }

    /// How many dispatches are recorded.
    pub fn dispatches(&self) -> usize {
        self.calls.iter().map(|c| c.dispatches().len()).sum()
    }
}

/// The steps' calls. On several threads, since what takes time is that pipelines are made; of several errors the first
/// step's is returned.
#[cfg(not(target_arch = "wasm32"))]
fn bind_all(steps: &[Step], scope: &Scope<'_>) -> Result<Vec<Call>> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(steps.len());
    let (next, calls): (_, Vec<_>) = (AtomicUsize::new(0), steps.iter().map(|_| OnceLock::new()).collect());
    let work = || {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < steps.len()) {
            // Each place is filled once, by whoever drew its number.
            let _ = calls[i].set((steps[i].bind)(scope));
        }
    };
    std::thread::scope(|threads_of| {
        for _ in 1..threads {
            threads_of.spawn(work);
        }
        work();
    });
    calls.into_iter().filter_map(OnceLock::into_inner).collect()
}

#[cfg(target_arch = "wasm32")]
fn bind_all(steps: &[Step], scope: &Scope<'_>) -> Result<Vec<Call>> {
    steps.iter().map(|step| (step.bind)(scope)).collect()
}
