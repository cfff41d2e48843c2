//! Normalizations.

use super::super::import::{At, Importer};
use super::window::spatial;
use super::{axis, is_float, name, rank, scalar, sorted_axes, step};
use crate::error::Result;
use crate::graph::{Activation, BinaryOp, Op, ReduceOp, UnaryOp, ValueId, Window, passes};

/// As a depthwise 1x1 convolution, which [`Model::simplify`] folds into a Conv or Linear before it.
pub(super) fn batch_normalization(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["epsilon", "momentum", "spatial", "training_mode"])?;
    if at.int("training_mode", 0) != 0 || at.int("spatial", 1) != 1 {
        return Err(at.fail("it is in training mode, or not spatial"));
    }
    let x = im.value(at, 0)?;
    let mut constants = Vec::with_capacity(4);
    for i in 1..5 {
        let tensor = im.constant(at, i)?.ok_or_else(|| at.fail(format!("input {i} is missing")))?;
        constants.push(tensor.to_f32());
    }
    let channels = constants[0].len();
    if channels == 0 || constants.iter().any(|c| c.len() != channels) {
        return Err(at.fail(format!("its constants have {:?} channels", constants.iter().map(Vec::len))));
    }
    let [gamma, beta, mean, variance] =
        [0, 1, 2, 3].map(|i: usize| constants[i].iter().map(|&x| f64::from(x)));
    let epsilon = f64::from(at.float("epsilon", 1e-5));
    let scale: Vec<f64> = gamma.zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.zip(mean.zip(&scale)).map(|(b, (m, s))| (b - m * s) as f32).collect();
    let scale = scale.iter().map(|&s| s as f32).collect();
    let element = im.model.value(x).element;
    let tensors =
        (passes::floats(element, &[channels, 1, 1, 1], scale), passes::floats(element, &[channels], shift));
    let (Some(scale), Some(shift)) = tensors else {
        return Err(at.fail(format!("its input is of {element:?}, not of floats")));
    };
    let output = at.output()?;
    let (scale_name, shift_name) =
        (im.free_name(&format!("{output}.scale")), im.free_name(&format!("{output}.shift")));
    let constants = [im.model.add_constant(scale_name, scale)?, im.model.add_constant(shift_name, shift)?];
    let conv =
        Op::Conv { window: Window::new([1, 1], [1, 1]), groups: channels, activation: Activation::Identity };
    if rank(&im.model, x) != 2 {
        return spatial(im, at, x, |_, _| Ok(conv), &constants);
    }
    let (before, after) = (im.free_name(&format!("{output}.in")), im.free_name(&format!("{output}.out")));
    let x = im.emit_reshape(&[0, 0, 1, 1], x, &before)?;
    let y = im.emit(at, conv, &[x, constants[0], constants[1]], &after)?;
    im.emit_reshape(&[0, 0], y, output)
}

fn require_float(im: &Importer, at: &At, x: ValueId) -> Result<()> {
    match is_float(&im.model, x) {
        true => Ok(()),
        false => Err(at.fail(format!("of {:?} it is not supported", im.model.value(x).element))),
    }
}

/// Over an axis and all after it. The further outputs of a LayerNormalization, its mean and the inverse of its deviation,
/// are computed beside it where something reads them.
pub(super) fn layer_normalization(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axis", "epsilon", "stash_type"])?;
    if at.int("stash_type", 1) != 1 {
        return Err(at.fail("a stash_type other than 1, f32, is not supported"));
    }
    let x = im.value(at, 0)?;
    require_float(im, at, x)?;
    let mut inputs = vec![x, im.value(at, 1)?];
    inputs.extend(im.optional(at, 2)?);
    let rms = at.node.op_type == "RMSNormalization";
    let axis = axis(at, at.int("axis", -1), rank(&im.model, x))?;
    let epsilon = at.float("epsilon", 1e-5);
    let axes: Vec<usize> = (axis..rank(&im.model, x)).collect();
    let mean_of = Op::Reduce { op: ReduceOp::Mean, axes, keep: true };
    let (mean, inverse) = (im.wanted(at, 1), im.wanted(at, 2));
    if (mean.is_some() || inverse.is_some()) && rms {
        return Err(at.fail("it has one output"));
    }
    if mean.is_some() || inverse.is_some() {
        let mean_name = mean.map_or_else(|| name(im, at, "mean"), |n| Ok(n.to_owned()))?;
        let m = im.emit(at, mean_of.clone(), &[x], &mean_name)?;
        if mean.is_some() {
            im.define_value(at, &mean_name, m)?;
        }
        if let Some(inverse) = inverse {
            let off = step(im, at, Op::Binary(BinaryOp::Sub), &[x, m], "off")?;
            let square = step(im, at, Op::Binary(BinaryOp::Mul), &[off, off], "square")?;
            let variance = step(im, at, mean_of, &[square], "variance")?;
            let least = scalar(im, at, x, epsilon, "epsilon")?;
            let add = Op::Add { activation: Activation::Identity };
            let above = step(im, at, add, &[variance, least], "above")?;
            let deviation = step(im, at, Op::Unary(UnaryOp::Sqrt), &[above], "deviation")?;
            let y = im.emit(at, Op::Unary(UnaryOp::Reciprocal), &[deviation], inverse)?;
            im.define_value(at, inverse, y)?;
        }
    }
    im.emit(at, Op::LayerNorm { axis, epsilon, rms }, &inputs, at.output()?)
}

