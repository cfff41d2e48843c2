//! Softmax by rows, with what attention puts before it: a scale and a mask.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, Team, Teams, check_element, check_one_of, check_same, check_words};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, View};

/// What is asked of a [`Softmax`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxDescriptor {
    /// Element type of `x` and the mask: F32 or F16, with f32 arithmetic.
    pub element: Element,
    /// Element type of the output: the same, or I8.
    pub out: Element,
    /// The logarithm of it.
    pub log: bool,
    /// Multiplies `x` first.
    pub scale: f32,
}

impl Default for SoftmaxDescriptor {
    fn default() -> Self {
        Self { element: Element::F32, out: Element::F32, log: false, scale: 1.0 }
    }
}

/// Added to the scaled `x` before the softmax, broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// `[product of rows, columns of x, or 1]`.
    pub view: View<'a>,
    /// Its outer dimensions: each that of `x_outer`, or 1.
    pub outer: [usize; 3],
    /// The dimensions whose product are the rows of `x`.
    pub x_outer: [usize; 3],
}

/// The tensors of a [`Softmax`].
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// What is added.
    pub mask: Option<Mask<'a>>,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
}

/// `softmax(scale * x + mask)` of each row: see [`crate::reference::softmax`].
///
/// A row with a NaN or an infinity, or with nothing but minus infinity, is all NaN, as in PyTorch. Int8 is what
/// [`crate::ops::Quantize`] makes of the result.
pub struct Softmax {
    kernels: Kernels,
    descriptor: SoftmaxDescriptor,
    team: Team,
}

/// The uniform of [`Softmax`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SoftmaxParams {
    pub rows: u32,
    pub columns: u32,
    pub units: u32,
    pub lanes: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub scale: f32,
    pub logarithm: u32,
    pub nan: u32,
    pub length_1: u32,
    pub length_2: u32,
    pub mask_0: u32,
    pub mask_1: u32,
    pub mask_2: u32,
    pub mask_column: u32,
    pub padding: u32,
}

const OP: &str = "softmax";

fn shader([element, out]: [Element; 2], mask: bool, vec: bool, team: (Team, u32)) -> Shader {
    let f16 = u32::from(element == Element::F16);
    let mut consts = vec![
        ("X_F16", f16),
        ("OUT_F16", f16),
        ("HALF", f16),
        ("WIDE", 0),
        ("NARROW", 0),
        ("X_VEC", u32::from(vec)),
        ("OUT_VEC", u32::from(vec)),
        ("MASK", u32::from(mask)),
    ];
    consts.extend(rows::team_consts(team));
    let mut files = rows::store(out, 0);
    files.extend([
        include_str!("../../shaders/common/load_float.wgsl"),
        if f16 == 1 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/softmax.wgsl"),
    ]);
    let (mask, vec) = (if mask { " masked" } else { "" }, if vec { "" } else { " by words" });
    let to = if out == Element::I8 { " to int8" } else { "" };
    let label = format!("{OP}/{element:?}{to}{mask}{vec}{}", rows::team_label(team));
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for element in [Element::F32, Element::F16] {
        for team in rows::TEAMS {
            for out in [element, Element::I8] {
                all.extend((0..4).map(|i| shader([element, out], i & 1 != 0, i & 2 != 0, team)));
            }
        }
    }
    all
}

impl Softmax {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than floats, and an output of other floats.
    pub fn new(device: &wgpu::Device, descriptor: &SoftmaxDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Softmax::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &SoftmaxDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &[Element::F32, Element::F16], "F32 or F16")?;
        check_one_of(OP, descriptor.out, &[descriptor.element, Element::I8], "that of x, or I8")?;
        let team = Team::choose(kernels.device());
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor, team })
    }

    /// With another [`Team`] than [`Team::choose`]'s; very long rows are a workgroup's in any case.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team, ..self }
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &SoftmaxBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        for (name, view, element) in [("x", &b.x, d.element), ("out", &b.out, d.out)] {
            check_element(OP, name, view, element)?;
            check_words(OP, name, view)?;
        }
        rows::check_out_params(OP, &b.out, b.out_params.as_ref())?;
        check_same(OP, &b.x, &b.out)?;
        let teams = Teams::new(device, OP, &b.x, self.team, 2)?;
        let mut params = SoftmaxParams {
            rows: to_u32(OP, "rows", b.x.rows)?,
            columns: to_u32(OP, "columns", b.x.columns)?,
            units: to_u32(OP, "columns", teams.units)?,
            lanes: to_u32(OP, "columns", teams.lanes)?,
            x_pitch: to_u32(OP, "pitch of x", b.x.pitch)?,
            out_pitch: to_u32(OP, "pitch of out", b.out.pitch)?,
            scale: d.scale,
            logarithm: u32::from(d.log),
            nan: f32::NAN.to_bits(),
            length_1: 1,
            length_2: 1,
            ..Default::default()
        };
        if let Some(mask) = &b.mask {
            self.masked(&b.x, mask, &mut params)?;
        }
        let uniform = kernel::uniform(device, &params);
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            optional(device, OP, "out_params", b.out_params.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
            optional(device, OP, "mask", b.mask.as_ref().map(|m| &m.view), &zeros)?,
        ];
        let mut call = Call::default();
        if b.x.rows > 0 && b.x.columns > 0 {
            let vec = rows::reads_vectors(&b.x) && rows::writes_sixteens(&b.out);
            let shader = shader([d.element, d.out], b.mask.is_some(), vec, teams.held());
            let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Write, Slot::Read];
            let kernel = self.kernels.get(shader, &slots);
            call.push(Dispatch::new(device, kernel, &buffers, teams.grid));
        }
        Ok(call)
    }

    fn masked(&self, x: &View<'_>, mask: &Mask<'_>, params: &mut SoftmaxParams) -> Result<()> {
        let Mask { view, outer, x_outer } = mask;
        check_element(OP, "mask", view, self.descriptor.element)?;
        check_words(OP, "mask", view)?;
        let product = |dims: &[usize; 3]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let fits = (0..3).all(|i| outer[i] == x_outer[i] || outer[i] == 1)
            && product(x_outer) == Some(x.rows)
            && product(outer) == Some(view.rows)
            && [1, x.columns].contains(&view.columns);
        if !fits {
            return Err(Error::Shape {
                op: OP,
                detail: format!(
                    "the mask is [{}, {}] as {outer:?} rows, but x is [{}, {}] as {x_outer:?} rows",
                    view.rows, view.columns, x.rows, x.columns
                ),
            });
        }
        let step = |i: usize, pitch: usize| {
            if outer[i] == 1 { Ok(0) } else { to_u32(OP, "pitch of the mask", pitch) }
        };
        params.length_1 = to_u32(OP, "rows", x_outer[1])?.max(1);
        params.length_2 = to_u32(OP, "rows", x_outer[2])?.max(1);
        params.mask_2 = step(2, view.pitch)?;
        params.mask_1 = step(1, view.pitch.saturating_mul(outer[2]))?;
        params.mask_0 = step(0, view.pitch.saturating_mul(outer[2]).saturating_mul(outer[1]))?;
        params.mask_column = u32::from(view.columns > 1);
        Ok(())
    }
}
