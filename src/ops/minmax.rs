//! The range of a tensor, or of each of its channels, kept on the device.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, Team, check_element, check_one_of, check_params, check_words};
use crate::ops::tile::to_u32;
use crate::quant::{Observer, Range};
use crate::tensor::{Element, View};

/// The range of one channel over the batches so far, as kernels hold it in a storage buffer.
///
/// A buffer of zeros is a good beginning for every [`Update`].
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct RangeState {
    /// The smallest finite value, or its moving average.
    pub min: f32,
    /// The largest finite value, or its moving average.
    pub max: f32,
    /// What was left out of the range: [`crate::reference::Extrema::NAN`] and [`crate::reference::Extrema::INF`].
    pub flags: u32,
    /// Batches that had a finite value; 0 where nothing was seen, and `min` and `max` mean nothing.
    pub batches: u32,
}

impl RangeState {
    /// The range, [`Range::EMPTY`] where nothing was seen.
    pub fn range(&self) -> Range {
        if self.batches == 0 { Range::EMPTY } else { Range::new(self.min, self.max) }
    }
}

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Channels {
    /// The whole tensor is one.
    #[default]
    Tensor,
    /// Rows: one for each, or for each run of neighbours, see [`MinMaxBindings::outer`].
    Rows,
    /// Each column is one: a tensor whose channels are innermost.
    Columns,
}

/// How a range becomes part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Update {
    /// It takes the place of what is there.
    #[default]
    Replace,
    /// It is put together with what is there, over the batches of a calibration.
    Accumulate(Observer),
}

/// What is asked of a [`MinMax`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct MinMaxDescriptor {
    /// Element type: F32 or F16.
    pub element: Element,
    /// One range, or several.
    pub channels: Channels,
    /// What becomes of the state.
    pub update: Update,
}

/// The tensors of a [`MinMax`].
#[derive(Clone, Copy, Debug)]
pub struct MinMaxBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// [`Channels::Rows`]: the rows are `[outer, channels, rows of a channel]`: `[n, c, h]` for NCHW by `w` columns. 1
    /// for a range for each row. Not looked at otherwise.
    pub outer: usize,
    /// A [`RangeState`] for each channel, read (but for [`Update::Replace`]) and written: [`View::params`].
    pub state: View<'a>,
}

/// Ranges of f32 or f16, exact, of any length, in two dispatches. See [`crate::reference::minmax`].
///
/// Values that are not finite are left out and flagged.
pub struct MinMax {
    kernels: Kernels,
    descriptor: MinMaxDescriptor,
    team: Team,
}

/// The uniform of [`MinMax`]'s kernels, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct MinMaxParams {
    pub channels: u32,
    pub parts: u32,
    pub groups: u32,
    pub units: u32,
    pub columns: u32,
    pub x_pitch: u32,
    pub run_rows: u32,
    pub rows: u32,
    pub lanes: u32,
    pub blocks: u32,
    pub mode: u32,
    pub constant: f32,
}

const OP: &str = "minmax";
/// Workgroups that go through one tensor, where it is large: enough for a GPU, few enough to fold at once.
const MOST_GROUPS: u64 = 1024;
/// Threads that go through one tensor where each is on its own: enough for a CPU's cores.
const MOST_THREADS: u64 = 4096;
/// Iterations of a thread, of which it may do each twice: lavapipe gives an invocation 65,535 and then leaves its loops
/// silently.
const MOST_STEPS: u64 = 30_000;

