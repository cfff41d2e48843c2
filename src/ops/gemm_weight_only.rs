//! `C = act(A (scale * B)ᵀ + bias)`: floats by int8 weights, with sums in f32.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{self, Blocking, Call, Kernels, Layout, Problem};
use crate::ops::gemm::{bounds, last, out_vec};
use crate::ops::rows::{REALS, check_one_of, check_out_params};
use crate::ops::tile::{self, Form, Int8, Params, Source, Stage, to_u32};
use crate::quant::QuantParams;
use crate::tensor::{Data, Element, Tensor, View};

/// What is asked of a [`GemmWeightOnly`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmWeightOnlyDescriptor {
    /// Element type of `a`: F32 or F16.
    pub element: Element,
    /// Element type of the output: F32, F16 or I8.
    pub out: Element,
    /// Weights along k that have one scale, a multiple of 32; `None` for one scale for each column.
    pub group: Option<usize>,
    /// Applied to the sum with its bias.
    pub activation: Activation,
    /// Register blocks; `None` for the default for the shape on the device.
    pub blocking: Option<Blocking>,
}

impl Default for GemmWeightOnlyDescriptor {
    /// f32 throughout, a scale for each column, no activation.
    fn default() -> Self {
        let (element, activation) = (Element::F32, Activation::Identity);
        Self { element, out: element, group: None, activation, blocking: None }
    }
}

/// The tensors of a [`GemmWeightOnly`].
#[derive(Clone, Copy, Debug)]
pub struct GemmWeightOnlyBindings<'a> {
    /// `[m, k]`.
    pub a: View<'a>,
    /// The words of [`PackedWeightOnly`], `[rows, pitch]` of I32.
    pub b: View<'a>,
    /// Its scales, `[groups, columns rounded up to 4]` of F32.
    pub scales: View<'a>,
    /// `[1, n]` of F32.
    pub bias: Option<View<'a>>,
    /// `[m, n]`.
    pub out: View<'a>,
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
}

/// Matrix multiplication of floats by symmetric int8 weights, which are read as they are: a quarter of f32's bytes. See
/// [`crate::reference::gemm_weight_only`] for what it computes.
pub struct GemmWeightOnly {
    kernels: Kernels,
    descriptor: GemmWeightOnlyDescriptor,
}

const OP: &str = "gemm weight-only";

/// Int8 weights packed for [`GemmWeightOnly`], on the host.
///
/// A row for each word of `a` (the number rounded up to 4), in it for every 4 columns a word of each k; padding is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedWeightOnly {
    /// The words.
    pub words: Vec<u32>,
    /// Rows.
    pub rows: usize,
    /// Words in a row.
    pub pitch: usize,
    /// `[groups along k, columns rounded up to 4]`.
    pub scales: Vec<f32>,
}

impl PackedWeightOnly {
    /// Packs weights `[n, k]` for an `a` of `element`. `params` are one for all, else `[n, groups]` in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers do not fit, [`Error::Element`] for other than I8 weights and float `a`,
    /// [`Error::Argument`] for zero points other than 0.
    pub fn new(
        weights: &Tensor,
        params: &[QuantParams],
        group: Option<usize>,
        element: Element,
    ) -> Result<Self> {
        let (Data::I8(q), Element::F32 | Element::F16) = (weights.data(), element) else {
            let got = if weights.element() == Element::I8 { element } else { weights.element() };
            return Err(Error::Element { op: OP, got, expected: "I8 weights and an F32 or F16 a" });
        };
        let &[n, k] = weights.shape() else {
            let detail = format!("weights are {:?}, expected [n, k]", weights.shape());
            return Err(Error::Shape { op: OP, detail });
        };
        let groups = groups(k, group)?;
        if params.len() != n * groups && params.len() != 1 {
            let detail = format!("{} sets of parameters for {n} columns in {groups} groups", params.len());
            return Err(Error::Shape { op: OP, detail });
        }
        if let Some(p) = params.iter().find(|p| p.zero_point != 0) {
            let detail = format!("weights must be symmetric, but a zero point is {}", p.zero_point);
            return Err(Error::Argument { op: OP, detail });
        }
        let (per_word, columns) = (element.per_word(), n.next_multiple_of(4));
        let (rows, pitch) = (element.words(k).next_multiple_of(4), columns / 4 * per_word);
        let mut words = vec![0; rows * pitch];
        for (i, &q) in q.iter().enumerate() {
            let (column, k) = (i / k, i % k);
            let word = k / per_word * pitch + column / 4 * per_word + k % per_word;
            words[word] |= u32::from(q as u8) << (8 * (column % 4));
        }
        let mut scales = vec![0.0; groups * columns];
        for column in 0..n {
            for g in 0..groups {
                scales[g * columns + column] = params[(column * groups + g) % params.len()].scale;
            }
        }
        Ok(Self { words, rows, pitch, scales })
    }
}

