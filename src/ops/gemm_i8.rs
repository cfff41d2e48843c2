//! `C = epilogue(A Bᵀ)` in int8, with exact i32 sums.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{self, Blocking, Call, Kernels, Layout, Operand, Problem};
use crate::ops::gemm::{bounds, last, out_vec, product};
use crate::ops::tile::{self, Form, Int8, Params, Source, Stage};
use crate::tensor::{Element, View};

/// What is asked of a [`GemmI8`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmI8Descriptor {
    /// Element type of the output: I32 (the sums), F32, F16, or I8 (requantized).
    pub out: Element,
    /// How `b` lies in memory.
    pub layout: Layout,
    /// Whether `b` may have zero points other than 0, which costs a sum over each row of `a`.
    pub b_zero_point: bool,
    /// Applied to the real result; where the output is I8, all but functions among the integers. Not for I32.
    pub activation: Activation,
    /// How operands are multiplied; `None` for the device's default.
    pub operand: Option<Operand>,
    /// Register blocks; `None` for the default for the shape on the device.
    pub blocking: Option<Blocking>,
}

impl Default for GemmI8Descriptor {
    /// f32 output, `b` as `[n, k]` and symmetric, no activation.
    fn default() -> Self {
        Self {
            out: Element::F32,
            layout: Layout::Nk,
            b_zero_point: false,
            activation: Activation::Identity,
            operand: None,
            blocking: None,
        }
    }
}

/// The parameters of an int8 product: all of them may be born on the GPU.
///
/// Views over [`crate::quant::QuantParams`] are made by [`View::params`].
#[derive(Clone, Copy, Debug)]
pub struct EpilogueBindings<'a> {
    /// Parameters of `a`: one, or one for each row.
    pub a_params: View<'a>,
    /// Parameters of `b`: one, or one for each column.
    pub b_params: View<'a>,
    /// `[1, n]` of i32, the sum over k of each column of `b`: see [`crate::ops::Packed`].
    pub b_sums: View<'a>,
    /// `[1, n]`: f32 added to the real result, or i32 added to the sum.
    pub bias: Option<View<'a>>,
    /// Parameters of the output, where it is I8: one.
    pub out_params: Option<View<'a>>,
}

/// The tensors of a [`GemmI8`].
#[derive(Clone, Copy, Debug)]
pub struct GemmI8Bindings<'a> {
    /// `[batch * m, k]` of I8.
    pub a: View<'a>,
    /// `[n, k]`, `[k, n]` or packed I8, by the layout; `batch` of them, or one for all.
    pub b: View<'a>,
    /// Parameters, sums and bias, the same for every batch but for `a`'s rows.
    pub epilogue: EpilogueBindings<'a>,
    /// `[batch * m, n]`.
    pub out: View<'a>,
    /// Number of products.
    pub batch: usize,
}

/// Matrix multiplication in int8. See [`crate::reference::gemm_i8`] for what it computes.
pub struct GemmI8 {
    kernels: Kernels,
    descriptor: GemmI8Descriptor,
}

const OP: &str = "gemm_i8";

