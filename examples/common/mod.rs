//! What the examples on downloaded models share.

use std::path::{Path, PathBuf};
use weighbridge::Session;
use weighbridge::evaluate::{Batch, Rounds, latencies};

/// What reaches the user: a message, of whatever kind.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How to come by the models.
const FETCH: &str =
    "scripts/fetch-models DIR fetches the models; then --models DIR, or WEIGHBRIDGE_MODELS=DIR";

/// The folder that `scripts/fetch-models` filled.
#[derive(clap::Args)]
pub struct Models {
    /// Where `scripts/fetch-models` put the models (default: $WEIGHBRIDGE_MODELS)
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

impl Models {
    /// A file or folder of it, or what to do where that is missing.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let given = self.models.clone().or_else(|| std::env::var_os("WEIGHBRIDGE_MODELS").map(PathBuf::from));
        let path = given.ok_or(FETCH)?.join(name);
        if path.exists() { Ok(path) } else { Err(format!("no {}: {FETCH}", path.display()).into()) }
    }
}

/// An error about a file, with its name.
pub fn at<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// The median time of a run of each session, in milliseconds, in a few seconds altogether.
pub async fn milliseconds(sessions: &[Session<'_>], batch: &Batch) -> Result<Vec<f64>> {
    let rounds = Rounds { warm_up: 1, least: 5, most: 100, time: std::time::Duration::from_secs(2) };
    Ok(latencies(sessions, batch, rounds, || ()).await?)
}

/// An error as one line on stderr.
pub fn exit(done: Result<()>) -> std::process::ExitCode {
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.to_string().trim_end());
            std::process::ExitCode::FAILURE
        }
    }
}