/// Over groups of channels; an InstanceNormalization has a group for each channel.
pub(super) fn group_normalization(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["epsilon", "num_groups", "stash_type"])?;
    if at.int("stash_type", 1) != 1 {
        return Err(at.fail("a stash_type other than 1, f32, is not supported"));
    }
    let x = im.value(at, 0)?;
    require_float(im, at, x)?;
    let shape = &im.model.value(x).shape;
    let Some(channels) = shape.get(1).and_then(|d| d.fixed()).filter(|_| shape.len() > 2) else {
        return Err(at.fail(format!("its input {shape:?} must have a known number of channels, and space")));
    };
    let instance = at.node.op_type == "InstanceNormalization";
    let groups = match at.int("num_groups", 0) {
        _ if instance => channels,
        n => usize::try_from(n)
            .ok()
            .filter(|&g| g > 0 && channels % g == 0)
            .ok_or_else(|| at.fail(format!("{channels} channels in {n} groups")))?,
    };
    let mut inputs = vec![x];
    for (i, what) in [(1, "scale"), (2, "bias")] {
        let mut id = im.value(at, i)?;
        // Before set 21 there was one for each group.
        if !instance && at.opset < 21 && groups != channels {
            let tensor = im.model.constant(id);
            let tensor =
                tensor.ok_or_else(|| at.fail(format!("a {what} for each group must be a constant")))?;
            if tensor.shape() != [groups] {
                return Err(at.fail(format!("its {what} is {:?} for {groups} groups", tensor.shape())));
            }
            let each = tensor.to_f32().into_iter();
            let repeated = each.flat_map(|v| std::iter::repeat_n(v, channels / groups)).collect();
            let repeated = passes::floats(tensor.element(), &[channels], repeated);
            let repeated = repeated.ok_or_else(|| at.fail(format!("its {what} is not of floats")))?;
            id = im.derive(id, "repeated", repeated, None)?;
        }
        inputs.push(id);
    }
    im.emit(at, Op::GroupNorm { groups, epsilon: at.float("epsilon", 1e-5) }, &inputs, at.output()?)
}

/// `(x - mean) / (deviation + 1e-9)`.
pub(super) fn mean_variance(im: &mut Importer, at: &At) -> Result<ValueId> {
    at.only(&["axes"])?;
    let x = im.value(at, 0)?;
    require_float(im, at, x)?;
    let axes = sorted_axes(at, at.ints("axes").unwrap_or(&[0, 2, 3]), rank(&im.model, x))?;
    let mean_of = Op::Reduce { op: ReduceOp::Mean, axes, keep: true };
    let mean = step(im, at, mean_of.clone(), &[x], "mean")?;
    let off = step(im, at, Op::Binary(BinaryOp::Sub), &[x, mean], "off")?;
    let square = step(im, at, Op::Binary(BinaryOp::Mul), &[off, off], "square")?;
    let variance = step(im, at, mean_of, &[square], "variance")?;
    let deviation = step(im, at, Op::Unary(UnaryOp::Sqrt), &[variance], "deviation")?;
    let least = scalar(im, at, x, 1e-9, "epsilon")?;
    let add = Op::Add { activation: Activation::Identity };
    let above = step(im, at, add, &[deviation, least], "above")?;
    im.emit(at, Op::Binary(BinaryOp::Div), &[off, above], at.output()?)
}