impl GemmI8 {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for an output type that there is not, [`Error::Feature`] where the device lacks what was
    /// asked for.
    pub fn new(device: &wgpu::Device, descriptor: &GemmI8Descriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`GemmI8::new`].
    pub fn with_kernels(kernels: &Kernels, d: &GemmI8Descriptor) -> Result<Self> {
        check_out(OP, d.out, d.activation)?;
        tile::check_asked(kernels.device(), OP, Element::I8, d.operand, d.blocking)?;
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Element`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &GemmI8Bindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (n, k) = (b.out.columns, b.a.columns);
        let params = product(OP, [&b.a, &b.b, &b.out], [Element::I8, d.out], d.layout, b.batch)?;
        let int8 = b.epilogue.check(OP, b.a.rows, n, d.out, d.b_zero_point)?;
        let ((activate, function), (lo, hi)) = (last(OP, d.activation)?, bounds(d.activation));
        let problem = Problem {
            element: Element::I8,
            weight_only: false,
            layout: d.layout,
            aligned: b.a.pitch.is_multiple_of(4) && k.is_multiple_of(16),
            m: params.m as usize,
            n,
            k,
            batch: b.batch,
            patch: None,
        };
        let chosen = kernel::choose(&self.kernels, OP, problem, d.operand, d.blocking)?;
        let form = Form {
            operand: chosen.choice.operand,
            blocking: chosen.choice.blocking,
            source: Source::Dense,
            layout: d.layout,
            out: d.out,
            bias: b.epilogue.bias.is_some(),
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
            int8,
        };
        let params = Params { lo, hi, ..params };
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let buffers = b.epilogue.buffers(device, OP, b.a.binding(device, OP, "a")?, &b.b, &b.out, &zeros)?;
        tile::call(&self.kernels, OP, Some(chosen), form, params, b.batch, &buffers)
    }
}

/// What may leave an int8 product's epilogue.
pub(crate) fn check_out(op: &'static str, out: Element, activation: Activation) -> Result<()> {
    if !matches!(out, Element::I32 | Element::F32 | Element::F16 | Element::I8) {
        return Err(Error::Element { op, got: out, expected: "I32, F32, F16 or I8 for the output" });
    }
    if out == Element::I32 && activation != Activation::Identity {
        let detail = format!("{activation:?} is of reals, but the output is of i32 sums");
        return Err(Error::Argument { op, detail });
    }
    last(op, activation).map(drop)
}

impl<'a> EpilogueBindings<'a> {
    /// Checks shapes against `rows` of `a` in all batches and `n` columns.
    pub(crate) fn check(
        &self,
        op: &'static str,
        rows: usize,
        n: usize,
        out: Element,
        b_zero: bool,
    ) -> Result<Int8> {
        let many = |name: &str, view: &View<'_>, many: usize| {
            if view.element != Element::I32 || view.columns != 4 || (view.rows != 1 && view.rows != many) {
                let detail = format!(
                    "{name} is [{}, {}] of {:?}, expected quantization parameters, 1 or {many} of them",
                    view.rows, view.columns, view.element
                );
                return Err(Error::Shape { op, detail });
            }
            Ok(view.rows != 1)
        };
        let int8 = Int8 {
            a_per_row: many("a_params", &self.a_params, rows)?,
            b_per_channel: many("b_params", &self.b_params, n)?,
            b_zero,
            bias_i32: self.bias.is_some_and(|b| b.element == Element::I32),
        };
        let row = |name: &str, view: &View<'_>, allowed: &[Element]| {
            if !allowed.contains(&view.element) || (view.rows, view.columns) != (1, n) {
                let detail = format!(
                    "{name} is [{}, {}] of {:?}, expected [1, {n}] of {allowed:?}",
                    view.rows, view.columns, view.element
                );
                return Err(Error::Shape { op, detail });
            }
            Ok(())
        };
        row("b_sums", &self.b_sums, &[Element::I32])?;
        if let Some(bias) = &self.bias {
            let allowed: &[_] =
                if out == Element::I32 { &[Element::I32] } else { &[Element::F32, Element::I32] };
            row("bias", bias, allowed)?;
        }
        match (&self.out_params, out) {
            (Some(view), Element::I8) => many("out_params", view, 1).map(drop)?,
            (None, Element::I8) => {
                let detail = "an I8 output needs out_params".into();
                return Err(Error::Argument { op, detail });
            }
            _ => {}
        }
        Ok(int8)
    }

    /// The buffers of the kernel's slots, but for the uniform.
    pub(crate) fn buffers(
        &self,
        device: &wgpu::Device,
        op: &'static str,
        a: wgpu::BufferBinding<'a>,
        b: &View<'a>,
        out: &View<'a>,
        zeros: &'a wgpu::Buffer,
    ) -> Result<[wgpu::BufferBinding<'a>; 8]> {
        Ok([
            a,
            b.binding(device, op, "b")?,
            self.a_params.binding(device, op, "a_params")?,
            self.b_params.binding(device, op, "b_params")?,
            self.b_sums.binding(device, op, "b_sums")?,
            tile::optional(device, op, "bias", self.bias.as_ref(), zeros)?,
            tile::optional(device, op, "out_params", self.out_params.as_ref(), zeros)?,
            out.binding(device, op, "out")?,
        ])
    }
}
