//! The transpose of a convolution.

use super::gemm::float_bound;
use super::{Storage, check_len, check_one_or};
use crate::error::{Error, Result};
use crate::graph::Window;

/// Operands of [`conv_transpose`], channels last.
#[derive(Clone, Copy, Debug)]
pub struct ConvTranspose<'a> {
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
    /// Geometry of the convolution that it is the transpose of.
    pub window: Window,
    /// Rows and columns added at the end.
    pub output_padding: [usize; 2],
    /// `[batch, h, w, channels]`.
    pub x: &'a [f32],
    /// `[channels, kernel height, kernel width, outputs / groups]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
}

impl ConvTranspose<'_> {
    /// Rows and columns of the result.
    ///
    /// # Errors
    /// [`Error::Shape`] where there would be less than none.
    pub fn size(&self) -> Result<[usize; 2]> {
        let w = &self.window;
        let side = |d: usize| {
            let last = self.image[d].checked_sub(1)?.checked_mul(w.stride[d])?;
            let span = w.kernel[d].checked_sub(1)?.checked_mul(w.dilation[d])?.checked_add(1)?;
            let reach = last.checked_add(span)?.checked_add(self.output_padding[d])?;
            reach.checked_sub(w.pad_begin[d].checked_add(w.pad_end[d])?)
        };
        match (side(0), side(1)) {
            (Some(h), Some(w)) => Ok([h, w]),
            _ => Err(Error::Shape {
                op: "conv_transpose",
                detail: format!("an image of {:?} by {w:?} with {:?} more", self.image, self.output_padding),
            }),
        }
    }

    /// Sums of `term(x, weight)`, each from `start(output)`, and how many terms went into the longest.
    fn sums(&self, start: impl Fn(usize) -> f64, term: impl Fn(f64, f64) -> f64) -> Result<Vec<f64>> {
        let op = "conv_transpose";
        let Self { batch, channels, outputs, groups, window, .. } = *self;
        if groups == 0 || !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let detail =
                format!("{channels} channels and {outputs} outputs do not divide into {groups} groups");
            return Err(Error::Shape { op, detail });
        }
        let ([h, w], [kh, kw], [oh, ow]) = (self.image, window.kernel, self.size()?);
        let (per_in, per_out) = (channels / groups, outputs / groups);
        check_len(op, "x", self.x.len(), &[batch, h, w, channels])?;
        check_len(op, "weight", self.weight.len(), &[channels, kh, kw, per_out])?;
        if let Some(bias) = self.bias {
            check_one_or(op, "bias", bias.len(), &[outputs])?;
        }
        let mut sums: Vec<f64> = (0..batch * oh * ow * outputs).map(|i| start(i % outputs)).collect();
        // Each pixel of x is spread over a window of the result.
        let place = |d: usize, i: usize, tap: usize, size: usize| {
            let at = i * window.stride[d] + tap * window.dilation[d];
            at.checked_sub(window.pad_begin[d]).filter(|&at| at < size)
        };
        for pixel in 0..batch * h * w {
            let (n, y, x) = (pixel / (h * w), pixel / w % h, pixel % w);
            for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
                let (Some(oy), Some(ox)) = (place(0, y, i, oh), place(1, x, j, ow)) else { continue };
                for c in 0..channels {
                    let v = f64::from(self.x[pixel * channels + c]);
                    let row = &self.weight[((c * kh + i) * kw + j) * per_out..][..per_out];
                    let to = ((n * oh + oy) * ow + ox) * outputs + c / per_in * per_out;
                    for (sum, &weight) in sums[to..].iter_mut().zip(row) {
                        *sum += term(v, f64::from(weight));
                    }
                }
            }
        }
        Ok(sums)
    }

    fn bias(&self, output: usize) -> f64 {
        self.bias.map_or(0.0, |b| f64::from(b[output % b.len()]))
    }
}

/// `[batch, out height, out width, outputs]`: each pixel's products with the weights, added up where windows overlap.
///
/// # Errors
/// [`Error::Shape`] where a slice is not of the length its shape asks for, or there is no such shape.
pub fn conv_transpose(args: &ConvTranspose) -> Result<Vec<f64>> {
    args.sums(|o| args.bias(o), |x, w| x * w)
}

/// How far each element of an f32 kernel's result may be from [`conv_transpose`]'s: see [`super::gemm_bound`].
///
/// # Errors
/// As [`conv_transpose`].
pub fn conv_transpose_bound(args: &ConvTranspose, storage: Storage) -> Result<Vec<f64>> {
    let magnitudes = args.sums(|o| args.bias(o).abs(), |x, w| (x * w).abs())?;
    let k = args.window.kernel.iter().product::<usize>() * (args.channels / args.groups) + 1;
    Ok(magnitudes.iter().zip(conv_transpose(args)?).map(|(&m, y)| float_bound(k, m, y, storage)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ONNX standard's example, and its variant with strides.
    #[test]
    fn spreads_as_the_standard_says() {
        let x: Vec<f32> = (0..9).map(|i| i as f32).collect();
        let args = ConvTranspose {
            batch: 1,
            image: [3, 3],
            channels: 1,
            outputs: 1,
            groups: 1,
            window: Window::new([3, 3], [1, 1]),
            output_padding: [0; 2],
            x: &x,
            weight: &[1.0; 9],
            bias: None,
        };
        let want = [
            0., 1., 3., 3., 2., 3., 8., 15., 12., 7., 9., 21., 36., 27., 15., 9., 20., 33., 24., 13., 6.,
            13., 21., 15., 8.,
        ];
        assert_eq!(conv_transpose(&args).unwrap(), want);
        let strided = ConvTranspose {
            window: Window { stride: [3, 2], ..args.window },
            output_padding: [1, 1],
            bias: Some(&[1.0]),
            ..args
        };
        assert_eq!(strided.size().unwrap(), [10, 8]);
        let y = conv_transpose(&strided).unwrap();
        assert_eq!(y[..8], [1., 1., 2., 2., 4., 3., 3., 1.]);
        assert!(y[72..].iter().all(|&v| v == 1.0));
    }
}
