//! Variants chosen by measurement on the caller's device.
//!
//! ```no_run
//! use weighbridge::{Gpu, Session, Tuner, graph::Model};
//!
//! # async fn example(model: Model) -> weighbridge::Result<()> {
//! let gpu = Gpu::new().await?;
//! let tuner = Tuner::new(&gpu);
//! let session = Session::new(&gpu, &model)?;
//! for tuned in session.tune(&tuner, &[("image", vec![1, 3, 224, 224])])? {
//!     println!("{tuned}");
//! }
//! # Ok(()) }
//! ```
//!
//! Nothing is measured unless a [`Tuner`] is asked to, in submits of its own. What it finds goes into the table of
//! [`Gpu::kernels`], from which calls and plans are bound from then on; given the same table they are the same.
//! With the feature `serde` the table is kept in a file (`Tuner::save`, `Tuner::load`), for the same adapter, driver and
//! version of the crate only.

#[cfg(feature = "serde")]
mod file;
mod operands;
mod verify;

#[cfg(feature = "serde")]
pub use file::{Loaded, default_file};

use crate::error::{Error, Result};
use crate::gpu::{Clock, Gpu};
use crate::kernel::{Call, Choice, Measured, Origin, Problem};
use crate::tensor::Element;
use operands::Operands;
use std::time::{Duration, Instant};

/// How a [`Tuner`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TuneOptions {
    /// Time for one problem: no further candidate is begun that would be over it, going by those before. The default
    /// variant is always measured, however long it takes.
    pub budget: Duration,
    /// Whether problems that are in the table are measured again.
    pub again: bool,
}

impl Default for TuneOptions {
    /// 2 s, each class once.
    fn default() -> Self {
        Self { budget: Duration::from_secs(2), again: false }
    }
}

/// Measures the variants of matrix products and convolutions on a device, and keeps the fastest.
pub struct Tuner<'g> {
    gpu: &'g Gpu,
    options: TuneOptions,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was right, and measured to the end.
    Timed,
    /// It was right, but so slow at first that it was not measured further.
    Slow,
    /// Its results are wrong on this device: at which element.
    Wrong(String),
    /// It cannot be bound here: why.
    Refused(String),
}

/// A candidate that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The variant.
    pub choice: Choice,
    /// The fastest of its runs, where it was right.
    pub nanoseconds: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What is known of a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The problem.
    pub problem: Problem,
    /// What is in the table for its class.
    pub choice: Choice,
    /// Why. [`Origin::Set`] where a caller set it, and nothing was measured.
    pub origin: Origin,
    /// The candidates that were tried now, the default first; none where it was in the table.
    pub trials: Vec<Trial>,
    /// What times were taken with.
    pub clock: Clock,
}

/// A candidate is dropped where its second run takes so many times the fastest's.
const HOPELESS: f64 = 2.0;
/// The default stays unless another's time is below this part of it: less is noise.
const CLEARLY: f64 = 0.97;
/// Rounds of those that are left: the most, and the nanoseconds that a timed pass should take.
const ROUNDS: usize = 12;
const PASS: f64 = 200_000.0;

impl<'g> Tuner<'g> {
    /// For a device. Nothing is measured yet.
    pub fn new(gpu: &'g Gpu) -> Self {
        Self::with_options(gpu, TuneOptions::default())
    }

    /// The same with options.
    pub fn with_options(gpu: &'g Gpu, options: TuneOptions) -> Self {
        Self { gpu, options }
    }

    /// The device.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Measures the candidates for a problem, unless its class is in the table, and puts the fastest into it.
    ///
    /// Operands are made up, and such that all right results are equal to the last bit: some elements are compared with
    /// [`mod@crate::reference`], all with the other candidates', and a candidate that differs is out. Candidates run one
    /// after the other in [`Choice::candidates`]' order; those that are not hopeless then in turns until the time is
    /// up, and the fastest run of each counts. The operands are read again and again, so that they are in the caches that
    /// they fit into.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty problem, one that contradicts itself or one where there is nothing to choose,
    /// [`Error::Limit`] where it does not fit the device, [`Error::Device`] where that is lost or no candidate is right.
    pub fn tune(&self, problem: &Problem) -> Result<Tuned> {
        let (gpu, kernels) = (self.gpu, self.gpu.kernels());
        let clock = gpu.clock();
        if let Some((choice, origin)) = kernels.entry(problem).filter(|_| !self.options.again) {
            return Ok(Tuned { problem: *problem, choice, origin, trials: Vec::new(), clock });
        }
        let start = Instant::now();
        let candidates = Choice::candidates(gpu.device(), problem);
        let operands = Operands::new(gpu, problem)?;
        let mut field = Field::default();
        for (i, &choice) in candidates.iter().enumerate() {
            // What compiling and running one takes is known from those before.
            let each = start.elapsed() / i.max(1) as u32;
            // The last quarter is for the rounds.
            if i > 0 && start.elapsed() + each > self.options.budget * 3 / 4 {
                break;
            }
            field.enter(gpu, &operands, choice, problem.element != Element::I8)?;
        }
        field.judge();
        field.rounds(gpu, start, self.options.budget)?;
        let Some(winner) = field.winner() else {
            let why: Vec<String> =
                field.trials.iter().map(|t| format!("{:?}: {:?}", t.choice, t.verdict)).collect();
            return Err(Error::Device(format!(
                "none of {} variants computes {problem:?} rightly: {}",
                why.len(),
                why.join("; ")
            )));
        };
        let nanoseconds = |i: usize| field.trials[i].nanoseconds;
        let gain =
            nanoseconds(0).zip(nanoseconds(winner)).map(|(d, w)| (d / w.max(1.0) * 100.0).round() as u32);
        let measured =
            Measured { gain, tried: field.trials.len() as u32, candidates: candidates.len() as u32 };
        let (choice, origin) = (field.trials[winner].choice, Origin::Tuned(measured));
        kernels.set_entry(problem, choice, origin)?;
        Ok(Tuned { problem: *problem, choice, origin, trials: field.trials, clock })
    }

