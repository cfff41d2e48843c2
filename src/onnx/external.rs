//! Tensors whose data lies in other files: a location below the model's own directory, an offset and a length.

use super::proto::{TensorProto, data_type};
use super::tensor;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// `TensorProto::data_location` of what is in another file.
const EXTERNAL: i32 = 1;

/// Bytes of one element in a file.
fn width(data_type: i32) -> Option<u64> {
    match data_type {
        data_type::DOUBLE => Some(8),
        other => tensor::element(other).map(|e| e.size() as u64),
    }
}

/// Reads a tensor, from `directory` where its data is in another file. Only its own range is read, and only where that is
/// as long as the tensor is.
pub(super) fn read(proto: &TensorProto, name: &str, directory: Option<&Path>) -> Result<Tensor> {
    if proto.data_location != EXTERNAL {
        return tensor::read(proto, name);
    }
    let fail = |detail: String| Error::Format { what: format!("tensor `{name}`"), detail };
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| {
        let parse = |text: &str| text.parse::<u64>().map_err(|_| fail(format!("its {key} is `{text}`")));
        entry(key).map(parse).transpose()
    };
    let location = entry("location").filter(|l| !l.is_empty());
    let location = location.ok_or_else(|| fail("its data is in another file, which is not named".into()))?;
    let directory = directory.ok_or_else(|| {
        let how = "read the model from its file, or say in which directory it is";
        fail(format!("its data is in the file `{location}`: {how}"))
    })?;
    let path = inside(directory, location).map_err(fail)?;
    let dims: Option<Vec<u64>> = proto.dims.iter().map(|&d| u64::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| fail(format!("negative dimensions {:?}", proto.dims)))?;
    let width = width(proto.data_type)
        .ok_or_else(|| fail(format!("data type {} is not supported", proto.data_type)))?;
    let needed = dims.iter().try_fold(width, |n, &d| n.checked_mul(d));
    let needed = needed.ok_or_else(|| fail(format!("dimensions {dims:?} are too many bytes to count")))?;
    let io = |source| Error::Io { path: path.display().to_string(), source };
    let mut file = File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let offset = number("offset")?.unwrap_or(0);
    let Some(rest) = size.checked_sub(offset) else {
        return Err(fail(format!("its data begins at {offset} of {size} bytes of `{location}`")));
    };
    let length = number("length")?.unwrap_or(rest);
    if length > rest {
        let range = format!("{length} bytes from {offset}");
        return Err(fail(format!("its data are {range}, but `{location}` has {size} bytes")));
    }
    if length != needed {
        return Err(fail(format!("dimensions {dims:?} are {needed} bytes, but its data are {length}")));
    }
    let length = usize::try_from(length).map_err(|_| fail(format!("{length} bytes do not fit memory")))?;
    let mut raw = vec![0; length];
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    file.read_exact(&mut raw).map_err(io)?;
    let held = TensorProto { raw_data: Some(raw), data_location: 0, ..proto.clone() };
    tensor::read(&held, name)
}

/// The path of a location, which must stay inside of the directory, whatever links there are.
fn inside(directory: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    // A backslash separates on some systems only: elsewhere it is no part of an honest name.
    if !relative.components().all(plain) || location.contains('\\') {
        return Err(format!("its data is in `{location}`, which is not below the model's directory"));
    }
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let path = directory.join(relative);
    let real = |p: &Path| p.canonicalize().map_err(|e| format!("its data is in {}: {e}", p.display()));
    let (root, found) = (real(directory)?, real(&path)?);
    if !found.starts_with(&root) {
        return Err(format!("its data is in `{location}`, a link that leaves the model's directory"));
    }
    Ok(found)
}
