//! Elements at indices along an axis: rows of an embedding table above all, which may be int8 and become floats.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{check_element, check_one_of, check_params, check_words, reads_vectors};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, View};

const OP: &str = "gather";
const ELEMENTS: [Element; 5] = [Element::F32, Element::I32, Element::F16, Element::I8, Element::U8];

/// What is asked of a [`Gather`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GatherDescriptor {
    /// Element type of the table: F32, I32, F16, I8 or U8.
    pub element: Element,
    /// Element type of the output: that of the table, or F32 or F16 where the table is I8 and stands for reals.
    pub out: Element,
}

/// The tensors of a [`Gather`].
#[derive(Clone, Copy, Debug)]
pub struct GatherBindings<'a> {
    /// The table, as the matrix of its outer dimensions by its innermost one.
    pub x: View<'a>,
    /// Its shape, outermost dimension first.
    pub shape: &'a [usize],
    /// Along which dimension.
    pub axis: usize,
    /// I32, dense: a negative one counts from the end.
    pub indices: View<'a>,
    /// Where int8 becomes floats: one element, or (along axis 0) one for each index of the table.
    pub params: Option<View<'a>>,
    /// The shape of `x` with the dimension replaced by those of the indices, as a matrix.
    pub out: View<'a>,
}

/// Copies the elements of a table at indices along an axis (ONNX `Gather`), or dequantizes them on the way.
///
/// The device cannot report an index that is out of range: it is taken as the nearest one in range.
pub struct Gather {
    kernels: Kernels,
    descriptor: GatherDescriptor,
}

/// The uniform of [`Gather`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GatherParams {
    pub total: u32,
    pub row_units: u32,
    pub columns: u32,
    pub n: u32,
    pub m: u32,
    pub inner: u32,
    pub x_columns: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub per_index: u32,
    pub padding: [u32; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Vectors,
    Words,
    /// The elements of a word, so many of them.
    Elements(u32),
    Dequantize(Element),
}

fn shader(way: Way) -> Shader {
    let flag = u32::from;
    let per_word = if let Way::Elements(n) = way { n } else { 1 };
    let f16 = way == Way::Dequantize(Element::F16);
    let consts = [
        ("ROWS", flag(per_word == 1)),
        ("VEC", flag(way == Way::Vectors)),
        ("DEQUANTIZE", flag(matches!(way, Way::Dequantize(_)))),
        ("OUT_F16", flag(f16)),
        ("PER_WORD", per_word),
        ("BITS", 32 / per_word),
    ];
    let label = match way {
        Way::Vectors => format!("{OP}/vectors"),
        Way::Words => format!("{OP}/words"),
        Way::Elements(n) => format!("{OP}/{} bits", 32 / n),
        Way::Dequantize(out) => format!("{OP}/I8 to {out:?}"),
    };
    let files = [
        include_str!("../../shaders/common/quant_params.wgsl"),
        if f16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/gather.wgsl"),
    ];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let floats = [Element::F32, Element::F16].map(Way::Dequantize);
    [Way::Vectors, Way::Words, Way::Elements(2), Way::Elements(4)]
        .into_iter()
        .chain(floats)
        .map(shader)
        .collect()
}