    /// [`Tuner::tune`] for the classes of problems, each once, in their order. `done` is told what was found, and how many
    /// there are.
    ///
    /// # Errors
    /// See [`Tuner::tune`]; what was found before stays in the table.
    pub fn tune_all(&self, problems: &[Problem], mut done: impl FnMut(&Tuned, usize)) -> Result<Vec<Tuned>> {
        let mut each: Vec<&Problem> = Vec::new();
        for problem in problems {
            if !each.iter().any(|p| p.class() == problem.class()) {
                each.push(problem);
            }
        }
        let one = |problem: &&Problem| {
            let tuned = self.tune(problem)?;
            done(&tuned, each.len());
            Ok(tuned)
        };
        each.iter().map(one).collect()
    }
}

impl Tuned {
    /// Nanoseconds of the default and of the winner, where they were measured now.
    pub fn times(&self) -> Option<[f64; 2]> {
        let winner = self.trials.iter().find(|t| t.choice == self.choice)?;
        Some([self.trials.first()?.nanoseconds?, winner.nanoseconds?])
    }
}

/// On one line.
impl std::fmt::Display for Tuned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.problem, self.choice)?;
        match (self.origin, self.trials.is_empty()) {
            (Origin::Tuned(m), true) => write!(f, " ({m}; from the table)"),
            (Origin::Tuned(m), false) => write!(f, " ({m})"),
            _ => f.write_str(" (set by the caller)"),
        }
    }
}

/// The candidates that were tried.
#[derive(Default)]
struct Field {
    trials: Vec<Trial>,
    /// The call and the result of each that could be bound.
    ran: Vec<Option<(Call, verify::Result)>>,
}

impl Field {
    /// Runs a candidate for the first time, which compiles it, and then once against the clock.
    fn enter(&mut self, gpu: &Gpu, operands: &Operands<'_>, choice: Choice, float: bool) -> Result<()> {
        let call = match operands.call(choice) {
            Ok(call) => call,
            // What one variant has no room for, another may. The default tells whether the problem is one.
            Err(e) if !self.trials.is_empty() => {
                let verdict = Verdict::Refused(e.to_string());
                self.trials.push(Trial { choice, nanoseconds: None, verdict });
                self.ran.push(None);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let result = verify::Result::new(&operands.run(&call)?, float, &operands.samples);
        let nanoseconds = gpu.time(&[&call])?.nanoseconds[0];
        let best = self.trials.iter().filter_map(|t| t.nanoseconds).fold(f64::INFINITY, f64::min);
        let verdict = if nanoseconds > HOPELESS * best { Verdict::Slow } else { Verdict::Timed };
        self.trials.push(Trial { choice, nanoseconds: Some(nanoseconds), verdict });
        self.ran.push(Some((call, result)));
        Ok(())
    }

    /// Takes out whose results are wrong.
    fn judge(&mut self) {
        let places: Vec<usize> = (0..self.ran.len()).filter(|&i| self.ran[i].is_some()).collect();
        let results: Vec<_> = self.ran.iter().flatten().map(|(_, result)| result.clone()).collect();
        for (place, wrong) in places.into_iter().zip(verify::verify(&results)) {
            if let Some(wrong) = wrong {
                let trial = &mut self.trials[place];
                (trial.nanoseconds, trial.verdict) = (None, Verdict::Wrong(wrong));
            }
        }
    }

    /// Times those that are left in turns, until the time is up.
    fn rounds(&mut self, gpu: &Gpu, start: Instant, budget: Duration) -> Result<()> {
        for _ in 0..ROUNDS {
            let best = self.trials.iter().filter_map(|t| t.nanoseconds).fold(f64::INFINITY, f64::min);
            let left: Vec<usize> = (0..self.trials.len())
                .filter(|&i| self.trials[i].nanoseconds.is_some_and(|t| i == 0 || t <= HOPELESS * best))
                .collect();
            let calls: Vec<(usize, &Call)> =
                left.iter().filter_map(|&i| Some((i, &self.ran[i].as_ref()?.0))).collect();
            // Short calls several times to a pass, so that the clock's steps do not count.
            let repeats = (PASS / best.max(1.0)).clamp(1.0, 20.0) as usize;
            let passes = self.trials.iter().filter_map(|t| t.nanoseconds).sum::<f64>() * repeats as f64;
            if start.elapsed() + Duration::from_nanos(passes as u64) > budget {
                break;
            }
            let times = gpu.time_passes(calls.len(), |i, pass| {
                (0..repeats).for_each(|_| calls[i].1.record(pass));
            })?;
            let order: Vec<usize> = calls.iter().map(|c| c.0).collect();
            for (i, nanoseconds) in order.into_iter().zip(times.nanoseconds) {
                let trial = &mut self.trials[i];
                trial.nanoseconds = trial.nanoseconds.map(|t| t.min(nanoseconds / repeats as f64));
            }
        }
        Ok(())
    }

    /// The default, unless it is wrong or another is clearly faster.
    fn winner(&self) -> Option<usize> {
        let time = |i: &usize| self.trials[*i].nanoseconds.unwrap_or(f64::INFINITY);
        let right = (0..self.trials.len()).filter(|i| time(i).is_finite());
        let fastest = right.min_by(|a, b| time(a).total_cmp(&time(b)))?;
        Some(if time(&fastest) < CLEARLY * time(&0) { fastest } else { 0 })
    }
}
