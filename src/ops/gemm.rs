//! `C = act(A Bᵀ + bias)` in f32 and f16, with sums in f32.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{self, Blocking, Call, Kernels, Layout, Operand, Problem};
use crate::ops::function;
use crate::ops::tile::{self, Form, Int8, Params, Source, to_u32};
use crate::tensor::{Element, View};

/// What is asked of a [`Gemm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmDescriptor {
    /// Element type of `a` and `b`: F32 or F16.
    pub element: Element,
    /// Element type of the output: F32 or F16.
    pub out: Element,
    /// How `b` lies in memory.
    pub layout: Layout,
    /// Applied to the sum with its bias.
    pub activation: Activation,
    /// How operands are multiplied; `None` for the device's default.
    pub operand: Option<Operand>,
    /// Register blocks; `None` for the default for the shape on the device.
    pub blocking: Option<Blocking>,
}

impl Default for GemmDescriptor {
    /// f32 throughout, `b` as `[n, k]`, no activation.
    fn default() -> Self {
        Self {
            element: Element::F32,
            out: Element::F32,
            layout: Layout::Nk,
            activation: Activation::Identity,
            operand: None,
            blocking: None,
        }
    }
}

/// The tensors of a [`Gemm`].
#[derive(Clone, Copy, Debug)]
pub struct GemmBindings<'a> {
    /// `[batch * m, k]`.
    pub a: View<'a>,
    /// `[batch * n, k]`, `[batch * k, n]` or packed, by the layout. With `n` (or `k`) rows alone, the same for every batch.
    pub b: View<'a>,
    /// `[1, n]` of f32, the same for every batch.
    pub bias: Option<View<'a>>,
    /// `[batch * m, n]`.
    pub out: View<'a>,
    /// Number of products.
    pub batch: usize,
}

/// Matrix multiplication in f32 or f16. See [`crate::reference::gemm`] for what it computes.
pub struct Gemm {
    kernels: Kernels,
    descriptor: GemmDescriptor,
}

const OP: &str = "gemm";

