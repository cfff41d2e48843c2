//! Element types, host tensors, and views over a caller's buffers and textures.
//!
//! On the device a tensor is dense, except that its innermost dimension is padded to whole `u32` words:
//! two f16 or four int8 to a word. An f32 tensor is never padded.

mod host;
mod image;
mod view;

pub use host::{Data, Tensor};
pub use image::{Image, Pixels, Srgb};
pub use view::View;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Element {
    /// IEEE binary32.
    #[default]
    F32,
    /// IEEE binary16, two to a `u32` on the device.
    F16,
    /// Signed 8-bit integers, four to a `u32` on the device.
    I8,
    /// Unsigned 8-bit integers. On the device they are held as `I8`, shifted by 128.
    U8,
    /// Signed 32-bit integers.
    I32,
    /// Signed 64-bit integers: shapes and indices. On the device they are held as `I32`.
    I64,
    /// Truth values. On the device they are held as `I32`, 0 or 1.
    Bool,
}

impl Element {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Element::I8 | Element::U8 | Element::Bool => 1,
            Element::F16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::I64 => 8,
        }
    }

    /// Elements in a `u32` word of a device buffer.
    pub const fn per_word(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 4,
            Element::F16 => 2,
            Element::F32 | Element::I32 | Element::I64 | Element::Bool => 1,
        }
    }

    /// The type that a device holds it in: `I8` for `U8` (shifted by 128), `I32` for `I64` and `Bool`.
    pub const fn stored(self) -> Element {
        match self {
            Element::U8 => Element::I8,
            Element::I64 | Element::Bool => Element::I32,
            element => element,
        }
    }

    /// `u32` words that a row of `columns` elements takes on the device.
    pub const fn words(self, columns: usize) -> usize {
        columns.div_ceil(self.per_word())
    }
}
