//! What the elementwise kernels share: rows in sixteens, and where quantization parameters come from.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

/// The uniform of the kernels that go through rows sixteen elements at a time, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ElementwiseParams {
    pub rows: u32,
    pub columns: u32,
    pub units: u32,
    pub total: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub lo: f32,
    pub hi: f32,
}

/// Which threads come to one result where many elements go into one, as into a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Team {
    /// Those of a workgroup, through workgroup memory: neighbours read neighbours.
    Workgroup,
    /// Each on its own, without workgroup memory or barriers.
    Thread,
}

impl Team {
    /// The default for a device: [`Team::Thread`] for CPU adapters.
    ///
    /// lavapipe loads lane by lane, so neighbours gain nothing from reading neighbours, and in a kernel with barriers
    /// its loads take twice as long.
    pub fn choose(device: &wgpu::Device) -> Self {
        match device.adapter_info().device_type {
            wgpu::DeviceType::Cpu => Team::Thread,
            _ => Team::Workgroup,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Team::Workgroup => "",
            Team::Thread => " by thread",
        }
    }
}

/// Whether loads of 64 bits are worth it: a CPU adapter loads each component by itself, and there are half as many.
pub(crate) fn loads_wide(device: &wgpu::Device) -> bool {
    device.adapter_info().device_type == wgpu::DeviceType::Cpu
        && device.features().contains(wgpu::Features::SHADER_INT64)
}

/// Whether rows are to be read by such loads: they are made of whole vectors of four.
pub(crate) fn reads_wide(device: &wgpu::Device, x: &View<'_>) -> bool {
    loads_wide(device) && x.bytes().is_multiple_of(32) && (x.rows <= 1 || x.pitch.is_multiple_of(8))
}

/// Which quantization parameters an element has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Per {
    Tensor,
    Row,
    Column,
}

impl Per {
    /// By the number of parameters: 1, or one for each row, or one for each column. `by_row` decides between a row and
    /// a column where the matrix is square.
    pub fn of(op: &'static str, name: &str, params: &View<'_>, x: &View<'_>, by_row: bool) -> Result<Self> {
        check_params(op, name, params)?;
        let (row, column) = (params.rows == x.rows, params.rows == x.columns);
        if params.rows == 1 {
            return Ok(Per::Tensor);
        }
        match (row, column) {
            (true, true) => Ok(if by_row { Per::Row } else { Per::Column }),
            (true, false) => Ok(Per::Row),
            (false, true) => Ok(Per::Column),
            (false, false) => Err(Error::Shape {
                op,
                detail: format!(
                    "{name} has {} elements, expected 1, {} (rows) or {} (columns)",
                    params.rows, x.rows, x.columns
                ),
            }),
        }
    }
}

/// Checks that a view is of [`crate::quant::QuantParams`] or [`crate::ops::RangeState`]: 16-byte structures, dense.
pub(crate) fn check_params(op: &'static str, name: &str, view: &View<'_>) -> Result<()> {
    if view.element == Element::I32 && view.columns == 4 && view.pitch == 4 {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        detail: format!(
            "{name} is [{}, {}] of {:?} with a pitch of {} words, expected 16-byte structures side by side (View::params)",
            view.rows, view.columns, view.element, view.pitch
        ),
    })
}

/// Checks a view's element type.
pub(crate) fn check_element(op: &'static str, name: &str, view: &View<'_>, expected: Element) -> Result<()> {
    if view.element == expected {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        detail: format!("{name} is {:?}, but the descriptor says {expected:?}", view.element),
    })
}

/// Checks that an element type is among those allowed.
pub(crate) fn check_one_of(
    op: &'static str,
    got: Element,
    allowed: &[Element],
    expected: &'static str,
) -> Result<()> {
    if allowed.contains(&got) {
        return Ok(());
    }
    Err(Error::Element { op, got, expected })
}

/// Checks that two views have as many rows and columns.
pub(crate) fn check_same(op: &'static str, x: &View<'_>, out: &View<'_>) -> Result<()> {
    if (x.rows, x.columns) == (out.rows, out.columns) {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        detail: format!("x is [{}, {}], but out is [{}, {}]", x.rows, x.columns, out.rows, out.columns),
    })
}

