//! Layer, RMS, group and instance normalization: rows less their mean, divided by their deviation.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, Team, Teams, check_element, check_one_of, check_same, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

/// What is asked of a [`Norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormDescriptor {
    /// Element type of `x` and the output: F32 or F16, with f32 arithmetic.
    pub element: Element,
    /// Element type of scale and bias: F32 or F16.
    pub weights: Element,
    /// Added to the variance.
    pub epsilon: f32,
    /// Divides by the root of the mean square, and subtracts nothing.
    pub rms: bool,
    /// Where scale and bias belong to channels of `inner` columns each: how many rows there are before the channels
    /// begin again. 0 where each column has its own.
    pub groups: usize,
}

impl Default for NormDescriptor {
    fn default() -> Self {
        Self { element: Element::F32, weights: Element::F32, epsilon: 1e-5, rms: false, groups: 0 }
    }
}

/// The tensors of a [`Norm`].
#[derive(Clone, Copy, Debug)]
pub struct NormBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// `[1, columns]`, or with groups `[1, channels]`, or one for all.
    pub scale: Option<View<'a>>,
    /// As `scale`.
    pub bias: Option<View<'a>>,
    /// With groups: the channels of all of them together.
    pub channels: usize,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` of each row: see [`crate::reference::layer_norm`] and
/// [`crate::reference::group_norm`].
pub struct Norm {
    kernels: Kernels,
    descriptor: NormDescriptor,
    team: Team,
}

/// The uniform of [`Norm`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct NormParams {
    pub rows: u32,
    pub columns: u32,
    pub units: u32,
    pub lanes: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub rms: u32,
    pub epsilon: f32,
    pub inverse: f32,
    pub groups: u32,
    pub channels: u32,
    pub inner: u32,
    pub scale_step: u32,
    pub bias_step: u32,
    pub padding: [u32; 2],
}

const OP: &str = "norm";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];

fn shader([element, weights]: [Element; 2], grouped: bool, vec: bool, team: Team) -> Shader {
    let f16 = u32::from(element == Element::F16);
    let consts = [
        ("X_F16", f16),
        ("OUT_F16", f16),
        ("X_VEC", u32::from(vec)),
        ("OUT_VEC", u32::from(vec)),
        ("W_F16", u32::from(weights == Element::F16)),
        ("W_PER_WORD", weights.per_word() as u32),
        ("GROUPED", u32::from(grouped)),
        ("TEAM", u32::from(team == Team::Workgroup)),
    ];
    let files = [
        include_str!("../../shaders/common/load_float.wgsl"),
        include_str!("../../shaders/common/store16.wgsl"),
        if f16 == 1 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/norm.wgsl"),
    ];
    let label = format!(
        "{OP}/{element:?} by {weights:?}{}{}{}",
        if grouped { " grouped" } else { "" },
        if vec { "" } else { " by words" },
        team.label()
    );
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for elements in FLOATS.iter().flat_map(|&x| FLOATS.map(|w| [x, w])) {
        for team in [Team::Workgroup, Team::Thread] {
            all.extend((0..4).map(|i| shader(elements, i & 1 != 0, i & 2 != 0, team)));
        }
    }
    all
}

impl Norm {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than floats.
    pub fn new(device: &wgpu::Device, descriptor: &NormDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Norm::new`].
    pub fn with_kernels(kernels: &Kernels, d: &NormDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &FLOATS, "F32 or F16")?;
        check_one_of(OP, d.weights, &FLOATS, "F32 or F16 for scale and bias")?;
        let team = Team::choose(kernels.device());
        Ok(Self { kernels: kernels.clone(), descriptor: *d, team })
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
    pub fn bind(&self, b: &NormBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        for (name, view) in [("x", &b.x), ("out", &b.out)] {
            check_element(OP, name, view, d.element)?;
            check_words(OP, name, view)?;
        }
        check_same(OP, &b.x, &b.out)?;
        let fail = |detail: String| Error::Shape { op: OP, detail };
        // Of a group: how many channels, and how many columns each has.
        let channels = b.channels.checked_div(d.groups).unwrap_or(b.x.columns);
        if d.groups > 0
            && (channels * d.groups != b.channels
                || channels == 0
                || !b.x.columns.is_multiple_of(channels)
                || !b.x.rows.is_multiple_of(d.groups))
        {
            return Err(fail(format!(
                "{} channels in {} groups do not divide [{}, {}]",
                b.channels, d.groups, b.x.rows, b.x.columns
            )));
        }
        let expected = channels * d.groups.max(1);
        let step = |name: &str, view: &Option<View<'_>>| {
            let Some(view) = view else { return Ok(0) };
            check_element(OP, name, view, d.weights)?;
            if view.rows != 1 || ![1, expected].contains(&view.columns) {
                return Err(fail(format!(
                    "{name} is [{}, {}], expected [1, {expected}]",
                    view.rows, view.columns
                )));
            }
            Ok(u32::from(view.columns > 1))
        };
        let teams = Teams::new(device, OP, &b.x, self.team, 3)?;
        let params = NormParams {
            rows: to_u32(OP, "rows", b.x.rows)?,
            columns: to_u32(OP, "columns", b.x.columns)?,
            units: to_u32(OP, "columns", teams.units)?,
            lanes: to_u32(OP, "columns", teams.lanes)?,
            x_pitch: to_u32(OP, "pitch of x", b.x.pitch)?,
            out_pitch: to_u32(OP, "pitch of out", b.out.pitch)?,
            rms: u32::from(d.rms),
            epsilon: d.epsilon,
            inverse: (1.0 / b.x.columns.max(1) as f64) as f32,
            groups: to_u32(OP, "groups", d.groups.max(1))?,
            channels: to_u32(OP, "channels", channels)?,
            inner: to_u32(OP, "columns", b.x.columns.checked_div(channels).unwrap_or(1).max(1))?,
            scale_step: step("scale", &b.scale)?,
            bias_step: step("bias", &b.bias)?,
            padding: [0; 2],
        };
        let uniform = kernel::uniform(device, &params);
        let one = if d.weights == Element::F16 { 0x3c00 } else { 1f32.to_bits() };
        let constant =
            |v: u32| kernel::constant(device, bytemuck::bytes_of(&[v; 4]), wgpu::BufferUsages::STORAGE);
        let (ones, zeros) = (constant(one), constant(0));
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            crate::ops::tile::optional(device, OP, "scale", b.scale.as_ref(), &ones)?,
            b.out.binding(device, OP, "out")?,
            crate::ops::tile::optional(device, OP, "bias", b.bias.as_ref(), &zeros)?,
        ];
        let mut call = Call::default();
        if b.x.rows > 0 && b.x.columns > 0 {
            let vec = rows::reads_vectors(&b.x) && rows::writes_sixteens(&b.out);
            let shader = shader([d.element, d.weights], d.groups > 0, vec, teams.team);
            let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Write, Slot::Read];
            call.push(Dispatch::new(device, self.kernels.get(shader, &slots), &buffers, teams.grid));
        }
        Ok(call)
    }
}
