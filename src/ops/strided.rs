//! Copies of regions, with steps, repeats and what lies outside of a tensor: slices, pads, tiles, broadcasts and
//! concatenations, bit for bit, in every element type.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{check_element, check_one_of, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

/// The largest number of dimensions.
const RANK: usize = 8;
const OP: &str = "strided";
const ELEMENTS: [Element; 5] = [Element::F32, Element::I32, Element::F16, Element::I8, Element::U8];

/// What lies outside of the part of `x` that an axis reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Outside {
    /// Nothing: the axis stays inside.
    #[default]
    Never,
    /// The fill.
    Fill,
    /// The inside mirrored, without the edge itself.
    Reflect,
    /// The nearest element.
    Edge,
    /// The inside again.
    Wrap,
}

/// One dimension of a copied region: place `i` of the region, for `i` below `length`, is written at `to + i` and read at
/// `from + start + i * step`, where `[from, from + n)` is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Axis {
    /// How long the region is.
    pub length: usize,
    /// Where in `out` it begins.
    pub to: usize,
    /// Where the part of `x` begins that it is read from.
    pub from: usize,
    /// How long that part is.
    pub n: usize,
    /// The first place in it.
    pub start: i64,
    /// From one place to the next: 0 repeats one, negative ones go backwards.
    pub step: i64,
    /// Outside of that part.
    pub outside: Outside,
}

impl Axis {
    /// All of a dimension of `n`, to the same places.
    pub fn whole(n: usize) -> Self {
        Self { length: n, n, step: 1, ..Self::default() }
    }

    /// The same places, with as little said about them as possible.
    fn simple(self) -> Self {
        let still = self.length == 1 || self.step == 1;
        match usize::try_from(self.start) {
            Ok(start) if still && self.outside == Outside::Never => {
                Self { from: self.from + start, to: self.to, ..Self::whole(self.length) }
            }
            _ => self,
        }
    }

    fn is_plain(&self) -> bool {
        self.start == 0 && self.step == 1 && self.length == self.n && self.outside == Outside::Never
    }

    /// Whether every place that is read exists in a dimension of `n`, and every one that is written in one of `m`.
    fn fits(&self, n: usize, m: usize) -> bool {
        let inside = self.from.checked_add(self.n).is_some_and(|end| end <= n)
            && self.to.checked_add(self.length).is_some_and(|end| end <= m);
        let last = i64::try_from(self.length.saturating_sub(1)).ok();
        let last = last.and_then(|l| l.checked_mul(self.step)?.checked_add(self.start));
        let reach = |last: i64| [self.start, last].iter().all(|&i| i.unsigned_abs() < 1 << 30);
        let read = match self.outside {
            _ if self.length == 0 => true,
            Outside::Never => {
                last.is_some_and(|l| l.min(self.start) >= 0 && (l.max(self.start) as u64) < self.n as u64)
            }
            Outside::Fill => true,
            _ => self.n > 0,
        };
        inside && read && (self.length == 0 || last.is_some_and(reach)) && self.n < 1 << 30
    }
}

/// What is asked of a [`Strided`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StridedDescriptor {
    /// Element type of both tensors: F32, I32, F16, I8 or U8.
    pub element: Element,
}

/// The tensors of a [`Strided`].
#[derive(Clone, Copy, Debug)]
pub struct StridedBindings<'a> {
    /// The tensor, as the matrix of its outer dimensions by its innermost one.
    pub x: View<'a>,
    /// Its shape, outermost dimension first: at most 8 dimensions.
    pub x_shape: &'a [usize],
    /// The tensor that a region is written of, seen the same way.
    pub out: View<'a>,
    /// Its shape, of as many dimensions.
    pub out_shape: &'a [usize],
    /// What is read and written along each dimension.
    pub axes: &'a [Axis],
    /// The bits of one element, for [`Outside::Fill`].
    pub fill: u32,
}

/// Copies a region of a tensor into a region of another.
///
/// Elements of `out` beside the region stay as they are, so that calls one after the other put a tensor together. Where
/// they share a word with the region, that word is read and written back; past the end of a row it is filled with zeros.
pub struct Strided {
    kernels: Kernels,
    element: Element,
}

/// One dimension, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct StridedAxis {
    pub length: u32,
    pub start: i32,
    pub step: i32,
    pub outside: u32,
    pub n: u32,
    pub x_apart: u32,
    pub out_apart: u32,
    pub spare: u32,
}

/// The uniform of [`Strided`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct StridedParams {
    pub total: u32,
    pub row_units: u32,
    pub x_first: u32,
    pub x_column: u32,
    pub out_first: u32,
    pub out_column: u32,
    pub out_end: u32,
    pub fill: u32,
    pub axes: [StridedAxis; 8],
}