impl Gather {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that live on the host only, or that cannot become the output's.
    pub fn new(device: &wgpu::Device, descriptor: &GatherDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Gather::new`].
    pub fn with_kernels(kernels: &Kernels, d: &GatherDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &ELEMENTS, "F32, I32, F16, I8 or U8")?;
        if d.out != d.element {
            check_one_of(OP, d.element, &[Element::I8], "the output's, or I8")?;
            check_one_of(OP, d.out, &[Element::F32, Element::F16], "F32 or F16 of I8")?;
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &GatherBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        check_element(OP, "x", &b.x, d.element)?;
        check_element(OP, "indices", &b.indices, Element::I32)?;
        check_element(OP, "out", &b.out, d.out)?;
        for (name, view) in [("x", &b.x), ("indices", &b.indices), ("out", &b.out)] {
            check_words(OP, name, view)?;
        }
        let product = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let Some(&n) = b.shape.get(b.axis) else {
            return fail(format!("axis {} of {:?}", b.axis, b.shape));
        };
        let columns = b.shape[b.shape.len() - 1];
        if product(&b.shape[..b.shape.len() - 1]) != Some(b.x.rows) || columns != b.x.columns {
            return fail(format!("x is [{}, {}], but its shape is {:?}", b.x.rows, b.x.columns, b.shape));
        }
        if b.indices.rows > 1 && b.indices.pitch != b.indices.columns {
            return fail(format!(
                "rows of {} indices are {} words apart: they must be dense",
                b.indices.columns, b.indices.pitch
            ));
        }
        let m = b.indices.rows * b.indices.columns;
        let innermost = b.axis + 1 == b.shape.len();
        let outer = product(&b.shape[..b.axis]);
        let inner = product(&b.shape[b.axis + 1..]);
        let elements = outer.zip(inner).and_then(|(o, i)| o.checked_mul(m)?.checked_mul(i));
        let rows_stay = innermost || b.out.columns == columns;
        if elements.is_none() || elements != b.out.rows.checked_mul(b.out.columns) || !rows_stay {
            return fail(format!(
                "out is [{}, {}], but {m} indices along axis {} of {:?} give other rows",
                b.out.rows, b.out.columns, b.axis, b.shape
            ));
        }
        let dequantize = d.out != d.element;
        match &b.params {
            Some(params) if dequantize => {
                check_params(OP, "params", params)?;
                if params.rows != 1 && (params.rows != n || b.axis != 0) {
                    return fail(format!(
                        "params has {} elements, expected 1, or {n} along axis 0; the axis is {}",
                        params.rows, b.axis
                    ));
                }
            }
            None if dequantize => {
                return Err(Error::Argument { op: OP, detail: "int8 to floats needs params".into() });
            }
            _ => {}
        }
        if dequantize && innermost {
            return fail(format!(
                "int8 to floats along axis {} of {:?}: rows must stay whole",
                b.axis, b.shape
            ));
        }
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let x = b.x.binding(device, OP, "x")?;
        let indices = b.indices.binding(device, OP, "indices")?;
        let quant = optional(device, OP, "params", b.params.as_ref(), &zeros)?;
        let out = b.out.binding(device, OP, "out")?;
        if b.out.rows == 0 || b.out.columns == 0 {
            return Ok(Call::default());
        }
        if n == 0 {
            return fail(format!("{m} indices along axis {} of {:?}, which is empty", b.axis, b.shape));
        }
        let words = d.element.words(columns);
        let vectors = |v: &View<'_>| reads_vectors(v) && words.is_multiple_of(4);
        // Words that hold one element lie as one long row, whatever the shape.
        let flat = innermost && d.element.per_word() == 1;
        let dense = b.x.pitch == columns && b.out.pitch == b.out.columns;
        let per_word = d.element.per_word() as u32;
        let (way, row_units, inner, unit) = if dequantize {
            (Way::Dequantize(d.out), words, inner.unwrap_or(0) / columns.max(1), 1)
        } else if !innermost && vectors(&b.x) && vectors(&b.out) {
            (Way::Vectors, words / 4, inner.unwrap_or(0) / columns.max(1), 4)
        } else if !innermost {
            (Way::Words, words, inner.unwrap_or(0) / columns.max(1), 1)
        } else if flat && dense {
            (Way::Words, 1, 1, 1)
        } else if flat {
            return fail(format!(
                "x has a pitch of {} and out of {}: along the innermost axis they must be dense",
                b.x.pitch, b.out.pitch
            ));
        } else {
            (Way::Elements(per_word), d.out.words(b.out.columns), 1, 1)
        };
        let flat = flat && dense;
        let rows = if flat { b.out.rows * b.out.columns } else { b.out.rows };
        let int = |what, v| to_u32(OP, what, v);
        let total = rows.checked_mul(row_units).unwrap_or(usize::MAX);
        int("elements of x", b.x.rows.saturating_mul(columns))?;
        int("elements of out", elements.unwrap_or(usize::MAX))?;
        let params = GatherParams {
            total: int("words", total)?,
            row_units: int("words of a row", row_units)?,
            columns: int("columns", b.out.columns)?,
            n: int("indices", n.min(i32::MAX as usize + 1))?,
            m: int("indices", m)?,
            inner: int("rows", inner)?,
            x_columns: int("columns", columns)?,
            x_pitch: if flat { 1 } else { int("pitch of x", b.x.pitch / unit)? },
            out_pitch: if flat { 1 } else { int("pitch of out", b.out.pitch / unit)? },
            per_index: u32::from(b.params.is_some_and(|p| p.rows > 1)),
            padding: [0; 2],
        };
        let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Read, Slot::Write];
        let uniform = kernel::uniform(device, &params);
        let buffers = [uniform.as_entire_buffer_binding(), x, indices, quant, out];
        let grid = kernel::grid(device, OP, (total as u64).div_ceil(64))?;
        let mut call = Call::default();
        call.push(Dispatch::new(device, self.kernels.get(shader(way), &slots), &buffers, grid));
        Ok(call)
    }
}
