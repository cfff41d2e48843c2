//! Sums, extremes, their places, and running sums along the middle of `[outer, n, inner]`, of 32-bit elements.

use crate::error::{Error, Result};
use crate::graph::ReduceOp;
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{Team, check_element, check_one_of, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, View};

/// What becomes of the elements along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// One number. Of integers, which wrap around, there are no roots or logarithms.
    Value(ReduceOp),
    /// The place of the largest or the smallest, as I32.
    Place {
        /// The largest, else the smallest. A NaN is both.
        max: bool,
        /// Of equals the last, else the first.
        last: bool,
    },
}

/// What is asked of a [`Reduce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReduceDescriptor {
    /// Element type of `x`: F32 or I32.
    pub element: Element,
    /// What becomes of the elements.
    pub fold: Fold,
}

/// The tensors of a [`Reduce`] or a [`Scan`].
#[derive(Clone, Copy, Debug)]
pub struct ReduceBindings<'a> {
    /// `[outer, n, inner]` in any rows and columns, dense.
    pub x: View<'a>,
    /// `[outer, n, inner]`.
    pub shape: [usize; 3],
    /// `[outer, inner]` for a [`Reduce`], `[outer, n, inner]` for a [`Scan`]: in any rows and columns, dense.
    pub out: View<'a>,
}

/// One result for all that lies along an axis: see [`crate::reference::reduce`] and [`crate::reference::arg_reduce`].
///
/// Sums of floats have four or more accumulators each, integers wrap around in 32 bits.
pub struct Reduce {
    kernels: Kernels,
    descriptor: ReduceDescriptor,
    team: Option<Team>,
}

/// The uniform of [`Reduce`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ReduceParams {
    pub outputs: u32,
    pub n: u32,
    pub inner: u32,
    pub lanes: u32,
    pub flip: u32,
    pub latest: u32,
    pub padding: [u32; 2],
}

/// The uniform of [`Scan`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ScanParams {
    pub outputs: u32,
    pub n: u32,
    pub inner: u32,
    pub exclusive: u32,
    pub backwards: u32,
    pub padding: [u32; 3],
}

const OP: &str = "reduce";
const SCAN: &str = "scan";
const WORDS: [Element; 2] = [Element::F32, Element::I32];
/// Elements that a thread comes to, four at a step: lavapipe gives an invocation 65,535 iterations and then leaves its
/// loops silently.
const MOST: usize = 240_000;
const OPS: [ReduceOp; 10] = [
    ReduceOp::Mean,
    ReduceOp::Sum,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::Prod,
    ReduceOp::L1,
    ReduceOp::L2,
    ReduceOp::SumSquare,
    ReduceOp::LogSum,
    ReduceOp::LogSumExp,
];

/// Whether integers have it: a root or a logarithm of theirs is none.
fn has_integers(op: ReduceOp) -> bool {
    !matches!(op, ReduceOp::L2 | ReduceOp::LogSum | ReduceOp::LogSumExp)
}

