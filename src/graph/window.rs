//! How far a window slides.

use crate::error::{Error, Result};
use crate::graph::Window;

impl Window {
    /// Height and width of what a window makes of an image of `size` (ONNX `Conv`, `MaxPool`, `AveragePool`):
    /// `(size + pads - span) / stride + 1`, rounded down; or up with [`Window::ceil`], where a last window that would
    /// begin in the end padding is dropped.
    ///
    /// # Errors
    /// [`Error::Shape`] where a kernel, stride or dilation is 0, or the window does not fit the padded image even once.
    pub fn out_size(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let along = |axis: usize| {
            self.out_len(axis, size[axis])
                .map_err(|detail| Error::Shape { op: "window", detail: format!("image {size:?}: {detail}") })
        };
        Ok([along(0)?, along(1)?])
    }

    /// What a window covers along an axis, from its first tap to its last; `None` where there is no such window.
    pub(crate) fn span(&self, axis: usize) -> Option<usize> {
        if self.dilation[axis] == 0 || self.stride[axis] == 0 {
            return None;
        }
        self.kernel[axis].checked_sub(1)?.checked_mul(self.dilation[axis])?.checked_add(1)
    }

    /// [`Window::out_size`] along one axis.
    pub(crate) fn out_len(&self, axis: usize, len: usize) -> Result<usize, String> {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        let Some(span) = self.span(axis) else {
            return Err(format!(
                "there is no window of kernel {kernel}, stride {stride} and dilation {dilation}"
            ));
        };
        let padded =
            len.checked_add(self.pad_begin[axis]).and_then(|n| Some((n, n.checked_add(self.pad_end[axis])?)));
        let Some((to_end, room)) = padded.and_then(|(to_end, all)| Some((to_end, all.checked_sub(span)?)))
        else {
            let pads = [self.pad_begin[axis], self.pad_end[axis]];
            return Err(format!("a window that spans {span} does not fit {len} padded by {pads:?}"));
        };
        if !self.ceil {
            return Ok(room / stride + 1);
        }
        let steps = room.div_ceil(stride);
        let dropped = steps.checked_mul(stride).is_none_or(|start| start >= to_end);
        Ok(if dropped { steps.max(1) } else { steps + 1 })
    }
}
