//! Files that are written whole or not at all.

use crate::Result;
use std::path::{Path, PathBuf};

/// A file to be written when all else is done. That it can be is found out before: not after minutes of work.
pub struct OutFile {
    /// What is replaced, with links followed.
    target: PathBuf,
    /// Beside it, until it is renamed; `None` where the target is a device or a pipe.
    temporary: Option<PathBuf>,
}

impl OutFile {
    /// Makes an empty file beside `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match target.metadata() {
            Ok(found) if found.is_dir() => Err(format!("{}: is a folder", path.display()).into()),
            Ok(found) if !found.is_file() => Ok(Self { target, temporary: None }),
            Ok(found) if found.permissions().readonly() => {
                Err(format!("{}: is read-only", path.display()).into())
            }
            _ => {
                let name = target.file_name().ok_or_else(|| format!("{}: names no file", path.display()))?;
                let mut hidden = std::ffi::OsString::from(".");
                hidden.push(name);
                hidden.push(format!(".{}.part", std::process::id()));
                let temporary = target.with_file_name(hidden);
                std::fs::File::create(&temporary).map_err(fail)?;
                Ok(Self { target, temporary: Some(temporary) })
            }
        }
    }

    /// Writes the bytes, and puts the file in its place.
    pub fn write(mut self, bytes: &[u8]) -> Result<()> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.target.display());
        std::fs::write(self.temporary.as_ref().unwrap_or(&self.target), bytes).map_err(fail)?;
        if let Some(temporary) = &self.temporary {
            std::fs::rename(temporary, &self.target).map_err(fail)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // There is nobody left to tell.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left() {
        let dir = std::env::temp_dir().join(format!("weighbridge-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("y");
        std::fs::write(&path, "old").unwrap();
        drop(OutFile::create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        OutFile::create(&path).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
        assert!(OutFile::create(&dir).is_err());
        assert!(OutFile::create(&dir.join("no/such")).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