/// How many groups there are along k.
fn groups(k: usize, group: Option<usize>) -> Result<usize> {
    match group {
        None => Ok(1),
        Some(group) if group > 0 && group.is_multiple_of(32) && k.is_multiple_of(group) => Ok(k / group),
        Some(group) => {
            let detail =
                format!("groups of {group} along a k of {k}: they must be multiples of 32 that divide it");
            Err(Error::Argument { op: OP, detail })
        }
    }
}

impl GemmWeightOnly {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than float elements, [`Error::Argument`] for what is no function of reals,
    /// [`Error::Feature`] where the device lacks what was asked for.
    pub fn new(device: &wgpu::Device, descriptor: &GemmWeightOnlyDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`GemmWeightOnly::new`].
    pub fn with_kernels(kernels: &Kernels, d: &GemmWeightOnlyDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &[Element::F32, Element::F16], "F32 or F16")?;
        check_one_of(OP, d.out, &REALS, "F32, F16 or I8 for the output")?;
        last(OP, d.activation)?;
        tile::check_asked(kernels.device(), OP, d.element, None, d.blocking)?;
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &GemmWeightOnlyBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (m, n, k) = (b.a.rows, b.out.columns, b.a.columns);
        let groups = groups(k, d.group)?;
        let (per_word, columns) = (d.element.per_word(), n.next_multiple_of(4));
        let rows = d.element.words(k).next_multiple_of(4);
        let is = |name: &str, view: &View<'_>, element, shape: [usize; 2]| {
            if (view.element, [view.rows, view.columns]) == (element, shape) {
                return Ok(());
            }
            let (got, rows, columns) = (view.element, view.rows, view.columns);
            let detail =
                format!("{name} is [{rows}, {columns}] of {got:?}, expected {shape:?} of {element:?}");
            Err(Error::Shape { op: OP, detail })
        };
        is("a", &b.a, d.element, [m, k])?;
        is("b", &b.b, Element::I32, [rows, columns / 4 * per_word])?;
        is("scales", &b.scales, Element::F32, [groups, columns])?;
        is("out", &b.out, d.out, [m, n])?;
        check_out_params(OP, &b.out, b.out_params.as_ref())?;
        if let Some(bias) = &b.bias {
            is("bias", bias, Element::F32, [1, n])?;
        }
        for (name, view) in [("b", &b.b), ("scales", &b.scales)] {
            if view.pitch != view.columns {
                let detail = format!("{name} has {} words, {} apart", view.columns, view.pitch);
                return Err(Error::Shape { op: OP, detail });
            }
        }
        let ((activate, function), (lo, hi)) = (last(OP, d.activation)?, bounds(d.activation));
        let problem = Problem {
            element: d.element,
            weight_only: true,
            layout: Layout::Packed,
            aligned: b.a.pitch.is_multiple_of(4) && k.is_multiple_of(4 * per_word),
            m,
            n,
            k,
            batch: 1,
            patch: None,
        };
        let chosen = kernel::choose(&self.kernels, OP, problem, None, d.blocking)?;
        let form = Form {
            operand: chosen.choice.operand,
            blocking: chosen.choice.blocking,
            source: Source::Dense,
            layout: Layout::Packed,
            out: d.out,
            bias: b.bias.is_some(),
            activate,
            function,
            a_vec: problem.aligned,
            one: false,
            out_vec: out_vec(&b.out),
            out_wide: false,
            fold: false,
            wide: false,
            paired: false,
            stage: Stage::Whole,
            max_pool: false,
            int8: Int8::default(),
        };
        let int = |what, v| to_u32(OP, what, v);
        let params = Params {
            m: int("m", m)?,
            n: int("n", n)?,
            k: int("k", k)?,
            k_words: int("k", d.element.words(k))?,
            a_pitch: int("pitch of a", b.a.pitch)?,
            b_pitch: int("pitch of b", b.b.pitch)?,
            out_pitch: int("pitch of out", b.out.pitch)?,
            group_chunks: d.group.map_or(Ok(u32::MAX), |g| int("group", g / (4 * per_word)))?,
            lo,
            hi,
            ..Default::default()
        };
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let mut buffers = vec![
            b.a.binding(device, OP, "a")?,
            b.b.binding(device, OP, "b")?,
            tile::optional(device, OP, "bias", b.bias.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
            b.scales.binding(device, OP, "scales")?,
        ];
        if let Some(params) = &b.out_params {
            buffers.push(params.binding(device, OP, "out_params")?);
        }
        tile::call(&self.kernels, OP, Some(chosen), form, params, 1, &buffers)
    }
}