/// What a thread copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Vector,
    Word,
    /// One word's elements, two or four.
    Packed(usize),
}

fn shader(unit: Unit, outer: u32) -> Shader {
    let per_word = if let Unit::Packed(n) = unit { n as u32 } else { 1 };
    let consts = [
        ("OUTER", outer),
        ("PER_WORD", per_word),
        ("BITS", 32 / per_word),
        ("VEC", u32::from(unit == Unit::Vector)),
        ("WORD", u32::from(unit == Unit::Word)),
        ("PACKED", u32::from(per_word > 1)),
    ];
    let bits = if unit == Unit::Vector { 128 } else { 32 / per_word };
    let files = [include_str!("../../shaders/strided.wgsl")];
    let label = format!("{OP}/{bits} bits {outer} outer");
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let units = [Unit::Vector, Unit::Word, Unit::Packed(2), Unit::Packed(4)];
    units.iter().flat_map(|&unit| [1, 3, 7].map(|outer| shader(unit, outer))).collect()
}

/// A dimension on its way to the kernel: distances in words, but for the innermost in elements.
#[derive(Clone, Copy)]
struct Dimension {
    axis: Axis,
    x_apart: usize,
    out_apart: usize,
}

impl Strided {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that live on the host only.
    pub fn new(device: &wgpu::Device, descriptor: &StridedDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Strided::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &StridedDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &ELEMENTS, "F32, I32, F16, I8 or U8")?;
        Ok(Self { kernels: kernels.clone(), element: descriptor.element })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`] where the views are not of their shapes or an axis leaves them; [`Error::View`] or
    /// [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &StridedBindings<'_>) -> Result<Call> {
        let device = self.kernels.device();
        let (rank, per_word) = (b.axes.len(), self.element.per_word());
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        if rank > RANK || b.x_shape.len() != rank || b.out_shape.len() != rank {
            return fail(format!(
                "{rank} axes from {:?} to {:?}: at most {RANK} dimensions, as many of each",
                b.x_shape, b.out_shape
            ));
        }
        for (name, view, shape) in [("x", &b.x, b.x_shape), ("out", &b.out, b.out_shape)] {
            check_element(OP, name, view, self.element)?;
            check_words(OP, name, view)?;
            let (columns, outer) = shape.split_last().map_or((1, &[][..]), |(&c, outer)| (c, outer));
            let rows = outer.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            if rows != Some(view.rows) || columns != view.columns {
                return fail(format!(
                    "{name} is [{}, {}], but its shape is {shape:?}",
                    view.rows, view.columns
                ));
            }
        }
        for (d, axis) in b.axes.iter().enumerate() {
            if !axis.fits(b.x_shape[d], b.out_shape[d]) {
                return fail(format!(
                    "dimension {d}, from {} to {}: {axis:?} leaves them",
                    b.x_shape[d], b.out_shape[d]
                ));
            }
        }
        let buffers = [b.x.binding(device, OP, "x")?, b.out.binding(device, OP, "out")?];
        if b.axes.iter().any(|a| a.length == 0) {
            return Ok(Call::default());
        }
        let mut dims = Vec::with_capacity(RANK);
        let (mut x_apart, mut out_apart) = (b.x.pitch, b.out.pitch);
        let (mut x_first, mut out_first, mut x_column, mut out_column) = (0, 0, 0, 0);
        for (d, axis) in b.axes.iter().map(|a| a.simple()).enumerate().rev() {
            if d + 1 == rank {
                (x_column, out_column) = (axis.from, axis.to);
                dims.push(Dimension { axis, x_apart: 1, out_apart: 1 });
                continue;
            }
            x_first += axis.from * x_apart;
            out_first += axis.to * out_apart;
            dims.push(Dimension { axis, x_apart, out_apart });
            x_apart = x_apart.saturating_mul(b.x_shape[d]);
            out_apart = out_apart.saturating_mul(b.out_shape[d]);
        }
        if dims.is_empty() {
            dims.push(Dimension { axis: Axis::whole(1), x_apart: 1, out_apart: 1 });
        }
        // Regions of whole words are copied as words, and of whole vectors as vectors.
        let inner = dims[0].axis;
        let filled = dims[1..].iter().any(|d| d.axis.outside == Outside::Fill);
        let row_end = out_column + inner.length == b.out.columns && x_column + inner.length == b.x.columns;
        let whole = |n: usize| n.is_multiple_of(per_word);
        let mut fill = b.fill;
        let mut unit = if per_word == 1 { Unit::Word } else { Unit::Packed(per_word) };
        if inner.is_plain()
            && whole(x_column)
            && whole(out_column)
            && (whole(inner.length) || (row_end && !filled))
        {
            fill = match per_word {
                2 => (fill & 0xffff) * 0x1_0001,
                4 => (fill & 0xff) * 0x101_0101,
                _ => fill,
            };
            unit = Unit::Word;
            let words = inner.length.div_ceil(per_word);
            x_first += x_column / per_word;
            out_first += out_column / per_word;
            (x_column, out_column) = (0, 0);
            dims[0].axis = Axis::whole(words);
        } else if unit == Unit::Word {
            x_first += x_column;
            out_first += out_column;
            (x_column, out_column) = (0, 0);
        }
        if unit == Unit::Word {
            merge(&mut dims, 0);
        }
        merge(&mut dims, 1);
        let by_four = |n: usize| n.is_multiple_of(4);
        if unit == Unit::Word
            && dims[0].axis.is_plain()
            && by_four(dims[0].axis.length)
            && by_four(x_first)
            && by_four(out_first)
            && dims[1..].iter().all(|d| by_four(d.x_apart) && by_four(d.out_apart))
            && holds_vectors(&b.x)
            && holds_vectors(&b.out)
        {
            unit = Unit::Vector;
            dims[0].axis = Axis::whole(dims[0].axis.length / 4);
            x_first /= 4;
            out_first /= 4;
            for d in &mut dims[1..] {
                d.x_apart /= 4;
                d.out_apart /= 4;
            }
        }
        let axis = dims[0].axis;
        let row_units = match unit {
            Unit::Packed(n) => {
                out_first += out_column / n;
                (out_column % n + axis.length).div_ceil(n)
            }
            _ => axis.length,
        };
        let skipped = out_column / per_word * per_word;
        let rows = dims[1..].iter().try_fold(1usize, |n, d| n.checked_mul(d.axis.length));
        let total = rows.and_then(|r| r.checked_mul(row_units)).unwrap_or(usize::MAX);
        let int = |what, v| to_u32(OP, what, v);
        let mut params = StridedParams {
            total: int("words", total)?,
            row_units: int("words of a row", row_units)?,
            x_first: int("words before the region", x_first)?,
            x_column: int("columns", x_column)?,
            out_first: int("words before the region", out_first)?,
            out_column: int("columns", out_column - skipped)?,
            out_end: int("columns", b.out.columns.saturating_sub(skipped))?,
            fill,
            axes: [StridedAxis { length: 1, n: 1, step: 1, ..Default::default() }; 8],
        };
        for (to, d) in params.axes.iter_mut().zip(&dims) {
            *to = StridedAxis {
                length: int("length", d.axis.length)?,
                start: d.axis.start as i32,
                step: d.axis.step as i32,
                outside: d.axis.outside as u32,
                n: int("length", d.axis.n)?,
                x_apart: int("words between neighbours", if d.axis.n > 1 { d.x_apart } else { 0 })?,
                out_apart: int("words between neighbours", if d.axis.length > 1 { d.out_apart } else { 0 })?,
                spare: 0,
            };
        }
        let outer = [1, 3, 7].into_iter().find(|&n| n + 1 >= dims.len()).unwrap_or(7);
        let uniform = kernel::uniform(device, &params);
        let [x, out] = buffers;
        let kernel = self.kernels.get(shader(unit, outer as u32), &[Slot::Uniform, Slot::Read, Slot::Write]);
        let grid = kernel::grid(device, OP, (total as u64).div_ceil(64))?;
        let mut call = Call::default();
        call.push(Dispatch::new(device, kernel, &[uniform.as_entire_buffer_binding(), x, out], grid));
        Ok(call)
    }
}

/// Whether the buffer has all of the view's last 16-byte vector.
fn holds_vectors(view: &View<'_>) -> bool {
    let end = view.bytes().next_multiple_of(16).checked_add(view.offset);
    end.is_some_and(|end| end <= view.buffer.size())
}

/// Takes neighbouring dimensions from `first` on together that lie one after the other on both sides, and leaves out
/// those of one place.
fn merge(dims: &mut Vec<Dimension>, first: usize) {
    let mut d = first.max(1);
    while d < dims.len() {
        let (outer, below) = (dims[d], dims[d - 1]);
        let joined = d > first
            && outer.axis.is_plain()
            && below.axis.is_plain()
            && outer.x_apart == below.x_apart * below.axis.length
            && outer.out_apart == below.out_apart * below.axis.length;
        if outer.axis.is_plain() && outer.axis.length == 1 {
            dims.remove(d);
        } else if joined {
            dims[d - 1].axis = Axis::whole(below.axis.length * outer.axis.length);
            dims.remove(d);
        } else {
            d += 1;
        }
    }
}
