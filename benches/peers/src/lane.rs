//! One peer at one problem, and the race between them.

use std::time::{Duration, Instant};

/// Who: a column of the table of ratios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Weighbridge,
    WeighbridgeTuned,
    Burn,
    OrtWebGpu,
    OrtCpu,
    Gemm,
    Candle,
    /// The host's own way to move bytes.
    Memcpy,
    /// A kernel that does nothing else.
    Copy,
}

impl Peer {
    pub const ALL: [Peer; 9] = [
        Peer::Weighbridge,
        Peer::WeighbridgeTuned,
        Peer::Burn,
        Peer::OrtWebGpu,
        Peer::OrtCpu,
        Peer::Gemm,
        Peer::Candle,
        Peer::Memcpy,
        Peer::Copy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Weighbridge => "weighbridge",
            Peer::WeighbridgeTuned => "weighbridge, tuned",
            Peer::Burn => "burn",
            Peer::OrtWebGpu => "ONNX Runtime WebGPU",
            Peer::OrtCpu => "ONNX Runtime CPU",
            Peer::Gemm => "gemm (CPU)",
            Peer::Candle => "candle (CPU)",
            Peer::Memcpy => "memcpy",
            Peer::Copy => "copy kernel",
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Peer::Weighbridge | Peer::WeighbridgeTuned)
    }

    /// Whether it runs on the adapter, so that the adapter's limits are its own.
    pub fn on_adapter(self) -> bool {
        matches!(self, Peer::Weighbridge | Peer::WeighbridgeTuned | Peer::Burn | Peer::OrtWebGpu | Peer::Copy)
    }
}

/// What a run of all lanes of a race amounts to.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Multiplications and additions.
    Operations(f64),
    /// Bytes read and written.
    Bytes(f64),
}

impl Work {
    pub fn amount(self) -> f64 {
        match self {
            Work::Operations(n) | Work::Bytes(n) => n,
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Work::Operations(_) => "GFLOP/s",
            Work::Bytes(_) => "GB/s",
        }
    }
}

/// So many runs, and the wait for the last of them.
pub type Run<'a> = Box<dyn FnMut(usize) -> Result<Duration, String> + 'a>;

/// Why a lane has no time.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Its result is not the problem's.
    Wrong(String),
    /// It has no result.
    Absent(String),
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Wrong(_) => "INVALID",
            Fault::Absent(_) => "none",
        }
    }
}

/// One peer's way to solve a problem, already checked.
pub struct Lane<'a> {
    pub peer: Peer,
    /// What it does, where that needs saying: lanes of the same are compared with each other.
    pub what: String,
    /// The first call, which compiles and tunes.
    pub first: Duration,
    /// What there is to say of a right result.
    pub verdict: Result<String, Fault>,
    pub run: Run<'a>,
    /// Where it is other work than the race's.
    pub work: Option<Work>,
    times: Vec<f64>,
}

impl<'a> Lane<'a> {
    pub fn new(
        peer: Peer,
        what: impl Into<String>,
        first: Duration,
        verdict: Result<String, String>,
        run: Run<'a>,
    ) -> Self {
        let verdict = verdict.map_err(Fault::Wrong);
        Self { peer, what: what.into(), first, verdict, run, work: None, times: Vec::new() }
    }

    /// One that could not even run.
    pub fn absent(peer: Peer, what: impl Into<String>, why: String) -> Self {
        let lane =
            Self::new(peer, what, Duration::ZERO, Ok(String::new()), Box::new(|_| Err("not run".into())));
        Self { verdict: Err(Fault::Absent(why)), ..lane }
    }

    pub fn with_work(mut self, work: Work) -> Self {
        self.work = Some(work);
        self
    }
}

/// A round of a lane lasts about as long in seconds, so that the cost of a submission is small in it.
const ROUND: f64 = 0.03;

/// What came of a lane.
pub struct Outcome {
    pub peer: Peer,
    pub what: String,
    pub first: f64,
    pub verdict: Result<Time, Fault>,
}

/// Seconds of one run.
pub struct Time {
    pub best: f64,
    pub median: f64,
    /// In 1e9 a second, of the best.
    pub rate: f64,
    pub note: String,
}

/// Times the lanes in turn, round after round.
pub fn race(work: Work, rounds: usize, mut lanes: Vec<Lane>) -> Vec<Outcome> {
    let mut runs = vec![1; lanes.len()];
    for round in 0..=rounds {
        for (lane, runs) in lanes.iter_mut().zip(&mut runs).filter(|(lane, _)| lane.verdict.is_ok()) {
            match (lane.run)(*runs) {
                // A warm-up, which says how many runs make a round.
                Ok(time) if round == 0 => {
                    *runs = (ROUND / time.as_secs_f64()).ceil().clamp(1.0, 200.0) as usize;
                }
                Ok(time) => lane.times.push(time.as_secs_f64() / *runs as f64),
                Err(e) => lane.verdict = Err(Fault::Absent(e)),
            }
        }
    }
    lanes.into_iter().map(|lane| lane.outcome(work)).collect()
}

impl Lane<'_> {
    fn outcome(mut self, work: Work) -> Outcome {
        self.times.sort_by(f64::total_cmp);
        let times = &self.times;
        let work = self.work.unwrap_or(work);
        let verdict = self.verdict.map(|note| {
            let best = times.first().copied().unwrap_or(f64::NAN);
            let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
            Time { best, median, rate: work.amount() / best / 1e9, note }
        });
        Outcome { peer: self.peer, what: self.what, first: self.first.as_secs_f64(), verdict }
    }
}

/// Runs `f`, and how long that took.
pub fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed())
}
