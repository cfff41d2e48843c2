//! Other sizes of two neighbouring axes, nearest or linear: images channels last, and any axes of anything.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, check_element, check_one_of, check_out_params, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

const OP: &str = "resize";
const ELEMENTS: [Element; 5] = [Element::F32, Element::I32, Element::F16, Element::I8, Element::U8];

/// What is asked of a [`Resize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResizeDescriptor {
    /// Element type of the input: F32 or F16, or where it is not linear, I32, I8 or U8 too.
    pub element: Element,
    /// Element type of the output: the same, or where it is linear, I8.
    pub out: Element,
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
    /// Where the output is I8 and the input is not, its parameters.
    pub out_params: Option<View<'a>>,
    /// `[outer, out height, out width, inner]`. Where reals become I8, what stays together must be whole vectors of 16 bytes
    /// in `x`.
    pub out: View<'a>,
}

/// Resizes two neighbouring axes (ONNX `Resize` is one call for each two, or one where the other axis has a length of
/// 1). The coordinates are the caller's: see [`crate::reference::resize_taps`]. Int8 of reals is what
/// [`crate::ops::Quantize`] makes of the result.
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

/// `linear` is the element where it is linear: words are words where it is not. `int8`: that is what it becomes.
fn shader(linear: Option<Element>, vec: bool, int8: bool) -> Shader {
    let flag = u32::from;
    let f16 = linear == Some(Element::F16);
    let consts = [
        ("LINEAR", flag(linear.is_some())),
        ("F16", flag(f16)),
        ("HALF", flag(f16)),
        ("VEC", flag(vec)),
        ("OUT_I8", flag(int8)),
    ];
    let mut files = if int8 { rows::TO_INT8.to_vec() } else { Vec::new() };
    files.extend([
        if f16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/resize.wgsl"),
    ]);
    let to = if int8 { " to int8" } else { "" };
    let how = linear.map_or("nearest".into(), |e| format!("linear {e:?}{to}"));
    let label = format!("{OP}/{how}{}", if vec { " vectors" } else { "" });
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let ways = [None, Some(Element::F32), Some(Element::F16)];
    let same = ways.iter().flat_map(|&way| [false, true].map(|vec| shader(way, vec, false)));
    same.chain(ways[1..].iter().map(|&way| shader(way, true, true))).collect()
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
        if d.out != d.element && !(d.linear && d.out == Element::I8) {
            let expected = "the input's, or I8 where it is linear";
            return Err(Error::Element { op: OP, got: d.out, expected });
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ResizeBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        for (name, view, element) in [("x", &b.x, d.element), ("out", &b.out, d.out)] {
            check_element(OP, name, view, element)?;
            check_words(OP, name, view)?;
        }
        let int8 = d.out != d.element;
        if int8 || b.out_params.is_some() {
            check_out_params(OP, &b.out, b.out_params.as_ref())?;
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
        let mut buffers = vec![
            b.x.binding(device, OP, "x")?,
            b.taps.binding(device, OP, "taps")?,
            b.out.binding(device, OP, "out")?,
        ];
        if let Some(params) = b.out_params.as_ref().filter(|_| int8) {
            buffers.push(params.binding(device, OP, "out_params")?);
        }
        if out_words == 0 {
            return Ok(Call::default());
        }
        // Words of x to one of out.
        let ratio = b.out.element.per_word() / b.x.element.per_word();
        if words != out_words * ratio || (int8 && !b.x.columns.is_multiple_of(b.out.element.per_word())) {
            return fail(format!("{words} words of x stay together, but {out_words} of out"));
        }
        let vec = [words, x_pitch, out_pitch * ratio].iter().all(|n| n.is_multiple_of(4))
            && [&b.x, &b.out].iter().all(|v| {
                v.bytes().next_multiple_of(16).checked_add(v.offset).is_some_and(|end| end <= v.buffer.size())
            });
        if int8 && !vec {
            return fail(format!(
                "{words} words of x, {x_pitch} apart, stay together: I8 is made of fours, and of fours of I8"
            ));
        }
        let unit = if vec { 4 } else { 1 };
        let places = b.outer * b.out_size[0] * b.out_size[1];
        let int = |what, v| to_u32(OP, what, v);
        let total = places.saturating_mul(words / unit);
        let params = ResizeParams {
            total: int("words", total)?,
            inner: int("words", words / unit)?,
            height: int("height", b.size[0])?,
            width: int("width", b.size[1])?,
            out_height: int("height", b.out_size[0])?,
            out_width: int("width", b.out_size[1])?,
            x_pitch: int("pitch of x", x_pitch / unit)?,
            out_pitch: int("pitch of out", out_pitch * ratio / unit)?,
        };
        let uniform = kernel::uniform(device, &params);
        let all = [vec![uniform.as_entire_buffer_binding()], buffers].concat();
        let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Write, Slot::Read];
        let shader = shader(d.linear.then_some(d.element), vec, int8);
        let kernel = self.kernels.get(shader, &slots[..all.len()]);
        let grid = kernel::grid(device, OP, (total as u64).div_ceil(64))?;
        let mut call = Call::default();
        call.push(Dispatch::new(device, kernel, &all, grid));
        Ok(call)
    }
}
