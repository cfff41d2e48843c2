//! Layer, RMS, group and instance normalization: rows less their mean, divided by their deviation. With what stands
//! beside them in a transformer: the residual sum before, and the int8 that the next product reads.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::quant_params::{RULES, SCHEME_FILES, scheme_consts, scheme_params};
use crate::ops::rows::{
    self, Team, Teams, check_element, check_one_of, check_params, check_same, check_words,
};
use crate::ops::tile::{optional, to_u32};
use crate::quant::{Rule, Scheme};
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
    /// How each row's range becomes the parameters of its int8; `None` where these are given. Of no consequence
    /// without [`NormBindings::int8`].
    pub measure: Option<Scheme>,
}

impl Default for NormDescriptor {
    fn default() -> Self {
        Self {
            element: Element::F32,
            weights: Element::F32,
            epsilon: 1e-5,
            rms: false,
            groups: 0,
            measure: None,
        }
    }
}

/// The tensors of a [`Norm`]. With an addend or int8 the rows are whole sixteens: `columns` is a multiple of 16, and
/// all pitches are of 4 words. `x` and the addend may then lie in a buffer that is written, beside what is.
#[derive(Clone, Copy, Debug)]
pub struct NormBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// `[rows, columns]`, added to `x` first: the sum is what is normalized.
    pub addend: Option<View<'a>>,
    /// `[rows, columns]`: where that sum is written, if it is also wanted.
    pub sum: Option<View<'a>>,
    /// `[1, columns]`, or with groups `[1, channels]`, or one for all.
    pub scale: Option<View<'a>>,
    /// As `scale`.
    pub bias: Option<View<'a>>,
    /// With groups: the channels of all of them together.
    pub channels: usize,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros. May be left out beside int8.
    pub out: Option<View<'a>>,
    /// The result in int8.
    pub int8: Option<NormInt8<'a>>,
}

