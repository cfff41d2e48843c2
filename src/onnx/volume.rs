//! Pools over depth, height and width, by pools over two of them.
//!
//! A maximum over a box is one over its rows of maxima. A mean is too, since the divisor of a box is the product of what
//! counts along each axis, with or without padding. So a pool of `[n, c, d, h, w]` is one over height and width of
//! `[n, c * d, h, w]` and one over depth of `[n, c, d, oh * ow]`, between reshapes.

use super::import::{At, Importer};
use super::nodes::window_over;
use crate::error::Result;
use crate::graph::{Dim, Op, PoolKind, ValueId};

/// A pool of `x`, which has 5 dimensions.
pub(super) fn pool(
    im: &mut Importer,
    at: &At,
    x: ValueId,
    kind: PoolKind,
    kernel: &[i64],
) -> Result<ValueId> {
    let shape = &im.model.value(x).shape;
    let sizes: Option<Vec<usize>> =
        shape.iter().skip(1).map(|d| d.fixed().filter(|&n| n > 0 && i64::try_from(n).is_ok())).collect();
    let Some(&[channels, depth, height, width]) = sizes.as_deref() else {
        return Err(
            at.fail(format!("of 5 dimensions, its input {shape:?} must have only its first one open"))
        );
    };
    let planes = channels.checked_mul(depth).filter(|&n| i64::try_from(n).is_ok());
    let planes =
        planes.ok_or_else(|| at.fail(format!("its input {shape:?} has too many planes to count")))?;

    let over_plane = |values: &[i64], what: &str| {
        let [_, h, w] = triple(at, values, what)?;
        Ok([h, w])
    };
    let neutral = |what: &str| usize::from(what != "pads");
    let over_depth = |values: &[i64], what: &str| Ok([triple(at, values, what)?[0], neutral(what)]);
    let plane =
        window_over(at, over_plane(kernel, "kernel_shape")?, [Some(height), Some(width)], over_plane)?;
    // Each row of planes is seen as one pixel.
    let along = window_over(at, over_depth(kernel, "kernel_shape")?, [Some(depth), Some(1)], over_depth)?;

    let output = at.output()?;
    let name = |im: &Importer, part: &str| im.free_name(&format!("{output}.{part}"));
    let before = name(im, "planes");
    let x = im.emit_reshape(&[0, planes as i64, height as i64, width as i64], x, &before)?;
    let pooled = name(im, "planes.pooled");
    let x = im.emit(at, Op::Pool { kind, window: plane }, &[x], &pooled)?;
    let [out_height, out_width] = sizes_of(im, at, x)?;
    let pixels = out_height.checked_mul(out_width);
    let pixels = pixels.ok_or_else(|| at.fail("its planes have too many pixels to count"))?;
    let before = name(im, "depth");
    let x = im.emit_reshape(&[0, channels as i64, depth as i64, pixels], x, &before)?;
    let pooled = name(im, "depth.pooled");
    let x = im.emit(at, Op::Pool { kind, window: along }, &[x], &pooled)?;
    let [out_depth, _] = sizes_of(im, at, x)?;
    im.emit_reshape(&[0, channels as i64, out_depth, out_height, out_width], x, output)
}

/// Height and width of an image, which are known.
fn sizes_of(im: &Importer, at: &At, x: ValueId) -> Result<[i64; 2]> {
    match im.model.value(x).shape.as_slice() {
        [_, _, Dim::Fixed(h), Dim::Fixed(w)] => match (i64::try_from(*h), i64::try_from(*w)) {
            (Ok(h), Ok(w)) => Ok([h, w]),
            _ => Err(at.fail(format!("makes an image of {h} by {w}"))),
        },
        other => Err(at.fail(format!("makes an image of shape {other:?}"))),
    }
}

/// Three numbers of an attribute, as depth, height and width.
fn triple(at: &At, values: &[i64], what: &str) -> Result<[usize; 3]> {
    let size = |v: i64| usize::try_from(v).map_err(|_| at.fail(format!("{what} {values:?} is negative")));
    match *values {
        [d, h, w] => Ok([size(d)?, size(h)?, size(w)?]),
        _ => Err(at.fail(format!("{what} {values:?} is not for three dimensions"))),
    }
}