/// Whether rows may be read as whole 16-byte vectors: they begin on one, and the buffer holds all of the last.
pub(crate) fn reads_vectors(view: &View<'_>) -> bool {
    (view.rows <= 1 || view.pitch.is_multiple_of(4))
        && view
            .bytes()
            .next_multiple_of(16)
            .checked_add(view.offset)
            .is_some_and(|end| end <= view.buffer.size())
}

/// Whether rows may be written sixteen elements at a time: nothing but the row is in its last vector.
pub(crate) fn writes_sixteens(view: &View<'_>) -> bool {
    view.columns.is_multiple_of(16) && (view.rows <= 1 || view.pitch.is_multiple_of(4))
}

/// The columns of rows that are too narrow to be worth taking in sixteens, else 0: an image of one channel takes a
/// sixteenth of the loads.
pub(crate) fn narrow(x: &View<'_>) -> u32 {
    if x.rows > 1 && x.columns <= 4 { x.columns as u32 } else { 0 }
}

/// What loads sixteen neighbours of such rows, or of others, by words.
pub(crate) fn load(narrow: u32) -> &'static str {
    match narrow {
        0 => include_str!("../../shaders/common/load_float.wgsl"),
        _ => include_str!("../../shaders/common/load_narrow.wgsl"),
    }
}

/// The same by loads of 64 bits, and what such stores are made with.
pub(crate) const LOAD_WIDE: &str = concat!(
    include_str!("../../shaders/common/split_words.wgsl"),
    include_str!("../../shaders/common/join_words.wgsl"),
    include_str!("../../shaders/common/load_wide.wgsl")
);

/// What stores them as `to`.
pub(crate) fn store(to: Element, narrow: u32) -> Vec<&'static str> {
    match (to, narrow) {
        (Element::I8, _) => {
            let rows = [
                include_str!("../../shaders/common/store_i8.wgsl"),
                include_str!("../../shaders/common/store16_i8.wgsl"),
            ];
            [&TO_INT8[..], &rows].concat()
        }
        (_, 0) => vec![include_str!("../../shaders/common/store16.wgsl")],
        _ => vec![include_str!("../../shaders/common/store_narrow.wgsl")],
    }
}

/// The elements that a kernel for floats can make of its reals.
pub(crate) const REALS: [Element; 3] = [Element::F32, Element::F16, Element::I8];

/// What makes int8 of reals that are on their way out of a kernel.
pub(crate) const TO_INT8: [&str; 3] = [
    include_str!("../../shaders/common/quant_params.wgsl"),
    include_str!("../../shaders/common/quantize.wgsl"),
    include_str!("../../shaders/common/stored.wgsl"),
];

/// Checks the parameters of an output: one set where it is int8, which floats alone are quantized to.
pub(crate) fn check_out_params(op: &'static str, out: &View<'_>, params: Option<&View<'_>>) -> Result<()> {
    match params {
        None if out.element != Element::I8 => Ok(()),
        Some(params) if params.rows == 1 && out.element == Element::I8 => {
            check_params(op, "out_params", params)
        }
        found => {
            let detail = format!(
                "out is {:?} with {} sets of parameters: I8 needs one, others none",
                out.element,
                found.map_or(0, |p| p.rows)
            );
            Err(Error::Argument { op, detail })
        }
    }
}

/// And how this is told from others.
pub(crate) fn narrow_label(narrow: u32) -> &'static str {
    ["", " of one column", " of two columns", " of three columns", " of four columns"][narrow as usize]
}

/// The views as single rows, where none has padding or gaps and nothing differs between rows.
pub(crate) fn flatten<'a, const N: usize>(views: [View<'a>; N]) -> [View<'a>; N] {
    let dense = |v: &View<'_>| {
        v.pitch == v.element.words(v.columns) && v.columns.is_multiple_of(v.element.per_word())
    };
    let len = views[0].rows.checked_mul(views[0].columns).filter(|&n| n > 0);
    match len {
        Some(len) if views.iter().all(dense) => {
            views.map(|v| View { rows: 1, columns: len, pitch: v.element.words(len), ..v })
        }
        _ => views,
    }
}

/// Refuses a view whose words a 32-bit index does not reach.
pub(crate) fn check_words(op: &'static str, name: &str, view: &View<'_>) -> Result<()> {
    // A little less than 2^32: the last thread of a row reads up to a vector further.
    let (needed, limit) = (view.bytes() / 4, u64::from(u32::MAX) - 64);
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Limit { op, what: format!("words of `{name}`"), needed, limit })
}

