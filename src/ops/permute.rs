//! Copies in another order of dimensions or under another shape, bit for bit, in every element type.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{check_element, check_one_of, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

/// The largest number of dimensions.
const RANK: usize = 6;
const OP: &str = "permute";
const ELEMENTS: [Element; 5] = [Element::F32, Element::I32, Element::F16, Element::I8, Element::U8];

/// What is asked of a [`Permute`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PermuteDescriptor {
    /// Element type of both tensors: F32, I32, F16, I8 or U8.
    pub element: Element,
}

/// The tensors of a [`Permute`].
#[derive(Clone, Copy, Debug)]
pub struct PermuteBindings<'a> {
    /// The tensor, as the matrix of its outer dimensions by its innermost one.
    pub x: View<'a>,
    /// Its shape, outermost dimension first: at most 6 dimensions.
    pub shape: &'a [usize],
    /// Which dimension of `x` each dimension of `out` is: `[0, 2, 3, 1]` makes channels-last of NCHW.
    pub order: &'a [usize],
    /// `[outer dimensions, innermost dimension]` of the output.
    pub out: View<'a>,
}

/// The tensors of a copy under another shape.
#[derive(Clone, Copy, Debug)]
pub struct ReshapeBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// As many elements, in the same row-major order.
    pub out: View<'a>,
}

/// Copies a tensor in another order of its dimensions (ONNX `Transpose`), or under another shape.
///
/// Rows are padded to whole words (see [`crate::tensor`]), so that a reshape is a copy wherever the innermost dimension
/// changes and is not made of whole words.
pub struct Permute {
    kernels: Kernels,
    element: Element,
}

/// The uniform of [`Permute`]'s kernel, as WGSL sees it: dimensions from the innermost.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct PermuteParams {
    pub words: u32,
    pub row_words: u32,
    pub columns: u32,
    pub out_pitch: u32,
    pub x_columns: u32,
    pub x_pitch: u32,
    /// WGSL aligns the arrays of vectors to 16 bytes.
    pub padding: [u32; 2],
    pub length: [u32; 8],
    pub words_apart: [u32; 8],
    pub elements_apart: [u32; 8],
}

fn shader(element: Element, reshape: bool) -> Shader {
    let per_word = element.per_word() as u32;
    let consts = [
        ("PER_WORD", per_word),
        ("BITS", 32 / per_word),
        ("WHOLE", u32::from(per_word == 1)),
        ("RESHAPE", u32::from(reshape)),
    ];
    let label = format!("{}/{} bits", if reshape { "reshape" } else { OP }, 32 / per_word);
    let files = [include_str!("../../shaders/permute.wgsl")];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let elements = [Element::F32, Element::F16, Element::I8];
    elements.iter().flat_map(|&e| [shader(e, false), shader(e, true)]).collect()
}

impl Permute {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that live on the host only.
    pub fn new(device: &wgpu::Device, descriptor: &PermuteDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Permute::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &PermuteDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &ELEMENTS, "F32, I32, F16, I8 or U8")?;
        Ok(Self { kernels: kernels.clone(), element: descriptor.element })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`] where the views are not of the shape or `order` is not a permutation; [`Error::View`] or
    /// [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &PermuteBindings<'_>) -> Result<Call> {
        let (rank, shape) = (b.shape.len(), b.shape);
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        let mut seen = [false; RANK];
        if rank > RANK || b.order.len() != rank {
            return fail(format!("shape {shape:?} in order {:?}: at most {RANK} dimensions", b.order));
        }
        for &d in b.order {
            if d >= rank || std::mem::replace(&mut seen[d], true) {
                return fail(format!("{:?} is not an order of {rank} dimensions", b.order));
            }
        }
        let to: Vec<usize> = b.order.iter().map(|&d| shape[d]).collect();
        for (name, view, dims) in [("x", &b.x, shape), ("out", &b.out, &to)] {
            let (columns, outer) = dims.split_last().map_or((1, &[][..]), |(&c, outer)| (c, outer));
            let rows = outer.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            if rows != Some(view.rows) || columns != view.columns {
                return fail(format!(
                    "{name} is [{}, {}], but its shape is {dims:?}",
                    view.rows, view.columns
                ));
            }
        }
        // How far apart neighbours along each dimension of x are: in words, but for the innermost.
        let mut apart = [[0; 2]; RANK];
        let mut step = b.x.pitch;
        for d in (0..rank).rev() {
            apart[d] = if d + 1 == rank { [0, 1] } else { [to_u32(OP, "pitch of x", step)?, 0] };
            if d + 1 < rank {
                step = step.saturating_mul(shape[d]);
            }
        }
        let mut params = PermuteParams { length: [1; 8], ..Default::default() };
        for (i, &d) in b.order.iter().rev().enumerate() {
            params.length[i] = to_u32(OP, "dimension", shape[d])?;
            [params.words_apart[i], params.elements_apart[i]] = apart[d];
        }
        self.call(&b.x, &b.out, params, false)
    }

    /// Checks shapes and limits, and makes the call of a copy under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of elements differ; [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind_reshape(&self, b: &ReshapeBindings<'_>) -> Result<Call> {
        let (x, out) = (&b.x, &b.out);
        let len = x.rows.checked_mul(x.columns);
        if len.is_none() || len != out.rows.checked_mul(out.columns) {
            return Err(Error::Shape {
                op: OP,
                detail: format!(
                    "x is [{}, {}], but out is [{}, {}]",
                    x.rows, x.columns, out.rows, out.columns
                ),
            });
        }
        to_u32(OP, "elements", x.rows * x.columns)?;
        self.call(x, out, PermuteParams::default(), true)
    }

    fn call(&self, x: &View<'_>, out: &View<'_>, params: PermuteParams, reshape: bool) -> Result<Call> {
        let device = self.kernels.device();
        for (name, view) in [("x", x), ("out", out)] {
            check_element(OP, name, view, self.element)?;
            check_words(OP, name, view)?;
        }
        let row_words = self.element.words(out.columns);
        let words = out.rows as u64 * row_words as u64;
        let params = PermuteParams {
            words: to_u32(OP, "words", words as usize)?,
            row_words: to_u32(OP, "words", row_words)?,
            columns: to_u32(OP, "columns", out.columns)?,
            out_pitch: to_u32(OP, "pitch of out", out.pitch)?,
            x_columns: to_u32(OP, "columns", x.columns)?,
            x_pitch: to_u32(OP, "pitch of x", x.pitch)?,
            ..params
        };
        let uniform = kernel::uniform(device, &params);
        let buffers = [
            uniform.as_entire_buffer_binding(),
            x.binding(device, OP, "x")?,
            out.binding(device, OP, "out")?,
        ];
        let mut call = Call::default();
        if words > 0 {
            let kernel =
                self.kernels.get(shader(self.element, reshape), &[Slot::Uniform, Slot::Read, Slot::Write]);
            let grid = kernel::grid(device, OP, words.div_ceil(64))?;
            call.push(Dispatch::new(device, kernel, &buffers, grid));
        }
        Ok(call)
    }
}
