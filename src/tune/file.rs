//! The table as a file: JSON, for each adapter, driver and version of the crate what was measured on it.

use crate::error::{Error, Result};
use crate::kernel::{self, Choice, Measured, Origin, Problem};
use crate::tune::Tuner;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Of the file. Another is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    tables: Vec<Table>,
}

/// What was measured on one adapter. Those of others are kept as they are: another version may have written them.
#[derive(Serialize, Deserialize)]
struct Table {
    key: Key,
    entries: serde_json::Value,
}

/// What measurements hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    adapter: String,
    vendor: u32,
    device: u32,
    backend: String,
    driver: String,
    driver_info: String,
    /// Of this crate.
    version: String,
}

impl Key {
    fn new(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        Self {
            adapter: info.name,
            vendor: info.vendor,
            device: info.device,
            backend: format!("{:?}", info.backend),
            driver: info.driver,
            driver_info: info.driver_info,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    problem: Problem,
    choice: Choice,
    measured: Measured,
}

/// What [`Tuner::load`] found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Loaded {
    /// How many problems were put into the table.
    pub taken: usize,
    /// Those that this device cannot run as they were measured, for want of a feature: each with the reason.
    pub left_out: Vec<String>,
    /// How many tables are of other adapters, drivers or versions of the crate.
    pub others: usize,
}

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).map_err(|source| io(path, source))?;
    let not_a_table = |e: &serde_json::Error| Error::Format {
        what: path.display().to_string(),
        detail: format!("not a table of measured variants ({e}); delete it to begin anew"),
    };
    let format = |detail: String| Error::Format { what: path.display().to_string(), detail };
    // The number first: of another format nothing else may be as expected.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| not_a_table(&e))?;
    let found = value.get("format").and_then(serde_json::Value::as_u64);
    if let Some(found) = found.filter(|&f| f != u64::from(FORMAT)) {
        let detail = format!("format {found}, but this version reads {FORMAT}; delete it to begin anew");
        return Err(format(detail));
    }
    serde_json::from_value(value).map_err(|e| not_a_table(&e))
}

fn entries(path: &Path, table: &Table) -> Result<Vec<Entry>> {
    Vec::deserialize(&table.entries).map_err(|e| Error::Format {
        what: path.display().to_string(),
        detail: format!("entries of {}: {e}; delete it to begin anew", table.key.adapter),
    })
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

impl Tuner<'_> {
    /// Puts what a file says of this adapter, driver and version of the crate into the table. All of it or nothing: an
    /// error leaves the table as it was. Entries that the device has no feature for are left out, and named.
    ///
    /// Plans and calls that are bound already stay what they are.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is not such a file.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Loaded> {
        let path = path.as_ref();
        let kernels = self.gpu.kernels();
        let (key, file) = (Key::new(kernels.device()), read(path)?);
        let mut loaded = Loaded::default();
        let (ours, others): (Vec<_>, Vec<_>) = file.tables.iter().partition(|t| t.key == key);
        loaded.others = others.len();
        let tables = ours.into_iter().map(|t| entries(path, t)).collect::<Result<Vec<_>>>()?;
        for e in tables.concat() {
            match kernels.set_entry(&e.problem, e.choice, Origin::Tuned(e.measured)) {
                Ok(()) => loaded.taken += 1,
                Err(why) => loaded.left_out.push(format!("{}: {}: {why}", e.problem, e.choice)),
            }
        }
        Ok(loaded)
    }

    /// Writes what was measured to a file, beside what is in it of this and other adapters. Whoever reads it meanwhile
    /// finds the old file or the new one, whole; of two that write at a time, the later wins.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written; [`Error::Format`] where what is there is not such a file: it is left.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let kernels = self.gpu.kernels();
        let key = Key::new(kernels.device());
        let mut tables = match path.exists() {
            true => read(path)?.tables,
            false => Vec::new(),
        };
        let mut all: Vec<Entry> = kernels
            .measured()
            .into_iter()
            .map(|(problem, choice, measured)| Entry { problem, choice, measured })
            .collect();
        for table in tables.extract_if(.., |t| t.key == key) {
            for entry in entries(path, &table)? {
                if !all.iter().any(|e| e.problem == entry.problem) {
                    all.push(entry);
                }
            }
        }
        all.sort_by_cached_key(|e| e.problem.to_string());
        let failed =
            |e: serde_json::Error| Error::Format { what: path.display().to_string(), detail: e.to_string() };
        tables.push(Table { key, entries: serde_json::to_value(&all).map_err(failed)? });
        let text = serde_json::to_string_pretty(&File { format: FORMAT, tables }).map_err(failed)? + "\n";
        kernel::write_whole(path, text.as_bytes())
    }
}

/// Where the command line keeps its table: `WEIGHBRIDGE_TUNE_FILE`, else `weighbridge/tuned.json` in the user's folder
/// for caches. `None` where the environment names neither.
pub fn default_file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || {
        if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library/Caches"))
        } else {
            // Relative paths are to be ignored, says the specification.
            let named = variable("XDG_CACHE_HOME").filter(|p| p.is_absolute());
            named.or_else(|| variable("HOME").map(|home| home.join(".cache")))
        }
    };
    variable("WEIGHBRIDGE_TUNE_FILE").or_else(|| Some(cache()?.join("weighbridge/tuned.json")))
}
