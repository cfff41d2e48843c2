//! Arrays for a model's inputs: which is whose, whether they fit, and batches of their rows.

use crate::Result;
use crate::npy;
use std::path::{Path, PathBuf};
use weighbridge::evaluate::Batch;
use weighbridge::graph::{Dim, Model, Value, ValueId};
use weighbridge::tensor::{Data, Tensor};

/// Which value each `NAME=PATH` or `PATH` means, by its place in `names`. A bare path is the only one that is left.
pub fn assigned(option: &str, what: &str, texts: &[String], names: &[&str]) -> Result<Vec<(usize, PathBuf)>> {
    let list = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let named = |text: &str| {
        let after = |name: &str| text.strip_prefix(name)?.strip_prefix('=').map(PathBuf::from);
        names.iter().enumerate().find_map(|(i, name)| Some((i, after(name)?)))
    };
    let mut all: Vec<(usize, PathBuf)> = Vec::new();
    for text in texts {
        let found = match (named(text), text.split_once('=')) {
            (Some(found), _) => found,
            (None, Some((name, _))) => {
                let known = list(names);
                return Err(
                    format!("{option} {text}: there is no {what} `{name}`, the model has {known}").into()
                );
            }
            (None, None) => {
                let is_free = |i: &usize| !texts.iter().any(|t| named(t).is_some_and(|(j, _)| j == *i));
                let free: Vec<usize> = (0..names.len()).filter(is_free).collect();
                let [only] = free[..] else {
                    let names: Vec<&str> = free.iter().map(|&i| names[i]).collect();
                    let which = if names.is_empty() { "none is left".into() } else { list(&names) };
                    return Err(format!(
                        "{option} {text}: which {what} is it? ({which}) Write {option} NAME={text}"
                    )
                    .into());
                };
                (only, text.into())
            }
        };
        if all.iter().any(|(i, _)| *i == found.0) {
            return Err(format!("{option} {text}: {what} `{}` is given twice", names[found.0]).into());
        }
        all.push(found);
    }
    Ok(all)
}

/// The names of some values.
pub fn names<'m>(model: &'m Model, ids: &[ValueId]) -> Vec<&'m str> {
    ids.iter().map(|&id| model.value(id).name.as_str()).collect()
}

