//! Pools over channels-last images.

use super::check_len;
use super::conv::tap;
use crate::error::Result;
use crate::graph::Window;

/// Sizes of a pool over `x [batch, h, w, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Images.
    pub batch: usize,
    /// Rows and columns of an image.
    pub image: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Geometry.
    pub window: Window,
}

impl Pool {
    /// `[batch, height, width, channels]` of the result.
    ///
    /// # Errors
    /// As [`Window::out_size`].
    pub fn output(&self) -> Result<[usize; 4]> {
        let [h, w] = self.window.out_size(self.image)?;
        Ok([self.batch, h, w, self.channels])
    }

    /// For each element of the result `f(elements of the window that lie in the image, taps that lie in the image or
    /// its padding)`.
    fn each<T: Copy, U>(&self, op: &'static str, x: &[T], f: impl Fn(&[T], usize) -> U) -> Result<Vec<U>> {
        let [h, w] = self.image;
        check_len(op, "x", x.len(), &[self.batch, h, w, self.channels])?;
        let [batch, oh, ow, channels] = self.output()?;
        let [kh, kw] = self.window.kernel;
        let padded = |d: usize| self.window.pad_begin[d] + self.image[d] + self.window.pad_end[d];
        let mut out = Vec::with_capacity(batch * oh * ow * channels);
        let mut inside = Vec::with_capacity(kh * kw);
        for n in 0..batch {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for c in 0..channels {
                    inside.clear();
                    let mut taps = 0;
                    for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
                        let (padded_row, row) = tap(&self.window, 0, oy, i, h);
                        let (padded_column, column) = tap(&self.window, 1, ox, j, w);
                        taps += usize::from(padded_row < padded(0) && padded_column < padded(1));
                        if let (Some(row), Some(column)) = (row, column) {
                            inside.push(x[((n * h + row) * w + column) * channels + c]);
                        }
                    }
                    out.push(f(&inside, taps));
                }
            }
        }
        Ok(out)
    }
}

/// The largest value in each window: [`Pool::output`]. ONNX `MaxPool`. Padding does not count; a window with nothing
/// else gives negative infinity. NaN is left out where there is a number.
///
/// # Errors
/// [`crate::Error::Shape`] where `x` is not of its shape or the window is larger than the padded image;
/// [`crate::Error::Argument`] where a kernel, stride or dilation is 0.
pub fn max_pool(x: &[f32], pool: &Pool) -> Result<Vec<f32>> {
    pool.each("max_pool", x, |window, _| window.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// As [`max_pool`], of int8: the order of the reals is that of the integers, so the parameters stay as they are.
/// A window of padding only gives -128.
///
/// # Errors
/// As [`max_pool`].
pub fn max_pool_i8(x: &[i8], pool: &Pool) -> Result<Vec<i8>> {
    pool.each("max_pool_i8", x, |window, _| window.iter().copied().fold(i8::MIN, i8::max))
}

/// The mean of each window, in f64: [`Pool::output`]. ONNX `AveragePool`.
///
/// The divisor is the number of taps in the image; with `include_pad`, in the image and its padding. Where the last
/// window overhangs even the padding ([`Window::ceil`]), the taps beyond it never count. A window of padding only gives
/// zero.
///
/// # Errors
/// As [`max_pool`].
pub fn average_pool(x: &[f32], pool: &Pool, include_pad: bool) -> Result<Vec<f64>> {
    pool.each("average_pool", x, |window, taps| {
        let divisor = if include_pad { taps } else { window.len() };
        window.iter().copied().map(f64::from).sum::<f64>() / divisor.max(1) as f64
    })
}

/// The mean over height and width of `x [batch, h, w, channels]`, in f64: `[batch, channels]`; zero where there is no
/// pixel. ONNX `GlobalAveragePool`.
///
/// # Errors
/// [`crate::Error::Shape`] where `x` is not of its shape.
pub fn global_average_pool(x: &[f32], batch: usize, image: [usize; 2], channels: usize) -> Result<Vec<f64>> {
    check_len("global_average_pool", "x", x.len(), &[batch, image[0], image[1], channels])?;
    let pixels = image[0] * image[1];
    let mean = |n: usize, c: usize| {
        let sum: f64 = (0..pixels).map(|p| f64::from(x[(n * pixels + p) * channels + c])).sum();
        sum / pixels.max(1) as f64
    };
    Ok((0..batch).flat_map(|n| (0..channels).map(move |c| (n, c))).map(|(n, c)| mean(n, c)).collect())
}
