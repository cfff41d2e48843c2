//! Resize.

use super::super::import::{At, Importer};
use super::{name, rank, sorted_axes};
use crate::error::Result;
use crate::graph::{Coordinates, Deferred, Fit, Interpolation, Nearest, Op, ValueId};
use crate::tensor::Tensor;

/// Nearest and linear, by scales or to sizes.
pub(super) fn resize(im: &mut Importer, at: &At) -> Result<ValueId> {
    // What is only of cubic interpolation, or of coordinates in a region, has no effect on what is supported.
    at.only(&[
        "antialias",
        "axes",
        "coordinate_transformation_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "keep_aspect_ratio_policy",
        "mode",
        "nearest_mode",
    ])?;
    if at.int("antialias", 0) != 0 {
        return Err(at.fail("antialias is not supported"));
    }
    let coordinates = match at.string("coordinate_transformation_mode")? {
        "" | "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return Err(at.fail(format!("coordinate_transformation_mode `{other}` is not supported"))),
    };
    let nearest = match at.string("nearest_mode")? {
        "" | "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(at.fail(format!("nearest_mode `{other}` is not known"))),
    };
    let interpolation = match at.string("mode")? {
        "" | "nearest" => Interpolation::Nearest(nearest),
        "linear" => Interpolation::Linear,
        other => return Err(at.fail(format!("mode `{other}` is not supported"))),
    };
    let fit = match at.string("keep_aspect_ratio_policy")? {
        "" | "stretch" => Fit::Stretch,
        "not_larger" => Fit::NotLarger,
        "not_smaller" => Fit::NotSmaller,
        other => return Err(at.fail(format!("keep_aspect_ratio_policy `{other}` is not known"))),
    };
    let x = im.value(at, 0)?;
    let n = rank(&im.model, x);
    let axes = match at.ints("axes") {
        Some(axes) => {
            let sorted = sorted_axes(at, axes, n)?;
            // Scales and sizes are in the attribute's order.
            let in_order = axes.iter().map(|&a| super::axis(at, a, n)).collect::<Result<Vec<_>>>()?;
            if sorted.is_empty() { Vec::new() } else { in_order }
        }
        None => Vec::new(),
    };
    // An empty list is one that is left out, as files of set 11 have it.
    let empty = |im: &Importer, id: ValueId| im.model.constant(id).is_some_and(Tensor::is_empty);
    let scales = im.optional(at, 2)?.filter(|&id| !empty(im, id));
    let sizes = im.optional(at, 3)?.filter(|&id| !empty(im, id));
    let inputs = match (scales, sizes) {
        (Some(scales), None) => vec![x, scales],
        (None, Some(sizes)) => {
            let none_name = name(im, at, "scales")?;
            let none = im.model.add_constant(none_name, Tensor::f32([0], [])?)?;
            vec![x, none, sizes]
        }
        _ => return Err(at.fail("it must have either scales or sizes")),
    };
    let deferred = Deferred::Resize { coordinates, interpolation, axes, fit };
    im.emit(at, Op::Deferred(deferred), &inputs, at.output()?)
}
