//! Convolutions over channels-last images.

use super::gemm::{float_bound, narrow};
use super::{Storage, activation, check_len, check_one_or, cycled};
use crate::error::{Error, Result};
use crate::graph::{Activation, Window};

/// Where a tap of a window falls in the image, counted from the start of the padding and from that of the image, or
/// `None` in the padding.
pub(super) fn tap(window: &Window, d: usize, out: usize, tap: usize, image: usize) -> (usize, Option<usize>) {
    let padded = out * window.stride[d] + tap * window.dilation[d];
    let inside = padded.checked_sub(window.pad_begin[d]).filter(|&i| i < image);
    (padded, inside)
}

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Rows and columns of an image.
    pub image: [usize; 2],
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// Channel groups.
    pub groups: usize,
    /// Geometry. `ceil` is not looked at.
    pub window: Window,
}

impl ConvShape {
    /// `[batch, height, width, outputs]` of the result.
    ///
    /// # Errors
    /// As [`Window::out_size`].
    pub fn output(&self) -> Result<[usize; 4]> {
        let [h, w] = Window { ceil: false, ..self.window }.out_size(self.image)?;
        Ok([self.batch, h, w, self.outputs])
    }

    /// `[outputs, kernel height, kernel width, channels / groups]`.
    fn weight(&self) -> [usize; 4] {
        let [kh, kw] = self.window.kernel;
        [self.outputs, kh, kw, self.channels / self.groups.max(1)]
    }

    fn check(&self, op: &'static str, x: usize, weight: usize) -> Result<()> {
        let Self { groups, channels, outputs, .. } = *self;
        if groups == 0 || !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::Shape {
                op,
                detail: format!(
                    "{channels} channels and {outputs} outputs do not divide into {groups} groups"
                ),
            });
        }
        check_len(op, "x", x, &[self.batch, self.image[0], self.image[1], channels])?;
        check_len(op, "weight", weight, &self.weight())
    }

    /// For each element of the result the sum of `term(index in x, index in weight)` over the taps that fall in the
    /// image, from `start(output channel)`. Taps in the padding are left out: there `x - zero_point` is zero.
    fn sums<T>(
        &self,
        start: impl Fn(usize) -> T,
        term: impl Fn(T, usize, usize, usize) -> T,
    ) -> Result<Vec<T>> {
        let [batch, oh, ow, outputs] = self.output()?;
        let [_, kh, kw, per_group] = self.weight();
        let [h, w] = self.image;
        let mut sums = Vec::with_capacity(batch * oh * ow * outputs);
        for n in 0..batch {
            for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for o in 0..outputs {
                    let group = o / (outputs / self.groups);
                    let mut sum = start(o);
                    for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
                        let row = tap(&self.window, 0, y, i, h).1;
                        let column = tap(&self.window, 1, x, j, w).1;
                        let (Some(row), Some(column)) = (row, column) else { continue };
                        for c in 0..per_group {
                            let x = ((n * h + row) * w + column) * self.channels + group * per_group + c;
                            sum = term(sum, o, x, ((o * kh + i) * kw + j) * per_group + c);
                        }
                    }
                    sums.push(sum);
                }
            }
        }
        Ok(sums)
    }
}

/// Operands of [`conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// Sizes.
    pub shape: ConvShape,
    /// `[batch, h, w, channels]`.
    pub x: &'a [f32],
    /// `[outputs, kh, kw, channels / groups]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl Conv<'_> {
    fn sums(&self, f: impl Fn(f64) -> f64) -> Result<Vec<f64>> {
        self.shape.check("conv2d", self.x.len(), self.weight.len())?;
        if let Some(bias) = self.bias {
            check_len("conv2d", "bias", bias.len(), &[self.shape.outputs])?;
        }
        self.shape.sums(
            |o| self.bias.map_or(0.0, |b| f(b[o].into())),
            |sum, _, x, w| sum + f(self.x[x].into()) * f(self.weight[w].into()),
        )
    }
}

/// `act(conv(x, weight) + bias)`, accumulated in f64: [`ConvShape::output`].
///
/// # Errors
/// [`Error::Shape`] where a slice is not of its shape, the groups do not divide the channels, or the window is larger
/// than the padded image; [`Error::Argument`] where a kernel, stride or dilation is 0.
pub fn conv2d(args: &Conv) -> Result<Vec<f64>> {
    let mut sums = args.sums(|x| x)?;
    sums.iter_mut().for_each(|x| *x = activation(*x, args.activation));
    Ok(sums)
}

/// How far each element of an f32 kernel's result may be from [`conv2d`]'s, as in [`super::gemm_bound`].
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_bound(args: &Conv, storage: Storage) -> Result<Vec<f64>> {
    let magnitudes = args.sums(f64::abs)?;
    let k = args.shape.weight()[1..].iter().product();
    Ok(magnitudes.iter().zip(conv2d(args)?).map(|(&sum, y)| float_bound(k, sum, y, storage)).collect())
}

/// Operands of [`conv2d_i8`]: zero points are in the signed domain, like the integers.
#[derive(Clone, Copy, Debug)]
pub struct ConvI8<'a> {
    /// Sizes.
    pub shape: ConvShape,
    /// `[batch, h, w, channels]`.
    pub x: &'a [i8],
    /// `[outputs, kh, kw, channels / groups]`.
    pub weight: &'a [i8],
    /// What the image is padded with.
    pub x_zero_point: i32,
    /// One, or one for each output channel.
    pub weight_zero_point: &'a [i32],
}

/// `sum (x - zx) * (w - zw)` over each window, exactly: [`ConvShape::output`]. ONNX `ConvInteger`. Padding is the zero
/// point, real zero, and so adds nothing.
///
/// # Errors
/// As [`conv2d`], and [`Error::Argument`] where a sum does not fit an i32.
pub fn conv2d_i8(args: &ConvI8) -> Result<Vec<i32>> {
    let op = "conv2d_i8";
    args.shape.check(op, args.x.len(), args.weight.len())?;
    check_one_or(op, "weight_zero_point", args.weight_zero_point.len(), &[args.shape.outputs])?;
    let zx = i64::from(args.x_zero_point);
    let sums = args.shape.sums(
        |_| 0i64,
        |sum, o, x, w| {
            let zw = i64::from(cycled(args.weight_zero_point, o));
            sum + (i64::from(args.x[x]) - zx) * (i64::from(args.weight[w]) - zw)
        },
    )?;
    narrow(op, &sums)
}
