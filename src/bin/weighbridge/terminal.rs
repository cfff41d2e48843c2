//! What the commands share: the GPU that was asked for, a progress bar, how often runs are timed.

use crate::Result;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::time::Duration;
use weighbridge::evaluate::Rounds;
use weighbridge::tune::{self, Loaded};
use weighbridge::{Gpu, Tuner};

/// The adapter whose name contains this, else the one of the environment or the fastest kind.
pub async fn gpu(adapter: Option<&str>) -> Result<Gpu> {
    Ok(match adapter {
        Some(name) => Gpu::with_adapter_name(Some(name)).await?,
        None => Gpu::new().await?,
    })
}

/// Takes what `weighbridge tune` found for this GPU, where there is such a file, and says so on stderr. A file that cannot
/// be used is said to be, and left out.
pub fn load_tuned(gpu: &Gpu, ignored: bool) {
    let Some(path) = tune::default_file().filter(|path| !ignored && path.exists()) else { return };
    match Tuner::new(gpu).load(&path) {
        Ok(Loaded { taken: 0, left_out, .. }) if left_out.is_empty() => {}
        Ok(Loaded { taken, left_out, .. }) => {
            eprintln!("{taken} problems are tuned: {} (--no-tuned ignores it)", path.display());
            left_out.iter().for_each(|why| eprintln!("not tuned: {why}"));
        }
        Err(error) => eprintln!("nothing is tuned: {error}"),
    }
}

/// A bar on stderr, where that is a terminal.
pub fn progress() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} {wide_bar} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// How often a batch of this size is timed: as often as fits the time, but for networks that take seconds a few times.
pub fn rounds(batch: usize) -> Rounds {
    match batch {
        1 => Rounds { warm_up: 2, least: 5, most: 200, time: Duration::from_secs(2) },
        _ => Rounds { warm_up: 1, least: 3, most: 50, time: Duration::from_secs(3) },
    }
}