/// The call of a kernel with slots uniform, x, params, out, a thread for each sixteen elements of a row.
#[allow(clippy::too_many_arguments)]
pub(crate) fn sixteens(
    kernels: &Kernels,
    op: &'static str,
    shader: Shader,
    x: &View<'_>,
    params: Option<&View<'_>>,
    out: &View<'_>,
    [lo, hi]: [f32; 2],
) -> Result<Call> {
    let device = kernels.device();
    let units = x.columns.div_ceil(16);
    let total = x.rows as u64 * units as u64;
    for (name, view) in [("x", x), ("out", out)] {
        check_words(op, name, view)?;
    }
    let uniform = kernel::uniform(
        device,
        &ElementwiseParams {
            rows: to_u32(op, "rows", x.rows)?,
            columns: to_u32(op, "columns", x.columns)?,
            units: to_u32(op, "columns", units)?,
            total: to_u32(op, "elements / 16", total as usize)?,
            x_pitch: to_u32(op, "pitch of x", x.pitch)?,
            out_pitch: to_u32(op, "pitch of out", out.pitch)?,
            lo,
            hi,
        },
    );
    let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
    let buffers = [
        uniform.as_entire_buffer_binding(),
        x.binding(device, op, "x")?,
        crate::ops::tile::optional(device, op, "params", params, &zeros)?,
        out.binding(device, op, "out")?,
    ];
    let mut call = Call::default();
    if total > 0 {
        let kernel = kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::Read, Slot::Write]);
        let grid = kernel::grid(device, op, total.div_ceil(64))?;
        call.push(Dispatch::new(device, kernel, &buffers, grid));
    }
    Ok(call)
}

/// How whole rows are divided between threads.
pub(crate) struct Teams {
    pub team: Team,
    /// Sixteens in a row.
    pub units: usize,
    /// Threads that come to one row.
    pub lanes: usize,
    pub grid: [u32; 3],
}

/// Sixteens that a thread of a workgroup holds, so that rows are read once: of up to 2048 columns, and of up to 4096.
pub(crate) const HELD: [u32; 2] = [2, 4];

/// How kernels for whole rows come: by workgroups with each number of sixteens that is held, or none, and by threads.
pub(crate) const TEAMS: [(Team, u32); 4] =
    [(Team::Workgroup, 0), (Team::Workgroup, HELD[0]), (Team::Workgroup, HELD[1]), (Team::Thread, 0)];

/// The consts of one.
pub(crate) fn team_consts((team, held): (Team, u32)) -> [(&'static str, u32); 2] {
    [("TEAM", u32::from(team == Team::Workgroup)), ("HELD", held)]
}

/// And how these are told from others.
pub(crate) fn team_label((team, held): (Team, u32)) -> String {
    format!("{}{}", team.label(), if held > 0 { " read once" } else { "" })
}

impl Teams {
    /// The team, and how many sixteens each of its threads holds; none where that would not be all.
    pub fn held(&self) -> (Team, u32) {
        let each = self.units.div_ceil(self.lanes);
        let fits = |held: &u32| self.team == Team::Workgroup && each <= *held as usize;
        (self.team, HELD.into_iter().find(fits).unwrap_or(0))
    }

    /// Rows that are gone through `passes` times, sixteen elements at a step.
    ///
    /// lavapipe gives an invocation 65,535 iterations and then leaves its loops silently: longer rows are a workgroup's
    /// in any case.
    pub fn new(
        device: &wgpu::Device,
        op: &'static str,
        x: &View<'_>,
        team: Team,
        passes: usize,
    ) -> Result<Self> {
        let most = 64_000 / passes;
        let units = x.columns.div_ceil(16);
        let team = if units > most { Team::Workgroup } else { team };
        // A workgroup: two sixteens a thread where the row is short, for fewer steps to fold.
        let (threads, lanes) = match team {
            Team::Workgroup => (64, units.div_ceil(2).max(1).next_power_of_two().min(64)),
            Team::Thread => (8, 1),
        };
        if units.div_ceil(lanes) > most {
            let (needed, limit) = (x.columns as u64, most as u64 * 64 * 16);
            return Err(Error::Limit { op, what: "columns".into(), needed, limit });
        }
        let grid = kernel::grid(device, op, x.rows.div_ceil(threads / lanes) as u64)?;
        Ok(Self { team, units, lanes, grid })
    }
}
