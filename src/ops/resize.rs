//! Other sizes of two neighbouring axes, nearest or linear: images channels last, and any axes of anything.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{check_element, check_one_of, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

const OP: &str = "resize";
const ELEMENTS: [Element; 5] = [Element::F32, Element::I32, Element::F16, Element::I8, Element::U8];

/// What is asked of a [`Resize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResizeDescriptor {
    /// Element type of both tensors: F32 or F16, or where it is not linear, I32, I8 or U8 too.
    pub element: Element,
    /// Between two neighbours along each axis, else the nearest one.
    pub linear: bool,
}

/// What one place along an axis is made of, as WGSL sees it: `a x[low] + b x[high]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ResizeTap {
    pub low: u32,
    pub high: u32,
    pub a: f32,
    pub b: f32,
}

/// The tensors of a [`Resize`].
#[derive(Clone, Copy, Debug)]
pub struct ResizeBindings<'a> {
    /// `[outer, height, width, inner]`, as a matrix with rows of any number of whole dimensions. Packed elements need
    /// rows that lie within `inner`; where `inner` is not one row, rows are dense.
    pub x: View<'a>,
    /// What is before the two axes.
    pub outer: usize,
    /// How long the axes are.
    pub size: [usize; 2],
    /// I32 `[out height + out width, 4]`, dense: a [`ResizeTap`] for each row and then for each column of the output.
    /// Neighbours must be inside of the input.
    pub taps: View<'a>,
    /// How long they become.
    pub out_size: [usize; 2],
    /// `[outer, out height, out width, inner]`.
    pub out: View<'a>,
}

/// Resizes two neighbouring axes (ONNX `Resize` is one call for each two, or one where the other axis has a length of
/// 1). The coordinates are the caller's: see [`crate::reference::resize_taps`].
pub struct Resize {
    kernels: Kernels,
    descriptor: ResizeDescriptor,
}

/// The uniform of [`Resize`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ResizeParams {
    pub total: u32,
    pub inner: u32,
    pub height: u32,
    pub width: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
}

/// `linear` is the element where it is linear: words are words where it is not.
fn shader(linear: Option<Element>, vec: bool) -> Shader {
    let f16 = linear == Some(Element::F16);
    let consts = [("LINEAR", u32::from(linear.is_some())), ("F16", u32::from(f16)), ("VEC", u32::from(vec))];
    let files = [
        if f16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/resize.wgsl"),
    ];
    let how = linear.map_or("nearest".into(), |e| format!("linear {e:?}"));
    let label = format!("{OP}/{how}{}", if vec { " vectors" } else { "" });
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let ways = [None, Some(Element::F32), Some(Element::F16)];
    ways.iter().flat_map(|&way| [false, true].map(|vec| shader(way, vec))).collect()
}

impl Resize {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that live on the host only, or that nothing is between.
    pub fn new(device: &wgpu::Device, descriptor: &ResizeDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Resize::new`].
    pub fn with_kernels(kernels: &Kernels, d: &ResizeDescriptor) -> Result<Self> {
        if d.linear {
            check_one_of(OP, d.element, &[Element::F32, Element::F16], "F32 or F16")?;
        }
        check_one_of(OP, d.element, &ELEMENTS, "F32, I32, F16, I8 or U8")?;
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ResizeBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        for (name, view) in [("x", &b.x), ("out", &b.out)] {
            check_element(OP, name, view, d.element)?;
            check_words(OP, name, view)?;
        }
        check_element(OP, "taps", &b.taps, Element::I32)?;
        let taps = b.out_size[0].checked_add(b.out_size[1]);
        if taps != Some(b.taps.rows) || b.taps.columns != 4 || b.taps.pitch != 4 {
            return fail(format!(
                "taps is [{}, {}], expected four words for each of {:?} rows and columns",
                b.taps.rows, b.taps.columns, b.out_size
            ));
        }
        // The words that stay together, of one place along both axes, and from one to the next.
        let inner = |view: &View<'_>, [h, w]: [usize; 2]| -> Option<(usize, usize)> {
            let places = b.outer.checked_mul(h)?.checked_mul(w)?;
            if view.rows.checked_mul(view.columns)? == 0 {
                return (places == 0 || view.rows == 0 || view.columns == 0).then_some((0, 0));
            }
            if view.rows == places {
                return Some((view.element.words(view.columns), view.pitch));
            }
            let rows = if view.element.per_word() == 1 { view.rows * view.columns } else { view.rows };
            let row = if view.element.per_word() == 1 { 1 } else { view.pitch };
            let dense = view.pitch == view.element.words(view.columns);
            let whole = places > 0 && rows.is_multiple_of(places) && dense;
            whole.then(|| (rows / places * row, rows / places * row))
        };
        let found = inner(&b.x, b.size).zip(inner(&b.out, b.out_size));
        let Some(((words, x_pitch), (out_words, out_pitch))) = found else {
            return fail(format!(
                "x is [{}, {}] and out [{}, {}], but {} times {:?} to {:?} need whole rows for each place",
                b.x.rows, b.x.columns, b.out.rows, b.out.columns, b.outer, b.size, b.out_size
            ));
        };
        let buffers = [
            b.x.binding(device, OP, "x")?,
            b.taps.binding(device, OP, "taps")?,
            b.out.binding(device, OP, "out")?,
        ];
        if out_words == 0 {
            return Ok(Call::default());
        }
        if words != out_words {
            return fail(format!("{words} words of x stay together, but {out_words} of out"));
        }
        let vec = [words, x_pitch, out_pitch].iter().all(|n| n.is_multiple_of(4))
            && [&b.x, &b.out].iter().all(|v| {
                v.bytes().next_multiple_of(16).checked_add(v.offset).is_some_and(|end| end <= v.buffer.size())
            });
        let unit = if vec { 4 } else { 1 };
        let places = b.outer * b.out_size[0] * b.out_size[1];
        let int = |what, v| to_u32(OP, what, v);
        let total = places.checked_mul(words / unit).unwrap_or(usize::MAX);
        let params = ResizeParams {
            total: int("words", total)?,
            inner: int("words", words / unit)?,
            height: int("height", b.size[0])?,
            width: int("width", b.size[1])?,
            out_height: int("height", b.out_size[0])?,
            out_width: int("width", b.out_size[1])?,
            x_pitch: int("pitch of x", x_pitch / unit)?,
            out_pitch: int("pitch of out", out_pitch / unit)?,
        };
        let uniform = kernel::uniform(device, &params);
        let [x, taps, out] = buffers;
        let shader = shader(d.linear.then_some(d.element), vec);
        let kernel = self.kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::Read, Slot::Write]);
        let grid = kernel::grid(device, OP, (total as u64).div_ceil(64))?;
        let mut call = Call::default();
        call.push(Dispatch::new(device, kernel, &[uniform.as_entire_buffer_binding(), x, taps, out], grid));
        Ok(call)
    }
}
