//! Attention of short heads in one dispatch, which never writes the scores.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::gemm::HeadColumns;
use crate::ops::rows::{self, TO_INT8, check_one_of, check_out_params};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, View};

/// What is asked of an [`Attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionDescriptor {
    /// Element type of all tensors but the output: F32 or F16, with f32 arithmetic.
    pub element: Element,
    /// Element type of the output: the same, or I8.
    pub out: Element,
    /// Multiplies the scores.
    pub scale: f32,
}

/// The tensors of an [`Attention`]: heads side by side in rows, of as many columns in all of them.
#[derive(Clone, Copy, Debug)]
pub struct AttentionBindings<'a> {
    /// `[batch * m, ..]`, and where in it the heads of the queries are.
    pub q: (View<'a>, HeadColumns),
    /// `[batch * n, ..]`, the keys.
    pub k: (View<'a>, HeadColumns),
    /// `[batch * n, ..]`, the values.
    pub v: (View<'a>, HeadColumns),
    /// `[batch, n]` or `[1, n]`, added to the scaled scores of each key.
    pub mask: Option<View<'a>>,
    /// `[batch * m, ..]`.
    pub out: (View<'a>, HeadColumns),
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
    /// Heads in each row.
    pub heads: usize,
    /// Sequences.
    pub batch: usize,
}

/// `softmax(scale q k + mask) v` for each head: see [`crate::reference::attention`]. Needs `SUBGROUP` and subgroups of at
/// least 8.
///
/// A query whose scores are NaN, infinite or nothing but minus infinity is all NaN, as in [`crate::ops::Softmax`].
/// Int8 is what [`crate::ops::Quantize`] makes of the result.
pub struct Attention {
    kernels: Kernels,
    descriptor: AttentionDescriptor,
}

/// The uniform of [`Attention`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct AttentionParams {
    pub m: u32,
    pub n: u32,
    pub heads: u32,
    pub tiles: u32,
    pub total: u32,
    pub q_pitch: u32,
    pub k_pitch: u32,
    pub v_pitch: u32,
    pub out_pitch: u32,
    pub q_first: u32,
    pub k_first: u32,
    pub v_first: u32,
    pub out_first: u32,
    pub mask_pitch: u32,
    pub scale: f32,
    pub nan: u32,
}

const OP: &str = "attention";

/// The widest head, in columns: its queries and sums are held in registers.
const WIDEST: usize = 64;

/// `wide`: keys and values by 64-bit loads, eight words at once.
fn shader([element, out]: [Element; 2], mask: bool, wide: bool, fours: u32, rows: u32) -> Shader {
    let flag = u32::from;
    let f16 = flag(element == Element::F16);
    let consts = [
        ("F16", f16),
        ("HALF", f16),
        ("OUT_I8", flag(out == Element::I8)),
        ("MASK", flag(mask)),
        ("WIDE", flag(wide)),
        ("EIGHTS", fours / (2 * element.per_word() as u32)),
        ("DV", fours),
        ("ROWS", rows),
    ];
    let mut files = vec![
        if wide { include_str!("../../shaders/common/split_words.wgsl") } else { "" },
        if f16 == 1 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/attention.wgsl"),
    ];
    if out == Element::I8 {
        files.extend(TO_INT8);
    }
    let (masked, to) = (if mask { " masked" } else { "" }, if out == Element::I8 { " to int8" } else { "" });
    let by = if wide { " by 64 bits" } else { "" };
    let label = format!("{OP}/{element:?}{to}{masked}{by} {} rows of heads of {}", 8 * rows, 4 * fours);
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// The narrowest heads and the widest, with few rows and many.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for element in [Element::F32, Element::F16] {
        for (fours, rows) in [(1, 1), (4, 2), (8, 4), (16, 4)] {
            all.extend([false, true].map(|mask| shader([element; 2], mask, false, fours, rows)));
            all.push(shader([element, Element::I8], true, fours > 1, fours, rows));
        }
    }
    all
}

impl Attention {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than floats, and an output of other floats; [`Error::Feature`] and
    /// [`Error::Argument`] without subgroups of 8.
    pub fn new(device: &wgpu::Device, descriptor: &AttentionDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Attention::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &AttentionDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &[Element::F32, Element::F16], "F32 or F16")?;
        check_one_of(OP, descriptor.out, &[descriptor.element, Element::I8], "that of q, or I8")?;
        let device = kernels.device();
        if !device.features().contains(wgpu::Features::SUBGROUP) {
            return Err(Error::Feature { op: OP, feature: "SUBGROUP" });
        }
        let have = device.adapter_info().subgroup_min_size;
        if have < 8 {
            let detail = format!("broadcasts need subgroups of 8, the device has {have}");
            return Err(Error::Argument { op: OP, detail });
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
    }

    /// Whether heads of so many columns have a kernel: a multiple of 4 up to 64.
    pub fn takes(columns: usize) -> bool {
        (4..=WIDEST).contains(&columns) && columns.is_multiple_of(4)
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &AttentionBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (batch, heads, columns) = (b.batch, b.heads, b.q.1.columns);
        let shape = |detail: String| Err(Error::Shape { op: OP, detail });
        if batch == 0 || heads == 0 || !b.q.0.rows.is_multiple_of(batch) || !b.k.0.rows.is_multiple_of(batch)
        {
            let detail = format!("{} queries and {} keys in {batch} batches", b.q.0.rows, b.k.0.rows);
            return shape(format!("{detail} of {heads} heads"));
        }
        let (m, n) = (b.q.0.rows / batch, b.k.0.rows / batch);
        if !Self::takes(columns) {
            let detail = format!("heads of {columns} columns: expected a multiple of 4 up to {WIDEST}");
            return Err(Error::Argument { op: OP, detail });
        }
        let tensors = [
            ("q", &b.q, m, d.element),
            ("k", &b.k, n, d.element),
            ("v", &b.v, n, d.element),
            ("out", &b.out, m, d.out),
        ];
        for (name, (view, at), rows, element) in tensors {
            // Four elements at a time.
            let step = 4 / element.per_word();
            let end = heads.checked_mul(columns).and_then(|w| w.checked_add(at.first));
            let fits = view.element == element
                && view.rows == rows * batch
                && at.columns == columns
                && end.is_some_and(|end| end <= view.columns);
            if !fits {
                return shape(format!(
                    "{name} is [{}, {}] of {:?} with heads of {} from column {} on, expected {} rows of {:?} with {heads} heads of {columns}",
                    view.rows,
                    view.columns,
                    view.element,
                    at.columns,
                    at.first,
                    rows * batch,
                    element
                ));
            }
            if !view.pitch.is_multiple_of(step) || !at.first.is_multiple_of(4) {
                let detail = format!(
                    "{name} has a pitch of {} words and heads from column {} on: both must be whole fours",
                    view.pitch, at.first
                );
                return Err(Error::Argument { op: OP, detail });
            }
        }
        check_out_params(OP, &b.out.0, b.out_params.as_ref())?;
        if let Some(mask) = &b.mask {
            if (mask.element, mask.columns) != (d.element, n) || ![1, batch].contains(&mask.rows) {
                return shape(format!(
                    "the mask is [{}, {}] of {:?}, expected [1 or {batch}, {n}] of {:?}",
                    mask.rows, mask.columns, mask.element, d.element
                ));
            }
        }
        if n == 0 {
            return shape("there is no key".into());
        }
        let mut call = Call::default();
        if m == 0 {
            return Ok(call);
        }
        // Four rows a thread share what is loaded; fewer where few queries would leave threads without any.
        let rows = m.div_ceil(8).next_power_of_two().min(4);
        let tiles = m.div_ceil(8 * rows);
        let total = tiles as u64 * heads as u64 * batch as u64;
        let grid = kernel::grid(device, OP, total)?;
        let int = |what, v| to_u32(OP, what, v);
        let first = |at: HeadColumns, element: Element| int("first column", element.words(at.first));
        let params = AttentionParams {
            m: int("m", m)?,
            n: int("n", n)?,
            heads: int("heads", heads)?,
            tiles: int("tiles", tiles)?,
            total: int("tiles", total as usize)?,
            q_pitch: int("pitch of q", b.q.0.pitch)?,
            k_pitch: int("pitch of k", b.k.0.pitch)?,
            v_pitch: int("pitch of v", b.v.0.pitch)?,
            out_pitch: int("pitch of out", b.out.0.pitch)?,
            q_first: first(b.q.1, d.element)?,
            k_first: first(b.k.1, d.element)?,
            v_first: first(b.v.1, d.element)?,
            out_first: first(b.out.1, d.out)?,
            mask_pitch: match &b.mask {
                Some(mask) if mask.rows > 1 => int("pitch of the mask", mask.pitch)?,
                _ => 0,
            },
            scale: d.scale,
            nan: f32::NAN.to_bits(),
        };
        let uniform = kernel::uniform(device, &params);
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.q.0.binding(device, OP, "q")?,
            b.k.0.binding(device, OP, "k")?,
            b.v.0.binding(device, OP, "v")?,
            optional(device, OP, "mask", b.mask.as_ref(), &zeros)?,
            b.out.0.binding(device, OP, "out")?,
            optional(device, OP, "out_params", b.out_params.as_ref(), &zeros)?,
        ];
        let mut slots = [Slot::Read; 7];
        (slots[0], slots[5]) = (Slot::Uniform, Slot::Write);
        let fours = columns as u32 / 4;
        let wide = [(&b.k, params.k_first), (&b.v, params.v_first)].into_iter().all(|((view, _), first)| {
            rows::reads_wide(device, view)
                && first.is_multiple_of(8)
                && d.element.words(columns).is_multiple_of(8)
        });
        let shader = shader([d.element, d.out], b.mask.is_some(), wide, fours, rows as u32);
        call.push(Dispatch::new(device, self.kernels.get(shader, &slots), &buffers, grid));
        Ok(call)
    }
}
