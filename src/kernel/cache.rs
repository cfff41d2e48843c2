//! Compiled pipelines in a file, where the driver gives them out (Vulkan).

use crate::error::{Error, Result};
use crate::kernel::Kernels;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

/// The first line of the file.
const TITLE: &str = "weighbridge pipelines 1";

impl Kernels {
    /// Has pipelines that are made from now on come from a file that [`Kernels::save_pipelines`] wrote, where they are in
    /// it. To be called before anything is bound. Returns how many bytes were taken from it: none where there is no
    /// file yet, or it is of another device, driver or version of the crate; `None` where the device has no
    /// `PIPELINE_CACHE`, and all is compiled as ever.
    ///
    /// What the driver is given is what lies in the file. Keep it where only those write who may also run code.
    ///
    /// # Errors
    /// [`Error::Io`] where the file is there and cannot be read.
    pub fn load_pipelines(&self, path: impl AsRef<Path>) -> Result<Option<usize>> {
        if !self.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Ok(None);
        }
        let path = path.as_ref();
        let data = match std::fs::read(path) {
            Ok(file) => opened(&file, &key(&self.device)).map(<[u8]>::to_vec),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Io { path: path.display().to_string(), source }),
        };
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("weighbridge"),
            data: data.as_deref(),
            fallback: true,
        };
        // SAFETY: the data is what `get_data` gave for a device of the same key, as its checksum says; that nobody made
        // a file up is for the caller to see to, and documented.
        #[allow(unsafe_code)]
        let cache = unsafe { self.device.create_pipeline_cache(&descriptor) };
        // Of two that are opened, the first serves.
        let _ = self.cache.set(cache);
        Ok(Some(data.map_or(0, |data| data.len())))
    }

    /// Writes what the driver has compiled since [`Kernels::load_pipelines`], with what it took from there. Returns
    /// whether there was anything to write.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn save_pipelines(&self, path: impl AsRef<Path>) -> Result<bool> {
        let Some(data) = self.cache.get().and_then(wgpu::PipelineCache::get_data) else { return Ok(false) };
        let head = format!("{TITLE}\n{}\n{:016x}\n", key(&self.device), checksum(&data));
        write_whole(path.as_ref(), &[head.as_bytes(), &data].concat())?;
        Ok(true)
    }
}

/// What the data is good for, on one line.
fn key(device: &wgpu::Device) -> String {
    let info = device.adapter_info();
    let known = wgpu::util::pipeline_cache_key(&info).unwrap_or_default();
    let crate_version = env!("CARGO_PKG_VERSION");
    let key = format!("{known}|{}|{}|{}|{crate_version}", info.name, info.driver, info.driver_info);
    key.replace('\n', " ")
}

fn checksum(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish()
}

/// The data of a file, where it is whole and of this key.
fn opened<'a>(file: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let rest = file.strip_prefix(format!("{TITLE}\n{key}\n").as_bytes())?;
    let (sum, rest) = rest.split_at_checked(16)?;
    let data = rest.strip_prefix(b"\n")?;
    (sum == format!("{:016x}", checksum(data)).as_bytes()).then_some(data)
}

/// Writes a file, with its folders, such that whoever reads it meanwhile finds the old one or the new one, whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |path: &Path, source| Error::Io { path: path.display().to_string(), source };
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|e| {
        // What is left of it helps nobody; that it could not be removed either is not the error to report.
        let _ = std::fs::remove_file(&beside);
        io(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_the_same_key_are_opened() {
        let file = format!("{TITLE}\nkey\n{:016x}\ndata", checksum(b"data")).into_bytes();
        assert_eq!(opened(&file, "key"), Some(&b"data"[..]));
        assert_eq!(opened(&file, "other"), None);
        assert_eq!(opened(&[&file[..], b"!"].concat(), "key"), None);
        for end in 0..file.len() {
            assert_eq!(opened(&file[..end], "key"), None, "cut at {end}");
        }
    }
}