fn partial(element: Element, columns: bool, x_vec: bool, team: Team, whole: bool, wide: bool) -> Shader {
    let consts = [
        ("X_F16", u32::from(element == Element::F16)),
        ("X_VEC", u32::from(x_vec && !columns)),
        ("COLUMNS", u32::from(columns)),
        ("TEAM", u32::from(team == Team::Workgroup)),
        ("WHOLE", u32::from(whole)),
    ];
    let files = [
        if wide {
            concat!(
                include_str!("../../shaders/common/split_words.wgsl"),
                include_str!("../../shaders/common/load_wide.wgsl")
            )
        } else {
            include_str!("../../shaders/common/load_float.wgsl")
        },
        include_str!("../../shaders/common/range.wgsl"),
        include_str!("../../shaders/minmax.wgsl"),
    ];
    let label = format!(
        "minmax/{element:?} {}{}{}{}{}",
        if columns { "columns" } else { "rows" },
        if x_vec || columns { "" } else { " from words" },
        team.label(),
        if whole { ", sixteens" } else { "" },
        if wide { " by 64 bits" } else { "" },
    );
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

fn fold(tree: bool) -> Shader {
    let files =
        [include_str!("../../shaders/common/range.wgsl"), include_str!("../../shaders/minmax_fold.wgsl")];
    let label = format!("minmax_fold/{}", if tree { "many parts" } else { "few parts" });
    Variant { label, enable: &[], consts: &[("TREE", u32::from(tree))], files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = vec![fold(false), fold(true)];
    for element in [Element::F32, Element::F16] {
        for team in [Team::Workgroup, Team::Thread] {
            all.extend(
                [(true, false), (false, false), (false, true)]
                    .map(|(columns, x_vec)| partial(element, columns, x_vec, team, false, false)),
            );
            all.push(partial(element, false, true, team, true, true));
        }
    }
    all
}

impl MinMax {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than float elements, [`Error::Argument`] where a moving average's constant is not
    /// in 0..=1.
    pub fn new(device: &wgpu::Device, descriptor: &MinMaxDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`MinMax::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &MinMaxDescriptor) -> Result<Self> {
        check_one_of(OP, descriptor.element, &[Element::F32, Element::F16], "F32 or F16")?;
        if let Update::Accumulate(Observer::MovingAverage { constant }) = descriptor.update {
            if !(0.0..=1.0).contains(&constant) {
                let detail = format!("the moving average's constant is {constant}, expected 0..=1");
                return Err(Error::Argument { op: OP, detail });
            }
        }
        let team = Team::choose(kernels.device());
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor, team })
    }

    /// With another [`Team`] than [`Team::choose`]'s. The results are the same.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team, ..self }
    }

    /// Checks shapes and limits, and makes the call, with its scratch memory.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &MinMaxBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        check_element(OP, "x", &b.x, d.element)?;
        check_params(OP, "state", &b.state)?;
        check_words(OP, "x", &b.x)?;
        let channels = b.state.rows;
        let fits = match d.channels {
            Channels::Tensor => channels == 1,
            Channels::Rows => {
                let parts = channels.checked_mul(b.outer);
                parts.is_some_and(|n| if n == 0 { b.x.rows == 0 } else { b.x.rows.is_multiple_of(n) })
            }
            Channels::Columns => channels == b.x.columns,
        };
        if !fits {
            return Err(Error::Shape {
                op: OP,
                detail: format!(
                    "x is [{}, {}] with channels by {:?} (outer {}), but there are {channels} states",
                    b.x.rows, b.x.columns, d.channels, b.outer
                ),
            });
        }
        if channels == 0 {
            return Ok(Call::default());
        }
        let (mode, constant) = match d.update {
            Update::Replace => (0, 0.0),
            Update::Accumulate(Observer::MinMax) => (1, 0.0),
            Update::Accumulate(Observer::MovingAverage { constant }) => (2, constant),
        };
        let mut x = b.x;
        // Rows of a channel, one after another.
        let (mut run_rows, mut rows) = match d.channels {
            Channels::Rows => {
                let run = x.rows / (channels * b.outer.max(1)).max(1);
                (run, run * b.outer)
            }
            _ => (x.rows, x.rows),
        };
        if d.channels != Channels::Columns && run_rows > 1 {
            // Neighbouring rows without padding are one long row.
            let [flat] = rows::flatten([x]);
            if flat.rows != x.rows {
                let columns = x.columns * run_rows;
                x = View { rows: x.rows / run_rows, columns, pitch: x.element.words(columns), ..x };
                (run_rows, rows) = (1, rows / run_rows);
            }
        }
        let columns = d.channels == Channels::Columns;
        let x_vec = !columns && rows::reads_vectors(&x);
        let (whole, wide) = (x_vec && x.columns.is_multiple_of(16), !columns && rows::reads_wide(device, &x));
        let quads = x.columns.div_ceil(4).max(1);
        let (threads, most) = match self.team {
            Team::Workgroup => (64, MOST_GROUPS),
            Team::Thread => (1, MOST_THREADS),
        };
        let lanes = quads.next_power_of_two().min(threads);
        let (units, blocks) = (x.columns.div_ceil(16 * threads), quads.div_ceil(lanes));
        // What a part's team would go through if it were the only one.
        let (work, many) = if columns {
            (x.rows.div_ceil(4 * threads / lanes) as u64, blocks as u64)
        } else {
            (rows as u64 * units as u64, channels as u64)
        };
        let parts = work.min(most.div_ceil(many)).max(1);
        let parts = parts.max(work.div_ceil(MOST_STEPS));
        let params = MinMaxParams {
            channels: to_u32(OP, "channels", channels)?,
            parts: to_u32(OP, "parts", parts as usize)?,
            groups: to_u32(OP, "workgroups", (parts * many) as usize)?,
            units: to_u32(OP, "columns", units.max(1))?,
            columns: to_u32(OP, "columns", x.columns)?,
            x_pitch: to_u32(OP, "pitch of x", x.pitch)?,
            run_rows: to_u32(OP, "rows", run_rows.max(1))?,
            rows: to_u32(OP, "rows", if x.columns == 0 { 0 } else { rows })?,
            lanes: to_u32(OP, "columns", lanes)?,
            blocks: to_u32(OP, "columns", blocks)?,
            mode,
            constant,
        };
        to_u32(OP, "steps of a channel", work as usize)?;
        let bytes = parts * channels as u64 * 16;
        let limits = device.limits();
        let limit = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        if bytes > limit {
            return Err(Error::Limit {
                op: OP,
                what: "scratch memory in bytes".into(),
                needed: bytes,
                limit,
            });
        }
        let scratch = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("minmax partial ranges"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let uniform = kernel::uniform(device, &params);
        let [uniform, scratch] = [uniform.as_entire_buffer_binding(), scratch.as_entire_buffer_binding()];
        let slots = [Slot::Uniform, Slot::Read, Slot::Write];
        let mut call = Call::default();
        let buffers = [uniform.clone(), x.binding(device, OP, "x")?, scratch.clone()];
        let kernel = self.kernels.get(partial(d.element, columns, x_vec, self.team, whole, wide), &slots);
        let groups = (parts * many * threads as u64).div_ceil(64);
        call.push(Dispatch::new(device, kernel, &buffers, kernel::grid(device, OP, groups)?));
        let tree = parts > 32;
        let buffers = [uniform, scratch, b.state.binding(device, OP, "state")?];
        let groups = if tree { channels as u64 } else { (channels as u64).div_ceil(64) };
        let kernel = self.kernels.get(fold(tree), &slots);
        call.push(Dispatch::new(device, kernel, &buffers, kernel::grid(device, OP, groups)?));
        Ok(call)
    }
}
