//! Dynamic quantization by rows, in one dispatch: what a token's activations go through on their way to an int8 product.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::quant_params::{RULES, SCHEME_FILES, SchemeParams, scheme_consts, scheme_params};
use crate::ops::rows::{
    self, Team, Teams, check_element, check_one_of, check_params, check_same, check_words,
};
use crate::ops::tile::to_u32;
use crate::quant::{Rule, Scheme};
use crate::tensor::{Element, View};

/// What is asked of a [`QuantizeRows`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizeRowsDescriptor {
    /// The type of the reals: F32 or F16.
    pub element: Element,
    /// From a row's range to its parameters.
    pub scheme: Scheme,
}

impl Default for QuantizeRowsDescriptor {
    /// f32, symmetric per token.
    fn default() -> Self {
        Self { element: Element::F32, scheme: Scheme::per_token_symmetric() }
    }
}

/// The tensors of a [`QuantizeRows`].
#[derive(Clone, Copy, Debug)]
pub struct QuantizeRowsBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// `[rows, columns]` of I8. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
    /// A [`crate::quant::QuantParams`] for each row, written: [`View::params`].
    pub params: View<'a>,
}

/// Each row's range, parameters and int8 elements: [`crate::ops::MinMax`] by rows, [`crate::ops::ScaleZeroPoint`] and
/// [`crate::ops::Quantize`] at once, with the same results.
///
/// Values that are not finite are left out of a row's range; a NaN becomes its zero point, an infinity saturates. A row
/// without finite values has the scale 1.
pub struct QuantizeRows {
    kernels: Kernels,
    descriptor: QuantizeRowsDescriptor,
    team: Team,
}

/// The uniform of [`QuantizeRows`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct QuantizeRowsParams {
    pub scheme: SchemeParams,
    pub rows: u32,
    pub columns: u32,
    pub units: u32,
    pub lanes: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub padding: [u32; 2],
}

const OP: &str = "quantize_rows";

fn shader(
    element: Element,
    (rule, symmetric): (Rule, bool),
    [x_vec, out_vec, wide]: [bool; 3],
    team: (Team, u32),
) -> Shader {
    let mut consts = vec![
        ("X_F16", u32::from(element == Element::F16)),
        ("X_VEC", u32::from(x_vec)),
        ("OUT_VEC", u32::from(out_vec)),
        ("WIDE", u32::from(wide)),
    ];
    consts.extend(rows::team_consts(team));
    consts.extend(scheme_consts(rule, symmetric));
    let own = [
        if wide { rows::LOAD_WIDE } else { include_str!("../../shaders/common/load_float.wgsl") },
        include_str!("../../shaders/common/range.wgsl"),
        include_str!("../../shaders/common/row_params.wgsl"),
        include_str!("../../shaders/common/quantize.wgsl"),
        include_str!("../../shaders/quantize_rows.wgsl"),
    ];
    let label = format!(
        "quantize_rows/{element:?} {rule:?}{}{}{}{}{}",
        if symmetric { " symmetric" } else { "" },
        if x_vec { "" } else { " from words" },
        if out_vec { "" } else { " to words" },
        if wide { " by 64 bits" } else { "" },
        rows::team_label(team),
    );
    let files = [&SCHEME_FILES[..], &own].concat();
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for element in [Element::F32, Element::F16] {
        for rule in RULES {
            for team in rows::TEAMS {
                all.extend(
                    (0..4).map(|vec| shader(element, rule, [vec & 1 != 0, vec & 2 != 0, false], team)),
                );
                all.push(shader(element, rule, [true; 3], team));
            }
        }
    }
    all
}

impl QuantizeRows {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than float reals; [`Error::Argument`] where the scheme's limits are not a range
    /// within -128..=127, or its rule is affine only.
    pub fn new(device: &wgpu::Device, descriptor: &QuantizeRowsDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`QuantizeRows::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &QuantizeRowsDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &[Element::F32, Element::F16], "F32 or F16")?;
        scheme_params(&descriptor.scheme)?;
        let team = Team::choose(kernels.device());
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor, team })
    }

    /// With another [`Team`] than [`Team::choose`]'s; rows of more than 512,000 columns are a workgroup's in any case.
    /// The results are the same.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team, ..self }
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`] (rows of more than 32,768,000 columns among them), with
    /// the numbers.
    pub fn bind(&self, b: &QuantizeRowsBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        check_element(OP, "x", &b.x, d.element)?;
        check_element(OP, "out", &b.out, Element::I8)?;
        check_same(OP, &b.x, &b.out)?;
        check_params(OP, "params", &b.params)?;
        for (name, view) in [("x", &b.x), ("out", &b.out)] {
            check_words(OP, name, view)?;
        }
        if b.params.rows != b.x.rows {
            let detail = format!("{} rows, but room for {} parameters", b.x.rows, b.params.rows);
            return Err(Error::Shape { op: OP, detail });
        }
        let teams = Teams::new(device, OP, &b.x, self.team, 2)?;
        let uniform = kernel::uniform(
            device,
            &QuantizeRowsParams {
                scheme: scheme_params(&d.scheme)?,
                rows: to_u32(OP, "rows", b.x.rows)?,
                columns: to_u32(OP, "columns", b.x.columns)?,
                units: to_u32(OP, "columns", teams.units)?,
                lanes: to_u32(OP, "columns", teams.lanes)?,
                x_pitch: to_u32(OP, "pitch of x", b.x.pitch)?,
                out_pitch: to_u32(OP, "pitch of out", b.out.pitch)?,
                padding: [0; 2],
            },
        );
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            b.out.binding(device, OP, "out")?,
            b.params.binding(device, OP, "params")?,
        ];
        let mut call = Call::default();
        if b.x.rows > 0 {
            let rule = (d.scheme.rule, d.scheme.symmetric);
            let vec = [rows::reads_vectors(&b.x), rows::writes_sixteens(&b.out)];
            let wide = vec == [true; 2] && rows::reads_wide(device, &b.x);
            let vec = [vec[0], vec[1], wide];
            let shader = shader(d.element, rule, vec, teams.held());
            let kernel = self.kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::Write, Slot::Write]);
            call.push(Dispatch::new(device, kernel, &buffers, teams.grid));
        }
        Ok(call)
    }
}
