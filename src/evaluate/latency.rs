//! How long runs take.

use crate::error::Result;
use crate::evaluate::{Batch, named};
use crate::session::Session;
use std::time::{Duration, Instant};

/// How often [`latencies`] runs each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// Unmeasured, so that pipelines are compiled, buffers made and clocks up.
    pub warm_up: usize,
    /// At least as many, however long they take.
    pub least: usize,
    /// Not more than this.
    pub most: usize,
    /// No further round is begun after this time, once there were the least.
    pub time: Duration,
}

/// The median: of an even number the mean of the two in the middle; `None` of none.
pub fn median(durations: &[Duration]) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2)
}

/// The median time of a whole run (upload, compute, read back) of each session, in milliseconds.
///
/// The sessions take turns, so that what else the machine does meets them all alike. `on_round` is called after each
/// round.
///
/// # Errors
/// As [`Session::run`].
pub async fn latencies(
    sessions: &[Session<'_>],
    batch: &Batch,
    rounds: Rounds,
    mut on_round: impl FnMut(),
) -> Result<Vec<f64>> {
    let inputs = named(batch);
    for _ in 0..rounds.warm_up {
        for session in sessions {
            session.run(&inputs).await?;
        }
        on_round();
    }
    let mut times = vec![Vec::new(); sessions.len()];
    let start = Instant::now();
    for round in 0..rounds.most.max(rounds.least) {
        if round >= rounds.least && start.elapsed() > rounds.time {
            break;
        }
        for (session, times) in sessions.iter().zip(&mut times) {
            let start = Instant::now();
            session.run(&inputs).await?;
            times.push(start.elapsed());
        }
        on_round();
    }
    Ok(times.iter().map(|t| median(t).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_numbers() {
        let ms = |v: &[u64]| median(&v.iter().map(|&n| Duration::from_millis(n)).collect::<Vec<_>>());
        assert_eq!(ms(&[]), None);
        assert_eq!(ms(&[7]), Some(Duration::from_millis(7)));
        assert_eq!(ms(&[9, 1, 5]), Some(Duration::from_millis(5)));
        assert_eq!(ms(&[9, 1, 4, 5]), Some(Duration::from_micros(4500)));
    }
}
