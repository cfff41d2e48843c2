//! How far a window slides.

use crate::error::{Error, Result};
use crate::graph::Window;

impl Window {
    /// Height and width of the output over an input of `size`.
    ///
    /// ONNX's rule: `(size + pads - extent) / stride + 1`, rounded down, or up with `ceil`, where then a last window
    /// that would begin in the end padding is dropped.
    ///
    /// # Errors
    /// [`Error::Shape`] where the window does not fit even once.
    pub fn out_size(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let mut out = [0; 2];
        for axis in 0..2 {
            out[axis] = self.out_len(axis, size[axis]).ok_or_else(|| Error::Shape {
                op: "window",
                detail: format!("{self:?} does not fit an image of {size:?}"),
            })?;
        }
        Ok(out)
    }

    /// [`Window::out_size`] along one axis; `None` where the window does not fit.
    pub(crate) fn out_len(&self, axis: usize, len: usize) -> Option<usize> {
        let extent = (self.kernel[axis].checked_sub(1)?).checked_mul(self.dilation[axis])?.checked_add(1)?;
        let padded = len.checked_add(self.pad_begin[axis])?.checked_add(self.pad_end[axis])?;
        let steps = padded.checked_sub(extent)?;
        let stride = self.stride[axis];
        if stride == 0 {
            return None;
        }
        let mut out = if self.ceil { steps.div_ceil(stride) } else { steps / stride } + 1;
        if self.ceil && (out - 1) * stride >= len + self.pad_begin[axis] {
            out -= 1;
        }
        Some(out)
    }
}