/// A result in int8, beside the floats or instead of them.
#[derive(Clone, Copy, Debug)]
pub struct NormInt8<'a> {
    /// `[rows, columns]` of I8, written.
    pub out: View<'a>,
    /// [`crate::quant::QuantParams`] ([`View::params`]): one, read, or with [`NormDescriptor::measure`] one for each
    /// row, written.
    pub params: View<'a>,
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` of each row: see [`crate::reference::layer_norm`] and
/// [`crate::reference::group_norm`].
///
/// The sum, the floats and the int8 are those of [`crate::ops::Add`], this op and [`crate::ops::Quantize`] or
/// [`crate::ops::QuantizeRows`] one after the other: f16 is rounded wherever it would have been stored.
pub struct Norm {
    kernels: Kernels,
    descriptor: NormDescriptor,
    team: Team,
    registers: bool,
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
    pub addend_pitch: u32,
    pub sum_pitch: u32,
    pub int8_pitch: u32,
    pub qmin: i32,
    pub qmax: i32,
    pub symmetric_zero: i32,
    pub eps: f32,
    pub padding: [u32; 3],
}

const OP: &str = "norm";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];

/// Where int8 has its parameters from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Int8 {
    Given,
    Measured(Rule, bool),
}

/// What is done beside normalizing, on rows of whole sixteens.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    add: bool,
    sum: bool,
    int8: Option<Int8>,
    /// Whether the floats are left out.
    no_floats: bool,
}

impl Beside {
    fn any(self) -> bool {
        self.add || self.int8.is_some()
    }

    /// Adds to the consts of a kernel; the texts that they choose from.
    fn parts(self, consts: &mut Vec<(&'static str, u32)>) -> Vec<&'static str> {
        let flag = u32::from;
        consts.extend([
            ("ADD", flag(self.add)),
            ("SUM", flag(self.sum)),
            ("OUT", flag(!self.no_floats)),
            ("INT8", flag(self.int8.is_some())),
            ("GIVEN", flag(self.int8 == Some(Int8::Given))),
            ("MEASURED", flag(matches!(self.int8, Some(Int8::Measured(..))))),
        ]);
        let quantize = include_str!("../../shaders/common/quantize.wgsl");
        match self.int8 {
            None => Vec::new(),
            Some(Int8::Given) => vec![include_str!("../../shaders/common/quant_params.wgsl"), quantize],
            Some(Int8::Measured(rule, symmetric)) => {
                consts.extend(scheme_consts(rule, symmetric));
                let range = include_str!("../../shaders/common/range.wgsl");
                [&SCHEME_FILES[..], &[range, include_str!("../../shaders/common/row_params.wgsl"), quantize]]
                    .concat()
            }
        }
    }

    fn label(self) -> String {
        let int8 = match self.int8 {
            None => String::new(),
            Some(Int8::Given) => " to int8".into(),
            Some(Int8::Measured(rule, symmetric)) => {
                format!(" to int8 by rows, {rule:?}{}", if symmetric { " symmetric" } else { "" })
            }
        };
        let floats = if self.int8.is_some() && !self.no_floats { " and floats" } else { "" };
        let (add, sum) =
            (if self.add { " of a sum" } else { "" }, if self.sum { " that is kept" } else { "" });
        format!("{add}{sum}{int8}{floats}")
    }
}

/// Rows of a workgroup, and fours of each that a lane of it has: their product is what registers are for.
#[derive(Clone, Copy, Debug)]
struct Block {
    rows: u32,
    quads: u32,
}

/// Lanes that share a row in their registers.
const LANES: usize = 8;
/// Columns of the longest row that is held in registers.
const LONGEST: usize = 1024;
/// Fours that a lane holds in several rows. On lavapipe 12, 24 and 48 are alike, and more are longer to compile.
const FOURS: usize = 24;

impl Block {
    /// For rows in registers, where they fit.
    fn new(device: &wgpu::Device, columns: usize) -> Option<Self> {
        let lanes = device.features().contains(wgpu::Features::SUBGROUP)
            && device.adapter_info().subgroup_min_size as usize >= LANES;
        let fits = columns.is_multiple_of(4 * LANES) && (1..=LONGEST).contains(&columns);
        let quads = columns / (4 * LANES);
        (lanes && fits).then(|| Self { rows: (FOURS / quads).clamp(1, LANES) as u32, quads: quads as u32 })
    }
}

/// Rows in registers; `weights`: whether there are a scale and a bias.
fn in_registers(
    [element, weights]: [Element; 2],
    [scale, bias]: [bool; 2],
    block: Block,
    beside: Beside,
) -> Shader {
    let flag = u32::from;
    let mut consts = vec![
        ("X_F16", flag(element == Element::F16)),
        ("W_F16", flag(weights == Element::F16)),
        ("SCALE", flag(scale)),
        ("BIAS", flag(bias)),
        ("ROWS", block.rows),
        ("QUADS", block.quads),
        ("HALF", flag(element == Element::F16)),
        ("TEAM", 0),
    ];
    let mut files = beside.parts(&mut consts);
    if element == Element::F16 {
        files.push(include_str!("../../shaders/common/f16.wgsl"));
    }
    files.push(include_str!("../../shaders/common/stored.wgsl"));
    files.push(include_str!("../../shaders/norm_subgroup.wgsl"));
    let label = format!(
        "{OP}/{element:?} by {}{} in registers {}x{}",
        match [scale, bias] {
            [true, true] => format!("{weights:?}"),
            [true, false] => format!("{weights:?} without bias"),
            [false, true] => format!("{weights:?} without scale"),
            [false, false] => "nothing".into(),
        },
        beside.label(),
        block.rows,
        block.quads,
    );
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// `w_vec`: scale and bias are one for each column or left out, in whole vectors.
fn shader(
    [element, weights]: [Element; 2],
    grouped: bool,
    [vec, w_vec]: [bool; 2],
    team: (Team, u32),
    beside: Beside,
) -> Shader {
    let flag = u32::from;
    let f16 = flag(element == Element::F16);
    let mut consts = vec![
        ("X_F16", f16),
        ("OUT_F16", f16),
        ("X_VEC", flag(vec)),
        ("OUT_VEC", flag(vec)),
        ("W_F16", flag(weights == Element::F16)),
        ("W_PER_WORD", weights.per_word() as u32),
        ("W_VEC", flag(w_vec)),
        ("GROUPED", flag(grouped)),
        ("WIDE", 0),
        ("HALF", f16),
    ];
    consts.extend(rows::team_consts(team));
    let mut files = beside.parts(&mut consts);
    files.push(include_str!("../../shaders/common/load_float.wgsl"));
    if !beside.no_floats {
        files.push(include_str!("../../shaders/common/store16.wgsl"));
    }
    if f16 == 1 {
        files.push(include_str!("../../shaders/common/f16.wgsl"));
    }
    files.push(include_str!("../../shaders/common/stored.wgsl"));
    files.push(include_str!("../../shaders/norm.wgsl"));
    let label = format!(
        "{OP}/{element:?} by {weights:?}{}{}{}{}{}",
        if grouped { " grouped" } else { "" },
        beside.label(),
        if vec { "" } else { " by words" },
        if vec && !w_vec && !grouped { ", weights by words" } else { "" },
        rows::team_label(team)
    );
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// A kernel that may write into the buffers of `x` and the addend: all that a dispatch does with a buffer is one use of it.
fn writable([x, addend]: [bool; 2], shader: Shader) -> Shader {
    let Shader { mut label, mut source } = shader;
    for (name, _) in [("x", x), ("addend", addend)].into_iter().filter(|(_, writable)| *writable) {
        source =
            source.replace(&format!("<storage, read> {name}:"), &format!("<storage, read_write> {name}:"));
        label += &format!(", {name} in a buffer that is written");
    }
    Shader { label, source }
}

/// Every variant; what is done beside normalizing in all its combinations for one form of the weights, with which it
/// shares no text.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for elements in FLOATS.iter().flat_map(|&x| FLOATS.map(|w| [x, w])) {
        for team in rows::TEAMS {
            let forms = [(true, [true, false]), (true, [false; 2])];
            let columns = [[true; 2], [true, false], [false; 2]].map(|vec| (false, vec));
            let all_forms = forms.into_iter().chain(columns);
            let plain = Beside::default();
            all.extend(all_forms.map(|(grouped, vec)| shader(elements, grouped, vec, team, plain)));
        }
    }
    for elements in FLOATS.iter().flat_map(|&x| FLOATS.map(|w| [x, w])) {
        for weights in [[true, true], [true, false], [false, true], [false, false]] {
            let plain = Beside::default();
            all.push(in_registers(elements, weights, Block { rows: 1, quads: 3 }, plain));
        }
    }
    let int8 = RULES.map(|(rule, symmetric)| Int8::Measured(rule, symmetric));
    let int8: Vec<_> = int8.into_iter().chain([Int8::Given]).map(Some).chain([None]).collect();
    for element in FLOATS {
        for team in rows::TEAMS {
            for &int8 in &int8 {
                for [add, sum, no_floats] in [
                    [false, false, false],
                    [false, false, true],
                    [true, false, false],
                    [true, false, true],
                    [true, true, false],
                    [true, true, true],
                ] {
                    let beside = Beside { add, sum, int8, no_floats };
                    if beside.any() && (int8.is_some() || !no_floats) {
                        let one = shader([element, Element::F32], false, [true; 2], team, beside);
                        all.extend(sum.then(|| writable([true; 2], one.clone())));
                        all.push(one);
                        if team.0 == Team::Thread {
                            let block = Block { rows: 2, quads: 2 };
                            let one = in_registers([element, Element::F32], [true; 2], block, beside);
                            all.extend(sum.then(|| writable([true; 2], one.clone())));
                            all.push(one);
                        }
                    }
                }
            }
        }
    }
    all
}

/// Whether `x` and the addend lie in buffers that are written, in which nothing may overlap.
fn written_to(b: &NormBindings<'_>, measured: bool) -> Result<[bool; 2]> {
    let read = [("x", Some(b.x)), ("addend", b.addend)];
    let params = b.int8.filter(|_| measured).map(|i| i.params);
    let written = [("sum", b.sum), ("out", b.out), ("int8", b.int8.map(|i| i.out)), ("params", params)];
    let mut writes = [false; 2];
    for (i, (name, view)) in read.into_iter().enumerate() {
        let Some(view) = view else { continue };
        let others = written.iter().filter_map(|(n, v)| Some((*n, (*v)?)));
        writes[i] = others.clone().any(|(_, other)| other.buffer == view.buffer);
        // Of those in one buffer, no two may overlap.
        let others = others.chain(read[..i].iter().filter_map(|(n, v)| Some((*n, (*v)?))));
        let [begin, end] = [view.offset, view.offset.saturating_add(view.bytes())];
        for (other, v) in others.filter(|(_, v)| writes[i] && v.buffer == view.buffer) {
            let [first, last] = [v.offset, v.offset.saturating_add(v.bytes())];
            if begin < last && first < end {
                let detail = format!(
                    "{name} is bytes {begin} to {end} of a buffer that is written, and {other} {first} to {last} of the same"
                );
                return Err(Error::Argument { op: OP, detail });
            }
        }
    }
    Ok(writes)
}

impl Norm {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than floats, [`Error::Argument`] where a scheme's limits are not a range within
    /// -128..=127, or its rule is affine only.
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
        d.measure.as_ref().map(scheme_params).transpose()?;
        let device = kernels.device();
        let (team, registers) = (Team::choose(device), Team::choose(device) == Team::Thread);
        Ok(Self { kernels: kernels.clone(), descriptor: *d, team, registers })
    }

    /// Whether rows that fit are read once, into the registers of 8 lanes of a subgroup, whatever the team: those of
    /// whole 32 columns, at most 1024, without groups, where the device has `SUBGROUP` and subgroups of 8 or more.
    /// The default for CPU adapters.
    #[must_use]
    pub fn with_registers(self, registers: bool) -> Self {
        Self { registers, ..self }
    }

    /// With another [`Team`] than [`Team::choose`]'s; very long rows are a workgroup's in any case.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team, ..self }
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &NormBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let beside = self.beside(b)?;
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
        let teams = Teams::new(device, OP, &b.x, self.team, 4)?;
        let pitch = |name, view: Option<&View<'_>>| to_u32(OP, name, view.map_or(0, |v| v.pitch));
        let scheme = d.measure.as_ref().map(scheme_params).transpose()?.unwrap_or_default();
        let params = NormParams {
            rows: to_u32(OP, "rows", b.x.rows)?,
            columns: to_u32(OP, "columns", b.x.columns)?,
            units: to_u32(OP, "columns", teams.units)?,
            lanes: to_u32(OP, "columns", teams.lanes)?,
            x_pitch: to_u32(OP, "pitch of x", b.x.pitch)?,
            out_pitch: pitch("pitch of out", b.out.as_ref())?,
            rms: u32::from(d.rms),
            epsilon: d.epsilon,
            inverse: (1.0 / b.x.columns.max(1) as f64) as f32,
            groups: to_u32(OP, "groups", d.groups.max(1))?,
            channels: to_u32(OP, "channels", channels)?,
            inner: to_u32(OP, "columns", b.x.columns.checked_div(channels).unwrap_or(1).max(1))?,
            scale_step: step("scale", &b.scale)?,
            bias_step: step("bias", &b.bias)?,
            addend_pitch: pitch("pitch of addend", b.addend.as_ref())?,
            sum_pitch: pitch("pitch of sum", b.sum.as_ref())?,
            int8_pitch: pitch("pitch of int8", b.int8.as_ref().map(|i| &i.out))?,
            qmin: scheme.qmin,
            qmax: scheme.qmax,
            symmetric_zero: scheme.symmetric_zero,
            eps: scheme.eps,
            padding: [0; 3],
        };
        let uniform = kernel::uniform(device, &params);
        let one = if d.weights == Element::F16 { 0x3c00 } else { 1f32.to_bits() };
        let constant =
            |v: u32| kernel::constant(device, bytemuck::bytes_of(&[v; 4]), wgpu::BufferUsages::STORAGE);
        let ones = constant(one);
        // A buffer for each that is left out: what a dispatch writes may not overlap.
        let unused = [0; 5].map(constant);
        let mut buffers = vec![
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            optional(device, OP, "scale", b.scale.as_ref(), &ones)?,
            optional(device, OP, "out", b.out.as_ref(), &unused[0])?,
            optional(device, OP, "bias", b.bias.as_ref(), &unused[1])?,
        ];
        let mut slots = vec![Slot::Uniform, Slot::Read, Slot::Read, Slot::Write, Slot::Read];
        let mut writes = [false; 2];
        if beside.any() {
            buffers.extend([
                optional(device, OP, "addend", b.addend.as_ref(), &unused[2])?,
                optional(device, OP, "sum", b.sum.as_ref(), &unused[3])?,
                optional(device, OP, "int8", b.int8.as_ref().map(|i| &i.out), &unused[4])?,
                optional(device, OP, "params", b.int8.as_ref().map(|i| &i.params), &ones)?,
            ]);
            let measured = matches!(beside.int8, Some(Int8::Measured(..)));
            let params = if measured { Slot::Write } else { Slot::Read };
            slots.extend([Slot::Read, Slot::Write, Slot::Write, params]);
            writes = written_to(b, measured)?;
            for (at, _) in [1, 5].into_iter().zip(writes).filter(|(_, writes)| *writes) {
                slots[at] = Slot::Write;
            }
        }
        let mut call = Call::default();
        if b.x.rows > 0 && (b.x.columns > 0 || beside.int8.is_some()) {
            let vec = rows::reads_vectors(&b.x) && b.out.as_ref().is_none_or(rows::writes_sixteens);
            let single = [&b.scale, &b.bias].into_iter().flatten().any(|w| w.columns == 1);
            let vec = [vec, vec && d.groups == 0 && !single];
            let elements = [d.element, d.weights];
            let block = Block::new(device, b.x.columns).filter(|_| self.registers && vec[1]);
            let (shader, grid) = match block {
                Some(block) => {
                    let weights = [b.scale.is_some(), b.bias.is_some()];
                    let groups = b.x.rows.div_ceil(block.rows as usize) as u64;
                    (in_registers(elements, weights, block, beside), kernel::grid(device, OP, groups)?)
                }
                None => (shader(elements, d.groups > 0, vec, teams.held(), beside), teams.grid),
            };
            let kernel = self.kernels.get(writable(writes, shader), &slots);
            call.push(Dispatch::new(device, kernel, &buffers, grid));
        }
        Ok(call)
    }

    /// Checks all but scale and bias, and says what is done beside normalizing.
    fn beside(&self, b: &NormBindings<'_>) -> Result<Beside> {
        let d = &self.descriptor;
        let floats = [("x", Some(&b.x)), ("addend", b.addend.as_ref()), ("sum", b.sum.as_ref())];
        for (name, view) in floats.into_iter().chain([("out", b.out.as_ref())]) {
            let Some(view) = view else { continue };
            check_element(OP, name, view, d.element)?;
            check_words(OP, name, view)?;
            check_same(OP, &b.x, view)?;
        }
        if (b.out.is_none() && b.int8.is_none()) || (b.sum.is_some() && b.addend.is_none()) {
            let detail = "neither floats nor int8 are asked for, or a sum of nothing".into();
            return Err(Error::Argument { op: OP, detail });
        }
        let int8 = match (&b.int8, d.measure) {
            (None, _) => None,
            (Some(int8), measure) => {
                check_element(OP, "int8", &int8.out, Element::I8)?;
                check_words(OP, "int8", &int8.out)?;
                check_same(OP, &b.x, &int8.out)?;
                check_params(OP, "params", &int8.params)?;
                let expected = if measure.is_some() { b.x.rows } else { 1 };
                if int8.params.rows != expected {
                    let detail = format!("params has {} elements, expected {expected}", int8.params.rows);
                    return Err(Error::Shape { op: OP, detail });
                }
                Some(measure.map_or(Int8::Given, |s| Int8::Measured(s.rule, s.symmetric)))
            }
        };
        let (add, sum, no_floats) = (b.addend.is_some(), b.sum.is_some(), b.out.is_none());
        let beside = Beside { add, sum, int8, no_floats };
        let read = [Some(&b.x), b.addend.as_ref()];
        let written = [b.sum.as_ref(), b.out.as_ref(), b.int8.as_ref().map(|i| &i.out)];
        if beside.any()
            && !(read.into_iter().flatten().all(rows::reads_vectors)
                && written.into_iter().flatten().all(rows::writes_sixteens))
        {
            let detail = format!(
                "[{}, {}] with an addend or int8: expected rows of whole sixteens, and pitches of 4 words",
                b.x.rows, b.x.columns
            );
            return Err(Error::Shape { op: OP, detail });
        }
        Ok(beside)
    }
}