/// A shape as people write it.
pub fn written(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(n) => n.to_string(),
            Dim::Symbol(name) => name.clone(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// An array for each of the model's inputs, in their order. `batched` arrays may have any number of rows, whatever the
/// model says of its outermost dimension.
pub fn load(option: &str, texts: &[String], model: &Model, batched: bool) -> Result<Batch> {
    let files = assigned(option, "input", texts, &names(model, model.inputs()))?;
    let mut batch = Vec::new();
    for (i, &id) in model.inputs().iter().enumerate() {
        let value = model.value(id);
        let (name, shape) = (&value.name, written(&value.shape));
        let Some((_, path)) = files.iter().find(|(j, _)| *j == i) else {
            let element = npy::name(value.element);
            return Err(format!(
                "input `{name}` ({element} {shape}) is missing: give {option} {name}=FILE.npy"
            )
            .into());
        };
        let tensor = array(path, value, batched)?;
        batch.push((name.clone(), tensor));
    }
    Ok(batch)
}

/// The array of a file for an input. A `batched` one may have any number of rows, whatever the model says.
pub fn array(path: &Path, value: &Value, batched: bool) -> Result<Tensor> {
    let (name, shape) = (&value.name, written(&value.shape));
    let array = npy::read(path)?;
    let found = array.tensor.shape().to_vec();
    let fits =
        found.len() == value.shape.len()
            && value.shape.iter().zip(&found).enumerate().all(|(axis, (dim, &n))| {
                (axis == 0 && batched) || dim.fixed().is_none_or(|fixed| fixed == n)
            });
    let path = path.display();
    if !fits {
        return Err(format!("{path}: shape {found:?} does not fit input `{name}` of {shape}").into());
    }
    Ok(array.converted(value.element).map_err(|e| format!("{path}: input `{name}`: {e}"))?)
}

/// Arrays whose rows along the outermost dimension belong together.
pub struct Rows {
    inputs: Batch,
    rows: usize,
    /// The batch, where the model takes no other.
    fixed: Option<usize>,
}

impl Rows {
    /// Reads what `option` names.
    pub fn load(option: &str, texts: &[String], model: &Model) -> Result<Self> {
        let inputs = load(option, texts, model, true)?;
        let mut rows = None;
        let mut fixed: Option<usize> = None;
        for ((name, tensor), &id) in inputs.iter().zip(model.inputs()) {
            let Some(&n) = tensor.shape().first() else {
                return Err(format!("input `{name}` is a scalar: it has no rows to make batches of").into());
            };
            let (first, of) = *rows.get_or_insert((n, name));
            if n != first {
                return Err(format!("{option}: `{of}` has {first} rows, but `{name}` has {n}").into());
            }
            let own = model.value(id).shape.first().and_then(Dim::fixed);
            if let (Some(own), Some(other)) = (own, fixed.filter(|&f| own.is_some_and(|own| own != f))) {
                return Err(format!(
                    "input `{name}` has a fixed batch of {own}, and another of {other}: rows do not belong together"
                )
                .into());
            }
            fixed = fixed.or(own);
        }
        let rows = rows.map_or(0, |(n, _)| n);
        if rows == 0 {
            return Err(format!("{option}: there are no rows").into());
        }
        match fixed {
            Some(batch) if batch == 0 || !rows.is_multiple_of(batch) => {
                Err(format!("{option}: {rows} rows are no multiple of the model's fixed batch of {batch}")
                    .into())
            }
            _ => Ok(Self { inputs, rows, fixed }),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The batch that was wanted, if the model takes it; without a wish the model's own, or `otherwise`.
    pub fn batch(&self, wanted: Option<usize>, otherwise: usize) -> Result<usize> {
        match (wanted, self.fixed) {
            (Some(wanted), Some(fixed)) if wanted != fixed => {
                Err(format!("--batch {wanted}: the model has a fixed batch of {fixed}").into())
            }
            (Some(wanted), _) => Ok(wanted),
            (None, fixed) => Ok(fixed.unwrap_or(otherwise.min(self.rows))),
        }
    }

    /// At least so many rows in batches that the model takes, or all there are.
    pub fn whole(&self, count: usize) -> usize {
        let unit = self.fixed.unwrap_or(1);
        (count.div_ceil(unit) * unit).min(self.rows)
    }

    /// Some of the rows.
    pub fn slice(&self, from: usize, to: usize) -> Result<Batch> {
        self.inputs.iter().map(|(name, tensor)| Ok((name.clone(), sliced(tensor, from, to)?))).collect()
    }

    /// The first `count` rows in batches; the last has what is left.
    pub fn batches(&self, count: usize, batch: usize) -> Result<Vec<Batch>> {
        (0..count).step_by(batch).map(|from| self.slice(from, (from + batch).min(count))).collect()
    }
}

fn sliced(tensor: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    let row: usize = tensor.shape().iter().skip(1).product();
    let range = from * row..to * row;
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(v[range].to_vec()),
        Data::F16(v) => Data::F16(v[range].to_vec()),
        Data::I8(v) => Data::I8(v[range].to_vec()),
        Data::U8(v) => Data::U8(v[range].to_vec()),
        Data::I32(v) => Data::I32(v[range].to_vec()),
        Data::I64(v) => Data::I64(v[range].to_vec()),
        Data::Bool(v) => Data::Bool(v[range].to_vec()),
    };
    let shape: Vec<usize> = [to - from].into_iter().chain(tensor.shape().iter().skip(1).copied()).collect();
    Ok(Tensor::new(shape, data)?)
}

/// A model's file and the model.
pub fn model(path: &Path) -> Result<(Model, u64)> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = std::fs::metadata(path).map_err(|e| named(&e))?.len();
    let model = Model::from_onnx_file(path).map_err(|e| match e {
        e @ weighbridge::Error::Io { .. } => e.to_string(),
        e => named(&e),
    })?;
    Ok((model, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_or_refused() {
        let of = |texts: &[&str], names: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|t| t.to_string()).collect();
            assigned("--input", "input", &texts, names).map_err(|e| e.to_string())
        };
        assert_eq!(of(&["x.npy"], &["a"]).unwrap(), [(0, "x.npy".into())]);
        assert_eq!(of(&["b=y", "x"], &["a", "b"]).unwrap(), [(1, "y".into()), (0, "x".into())]);
        assert_eq!(of(&["a=b=c"], &["a", "a=b"]).unwrap(), [(0, "b=c".into())]);
        for (texts, names, message) in [
            (&["c=x"][..], &["a", "b"][..], "--input c=x: there is no input `c`, the model has `a`, `b`"),
            (&["x"], &["a", "b"], "--input x: which input is it? (`a`, `b`) Write --input NAME=x"),
            (&["x", "y"], &["a"], "--input y: input `a` is given twice"),
            (&["a=x", "y"], &["a"], "--input y: which input is it? (none is left) Write --input NAME=y"),
        ] {
            assert_eq!(of(texts, names).unwrap_err(), message);
        }
    }

    #[test]
    fn rows_are_cut_out_of_every_type() {
        let tensor = Tensor::new([3, 2], Data::I64(vec![1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(sliced(&tensor, 1, 3).unwrap(), Tensor::new([2, 2], Data::I64(vec![3, 4, 5, 6])).unwrap());
        assert!(sliced(&tensor, 2, 2).unwrap().is_empty());
    }
}