fn shader(element: Element, fold: Fold, team: Team) -> Shader {
    use ReduceOp::{L1, L2, LogSum, LogSumExp, Max, Mean, Min, Prod, SumSquare};
    let value = |ops: &[ReduceOp]| u32::from(matches!(fold, Fold::Value(op) if ops.contains(&op)));
    let consts = [
        ("FLOAT", u32::from(element == Element::F32)),
        ("TEAM", u32::from(team == Team::Workgroup)),
        ("PLACE", u32::from(matches!(fold, Fold::Place { .. }))),
        ("PRODUCT", value(&[Prod])),
        ("MAGNITUDE", value(&[L1])),
        ("SQUARE", value(&[L2, SumSquare])),
        ("PLAIN", 1 - value(&[Prod, L1, L2, SumSquare])),
        ("MEAN", value(&[Mean])),
        ("ROOT", value(&[L2])),
        ("LOGARITHM", value(&[LogSum])),
        ("AS_IS", 1 - value(&[Mean, L2, LogSum])),
    ];
    let (name, file) = match fold {
        Fold::Place { .. } => ("Place", include_str!("../../shaders/common/fold_extreme.wgsl")),
        // Which of them is a matter of the uniform.
        Fold::Value(Max | Min) => ("Extreme", include_str!("../../shaders/common/fold_extreme.wgsl")),
        Fold::Value(LogSumExp) => {
            ("ReduceLogSumExp", include_str!("../../shaders/common/fold_log_sum_exp.wgsl"))
        }
        Fold::Value(op) => (op.name(), include_str!("../../shaders/common/fold_sum.wgsl")),
    };
    let label = format!("{OP}/{element:?} {name}{}", team.label());
    let files = [file, include_str!("../../shaders/reduce.wgsl")];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

fn scan_shader(element: Element) -> Shader {
    let consts = [("FLOAT", u32::from(element == Element::F32))];
    let files = [include_str!("../../shaders/scan.wgsl")];
    Variant { label: format!("{SCAN}/{element:?}"), enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for element in WORDS {
        all.push(scan_shader(element));
        for team in [Team::Workgroup, Team::Thread] {
            let place = Fold::Place { max: true, last: false };
            let ops = OPS.iter().filter(|&&op| op != ReduceOp::Min);
            let ops = ops.filter(|&&op| element == Element::F32 || has_integers(op));
            all.extend(ops.map(|&op| Fold::Value(op)).chain([place]).map(|fold| shader(element, fold, team)));
        }
    }
    all
}

/// Checks the views and gives `[outputs, n, inner]`.
fn checked(
    op: &'static str,
    b: &ReduceBindings<'_>,
    elements: [Element; 2],
    out_shape: &[usize],
) -> Result<[u32; 3]> {
    let fail = |detail: String| Err(Error::Shape { op, detail });
    for ((name, view), (element, shape)) in
        [("x", &b.x), ("out", &b.out)].into_iter().zip(elements.into_iter().zip([&b.shape[..], out_shape]))
    {
        check_element(op, name, view, element)?;
        check_words(op, name, view)?;
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if len.is_none() || view.rows.checked_mul(view.columns) != len {
            return fail(format!("{name} is [{}, {}], expected {shape:?}", view.rows, view.columns));
        }
        if view.rows > 1 && view.pitch != view.columns {
            return fail(format!(
                "{name} has {} columns and a pitch of {} words, expected a dense view",
                view.columns, view.pitch
            ));
        }
    }
    let [outer, n, inner] = b.shape;
    // Beside a dimension of 0 the product of the others may be anything.
    let outputs = outer.saturating_mul(inner);
    Ok([
        to_u32(op, "outputs", outputs)?,
        to_u32(op, "elements along the axis", n)?,
        to_u32(op, "inner", inner)?,
    ])
}

impl Reduce {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than F32 and I32, and for roots and logarithms of integers.
    pub fn new(device: &wgpu::Device, descriptor: &ReduceDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Reduce::new`].
    pub fn with_kernels(kernels: &Kernels, d: &ReduceDescriptor) -> Result<Self> {
        match d.fold {
            Fold::Value(op) if !has_integers(op) => {
                check_one_of(OP, d.element, &[Element::F32], "F32 for a root or a logarithm")?;
            }
            _ => check_one_of(OP, d.element, &WORDS, "F32 or I32")?,
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d, team: None })
    }

    /// With this [`Team`], but for axes that are too long for a thread. Otherwise a workgroup comes to an output on
    /// GPUs, and on CPU adapters where there are few outputs of many elements each.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team: Some(team), ..self }
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ReduceBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let [outer, n, inner] = b.shape;
        let out = if matches!(d.fold, Fold::Place { .. }) { Element::I32 } else { d.element };
        let [outputs, length, step] = checked(OP, b, [d.element, out], &[outer, inner])?;
        let team = self.team.unwrap_or_else(|| match Team::choose(device) {
            Team::Thread if outputs < 16 && n > 4096 => Team::Workgroup,
            team => team,
        });
        let team = if n > MOST { Team::Workgroup } else { team };
        let (threads, lanes) = match team {
            Team::Workgroup => (64, n.div_ceil(8).max(1).next_power_of_two().min(64)),
            Team::Thread => (8, 1),
        };
        if n.div_ceil(lanes) > MOST {
            let (needed, limit) = (n as u64, MOST as u64 * 64);
            return Err(Error::Limit { op: OP, what: "elements along the axis".into(), needed, limit });
        }
        let (min, last) = match d.fold {
            Fold::Value(op) => (op == ReduceOp::Min, false),
            Fold::Place { max, last } => (!max, last),
        };
        let params = ReduceParams {
            outputs,
            n: length,
            inner: step,
            lanes: lanes as u32,
            flip: if min { u32::MAX } else { 0 },
            latest: u32::from(last),
            padding: [0; 2],
        };
        let grid = kernel::grid(device, OP, u64::from(outputs).div_ceil((threads / lanes) as u64))?;
        call(&self.kernels, OP, shader(d.element, d.fold, team), &params, b, (outputs > 0, grid))
    }
}

fn call<P: bytemuck::Pod>(
    kernels: &Kernels,
    op: &'static str,
    shader: Shader,
    params: &P,
    b: &ReduceBindings<'_>,
    (any, grid): (bool, [u32; 3]),
) -> Result<Call> {
    let device = kernels.device();
    let uniform = kernel::uniform(device, params);
    let buffers = [
        uniform.as_entire_buffer_binding(),
        b.x.binding(device, op, "x")?,
        b.out.binding(device, op, "out")?,
    ];
    let mut call = Call::default();
    if any {
        let kernel = kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::Write]);
        call.push(Dispatch::new(device, kernel, &buffers, grid));
    }
    Ok(call)
}

/// What is asked of a [`Scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ScanDescriptor {
    /// Element type: F32 or I32.
    pub element: Element,
    /// Without the element itself.
    pub exclusive: bool,
    /// From the end.
    pub reverse: bool,
}

/// Sums up to each element along an axis, of at most 240,000: see [`crate::reference::cumulative_sum`].
pub struct Scan {
    kernels: Kernels,
    descriptor: ScanDescriptor,
}

impl Scan {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than F32 and I32.
    pub fn new(device: &wgpu::Device, descriptor: &ScanDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Scan::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &ScanDescriptor) -> Result<Self> {
        check_one_of(SCAN, descriptor.element, &WORDS, "F32 or I32")?;
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ReduceBindings<'_>) -> Result<Call> {
        let d = &self.descriptor;
        let [outputs, n, inner] = checked(SCAN, b, [d.element; 2], &b.shape)?;
        if n as usize > MOST {
            let (needed, limit) = (n.into(), MOST as u64);
            return Err(Error::Limit { op: SCAN, what: "elements along the axis".into(), needed, limit });
        }
        let flags = [d.exclusive, d.reverse].map(u32::from);
        let [exclusive, backwards] = flags;
        let params = ScanParams { outputs, n, inner, exclusive, backwards, padding: [0; 3] };
        let grid = kernel::grid(self.kernels.device(), SCAN, u64::from(outputs).div_ceil(8))?;
        call(&self.kernels, SCAN, scan_shader(d.element), &params, b, (outputs > 0 && n > 0, grid))
    }
}
