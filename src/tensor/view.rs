//! A part of a caller's buffer, seen as a matrix.

use crate::error::{Error, Result};
use crate::tensor::Element;

/// `rows` x `columns` elements in a part of a buffer, row-major.
///
/// Rows start on whole `u32` words (see [`crate::tensor`]): `pitch` words apart, by default as close as they go.
/// A tensor of higher rank is seen as the matrix of all its outer dimensions by its innermost one.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Where the view begins, in bytes: a multiple of the device's `min_storage_buffer_offset_alignment`.
    pub offset: u64,
    /// The type of the elements.
    pub element: Element,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// `u32` words from one row to the next.
    pub pitch: usize,
}

impl<'a> View<'a> {
    /// A dense matrix at the start of a buffer.
    pub fn new(buffer: &'a wgpu::Buffer, element: Element, rows: usize, columns: usize) -> Self {
        Self { buffer, offset: 0, element, rows, columns, pitch: element.words(columns) }
    }

    /// `count` [`crate::quant::QuantParams`] at the start of a buffer.
    pub fn params(buffer: &'a wgpu::Buffer, count: usize) -> Self {
        Self::new(buffer, Element::I32, count, 4)
    }

    /// The same view, `offset` bytes into the buffer.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same view with rows `pitch` words apart.
    pub fn with_pitch(self, pitch: usize) -> Self {
        Self { pitch, ..self }
    }

    /// Bytes that are bound, from the first row's start to the last row's end; at least one word, since
    /// WebGPU has no empty bindings.
    pub fn bytes(&self) -> u64 {
        let words = match self.rows {
            0 => 0,
            rows => (rows - 1) as u64 * self.pitch as u64 + self.element.words(self.columns) as u64,
        };
        words.max(1) * 4
    }

    /// Checks the view against its buffer and the device, and makes the binding.
    ///
    /// # Errors
    /// [`Error::View`] where the pitch is shorter than a row, the offset is misaligned, the buffer too short or
    /// without `STORAGE`; [`Error::Limit`] where it is longer than the device can bind.
    pub(crate) fn binding(
        &self,
        device: &wgpu::Device,
        op: &'static str,
        name: &'static str,
    ) -> Result<wgpu::BufferBinding<'a>> {
        let fail = |detail: String| Err(Error::View { op, view: name, detail });
        let limits = device.limits();
        let (words, bytes) = (self.element.words(self.columns), self.bytes());
        if self.pitch < words {
            return fail(format!("pitch of {} words is shorter than a row of {words}", self.pitch));
        }
        let align = u64::from(limits.min_storage_buffer_offset_alignment);
        if !self.offset.is_multiple_of(align) {
            return fail(format!("offset {} is not a multiple of {align}", self.offset));
        }
        if !self.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return fail(format!("the buffer's usage {:?} has no STORAGE", self.buffer.usage()));
        }
        let end = self.offset.checked_add(bytes);
        if end.is_none_or(|end| end > self.buffer.size()) {
            return fail(format!(
                "{bytes} bytes at offset {} do not fit a buffer of {}",
                self.offset,
                self.buffer.size()
            ));
        }
        let limit = limits.max_storage_buffer_binding_size;
        if bytes > limit {
            return Err(Error::Limit {
                op,
                what: format!("binding of `{name}` in bytes"),
                needed: bytes,
                limit,
            });
        }
        // Bound with whole 16-byte vectors where the buffer has them, for kernels that read `vec4<u32>`.
        let size = bytes.next_multiple_of(16).min(self.buffer.size() - self.offset).min(limit) & !3;
        Ok(wgpu::BufferBinding {
            buffer: self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(size),
        })
    }
}