impl Gemm {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than float elements, [`Error::Feature`] where the device lacks what was asked for.
    pub fn new(device: &wgpu::Device, descriptor: &GemmDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Gemm::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &GemmDescriptor) -> Result<Self> {
        for element in [descriptor.element, descriptor.out] {
            if !matches!(element, Element::F32 | Element::F16) {
                return Err(Error::Element { op: OP, got: element, expected: "F32 or F16" });
            }
        }
        let d = descriptor;
        last(OP, d.activation)?;
        tile::check_asked(kernels.device(), OP, d.element, d.operand, d.blocking)?;
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Element`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &GemmBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (n, k) = (b.out.columns, b.a.columns);
        let params = product(OP, [&b.a, &b.b, &b.out], [d.element, d.out], d.layout, b.batch)?;
        if let Some(bias) = &b.bias {
            if (bias.element, bias.rows, bias.columns) != (Element::F32, 1, n) {
                let (got, rows, columns) = (bias.element, bias.rows, bias.columns);
                let detail = format!("bias is [{rows}, {columns}] of {got:?}, expected [1, {n}] of F32");
                return Err(Error::Shape { op: OP, detail });
            }
        }
        let aligned = b.a.pitch.is_multiple_of(4) && k.is_multiple_of(4 * d.element.per_word());
        let problem = Problem {
            element: d.element,
            weight_only: false,
            layout: d.layout,
            aligned,
            m: params.m as usize,
            n,
            k,
            batch: b.batch,
            patch: None,
        };
        let chosen = kernel::choose(&self.kernels, OP, problem, d.operand, d.blocking)?;
        let ((activate, function), (lo, hi)) = (last(OP, d.activation)?, bounds(d.activation));
        let form = Form {
            operand: chosen.choice.operand,
            blocking: chosen.choice.blocking,
            source: Source::Dense,
            layout: d.layout,
            out: d.out,
            bias: b.bias.is_some(),
            activate,
            function,
            a_vec: aligned,
            out_vec: out_vec(&b.out),
            fold: false,
            int8: Int8::default(),
        };
        let params = Params { lo, hi, ..params };
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let buffers = [
            b.a.binding(device, OP, "a")?,
            b.b.binding(device, OP, "b")?,
            tile::optional(device, OP, "bias", b.bias.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
        ];
        tile::call(&self.kernels, OP, Some(chosen), form, params, b.batch, &buffers)
    }
}

/// Whether an epilogue clamps, and the flag of the function that it ends in.
pub(crate) fn last(op: &'static str, activation: Activation) -> Result<(bool, Option<&'static str>)> {
    match activation {
        Activation::Identity => Ok((false, None)),
        Activation::Relu | Activation::Clip { .. } => Ok((true, None)),
        Activation::Function(f) => match function::flag(f) {
            Some(flag) => Ok((false, Some(flag))),
            None => {
                let detail = format!("{f:?} does not make reals of reals: no epilogue takes it");
                Err(Error::Argument { op, detail })
            }
        },
    }
}

/// Refuses a function where the kernel only clamps.
pub(crate) fn only_clamps(op: &'static str, activation: Activation) -> Result<()> {
    match activation {
        Activation::Function(f) => {
            let detail =
                format!("{f:?} cannot be its activation: products end in functions, else it is a Unary");
            Err(Error::Argument { op, detail })
        }
        _ => Ok(()),
    }
}

/// The bounds that an activation clamps to; a function's alpha and beta, which are in the same place.
pub(crate) fn bounds(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::Identity => (f32::NEG_INFINITY, f32::INFINITY),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clip { lo, hi } => (lo, hi),
        Activation::Function(f) => function::parameters(f).into(),
    }
}

/// Whether four f32 or i32 columns can be stored as one vector.
pub(crate) fn out_vec(out: &View<'_>) -> bool {
    matches!(out.element, Element::F32 | Element::I32)
        && out.pitch.is_multiple_of(4)
        && out.columns.is_multiple_of(4)
}

/// Checks the matrices `[a, b, out]` of a product against each other and the descriptor's elements of `[a, out]`, and
/// fills in what follows from them.
pub(crate) fn product(
    op: &'static str,
    [a, b, out]: [&View<'_>; 3],
    elements: [Element; 2],
    layout: Layout,
    batch: usize,
) -> Result<Params> {
    if batch == 0 || !a.rows.is_multiple_of(batch) || out.rows != a.rows {
        let detail = format!(
            "a has {} rows and out {}, in {batch} batches: they must be equal and divide evenly",
            a.rows, out.rows
        );
        return Err(Error::Shape { op, detail });
    }
    if [a.element, out.element] != elements {
        let detail =
            format!("a and out are {:?}, but the descriptor says {elements:?}", [a.element, out.element]);
        return Err(Error::Shape { op, detail });
    }
    let (m, n, k) = (a.rows / batch, out.columns, a.columns);
    let b_batches = b_matrix(op, layout, b, elements[0], n, k, batch)?;
    Ok(Params {
        m: to_u32(op, "m", m)?,
        n: to_u32(op, "n", n)?,
        k: to_u32(op, "k", k)?,
        k_words: to_u32(op, "k", elements[0].words(k))?,
        a_pitch: to_u32(op, "pitch of a", a.pitch)?,
        b_pitch: to_u32(op, "pitch of b", b.pitch)?,
        out_pitch: to_u32(op, "pitch of out", out.pitch)?,
        a_batch: to_u32(op, "batch of a", m * a.pitch)?,
        b_batch: if b_batches == 1 { 0 } else { to_u32(op, "batch of b", b.rows / batch * b.pitch)? },
        out_batch: to_u32(op, "batch of out", m * out.pitch)?,
        row_batch: to_u32(op, "m", m)?,
        ..Default::default()
    })
}

/// Checks `b` against its layout, and tells how many batches of it there are: one for all, or one for each.
pub(crate) fn b_matrix(
    op: &'static str,
    layout: Layout,
    b: &View<'_>,
    element: Element,
    n: usize,
    k: usize,
    batch: usize,
) -> Result<usize> {
    // Packed words are bound as what they are.
    let (rows, columns, held) = match layout {
        Layout::Nk => (n, k, element),
        Layout::Kn => (k, n, element),
        Layout::Packed => (element.words(k).next_multiple_of(4), n.next_multiple_of(4), Element::I32),
    };
    if b.element != held {
        return Err(Error::Element {
            op,
            got: b.element,
            expected: if held == Element::I32 {
                "I32 (packed words) for b"
            } else {
                "the descriptor's for b"
            },
        });
    }
    if b.columns != columns || (b.rows != rows && b.rows != rows * batch) {
        return Err(Error::Shape {
            op,
            detail: format!(
                "b is [{}, {}] ({layout:?}), but n is {n}, k is {k} and there are {batch} batches: expected [{rows}, {columns}] or [{}, {columns}]",
                b.rows,
                b.columns,
                rows * batch
            ),
        });
    }
    Ok(if b.rows == rows { 1 } else { batch })
}
