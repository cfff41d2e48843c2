//! Constants, and what depends on shapes alone.

use super::super::import::{At, Importer};
use super::tensor_of;
use crate::error::Result;
use crate::graph::{Deferred, Op, ValueId};
use crate::tensor::{Data, Element, Tensor};
use std::sync::Arc;

pub(super) fn constant(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["value", "value_float", "value_floats", "value_int", "value_ints"])?;
    let [attribute] = at.node.attribute.as_slice() else {
        return Err(at.fail("it must have one attribute"));
    };
    let tensor = match attribute.name.as_str() {
        "value" => {
            let proto = attribute.t.as_ref().ok_or_else(|| at.fail("its value is missing"))?;
            im.read_tensor(proto, at.output()?).map_err(|e| at.fail(e.to_string()))?
        }
        "value_float" => Tensor::new([], Data::F32(vec![attribute.f.unwrap_or_default()]))?,
        "value_int" => Tensor::new([], Data::I64(vec![attribute.i.unwrap_or_default()]))?,
        "value_floats" => Tensor::new([attribute.floats.len()], Data::F32(attribute.floats.clone()))?,
        _ => Tensor::new([attribute.ints.len()], Data::I64(attribute.ints.clone()))?,
    };
    im.model.add_constant(at.output()?, tensor)
}

pub(super) fn constant_of_shape(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["value"])?;
    let value = match at.attribute("value").and_then(|a| a.t.as_ref()) {
        Some(proto) => im.read_tensor(proto, at.output()?).map_err(|e| at.fail(e.to_string()))?,
        None => tensor_of(at, Element::F32, 0.0)?,
    };
    if value.len() != 1 {
        return Err(at.fail(format!("its value has shape {:?}, not one element", value.shape())));
    }
    let shape = im.value(at, 0)?;
    let op = Deferred::ConstantOfShape { value: Arc::new(value.reshape([1])?) };
    im.emit(at, Op::Deferred(op), &[shape], at.output()?)
}

pub(super) fn range(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["stash_type"])?;
    let ends = [im.value(at, 0)?, im.value(at, 1)?, im.value(at, 2)?];
    im.emit(at, Op::Deferred(Deferred::Range), &ends, at.output()?)
}

pub(super) fn shape(im: &mut Importer, at: &At) -> Result<ValueId> {
    let size = at.node.op_type == "Size";
    at.only(if size { &[] } else { &["start", "end"] })?;
    let x = im.value(at, 0)?;
    let end = at.attribute("end").map(|_| at.int("end", 0));
    let op = if size { Deferred::Size } else { Deferred::Shape { start: at.int("start", 0), end } };
    im.emit(at, Op::Deferred(op), &[x], at.output()?)
}
