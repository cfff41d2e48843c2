//! `act(a + b)`, broadcast, in f32, f16 and int8.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::broadcast::{self, RANK};
use crate::ops::gemm::{bounds, only_clamps};
use crate::ops::rows::{
    self, REALS, TO_INT8, check_element, check_one_of, check_out_params, check_params, check_words,
};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, View};

/// What is asked of an [`Add`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct AddDescriptor {
    /// Element type of both operands: F32, F16 or I8.
    pub element: Element,
    /// Element type of the output: F32, F16 or I8; I8 from I8.
    pub out: Element,
    /// Applied to the sum.
    pub activation: Activation,
}

/// The tensors of an [`Add`], each as the matrix of its outer dimensions by its innermost one.
#[derive(Clone, Copy, Debug)]
pub struct AddBindings<'a> {
    /// The first operand.
    pub a: View<'a>,
    /// Its shape, outermost dimension first.
    pub a_shape: &'a [usize],
    /// The second operand.
    pub b: View<'a>,
    /// Its shape: `[c]` for a bias.
    pub b_shape: &'a [usize],
    /// I8: the parameters of `a` and `b`, one each.
    pub params: Option<[View<'a>; 2]>,
    /// The sum, of the shape that both are broadcast to: at most 6 dimensions.
    pub out: View<'a>,
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
}

/// The sum of two tensors, broadcast as in ONNX: shapes are aligned at the innermost dimension, and 1 repeats.
///
/// f16 is added in f32 and rounded once. int8 is dequantized, added and activated in f32, and quantized with the
/// reciprocal of the output's scale, as in PyTorch; int8 of floats is what [`crate::ops::Quantize`] makes of their sum. See
/// [`crate::reference::add`].
pub struct Add {
    kernels: Kernels,
    descriptor: AddDescriptor,
}

/// The uniform of [`Add`]'s kernel, as WGSL sees it: dimensions from the inside, without the innermost.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct AddParams {
    pub total: u32,
    pub quads: u32,
    pub columns: u32,
    pub out_pitch: u32,
    pub a_column: u32,
    pub b_column: u32,
    pub lo: f32,
    pub hi: f32,
    pub length: [u32; 8],
    pub a_apart: [u32; 8],
    pub b_apart: [u32; 8],
}

const OP: &str = "add";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];

fn shader(element: Element, out: Element, activate: bool, dims: u32) -> Shader {
    let flag = u32::from;
    let consts = [
        ("F32", flag(element == Element::F32)),
        ("F16", flag(element == Element::F16)),
        ("I8", flag(element == Element::I8)),
        ("OUT_F32", flag(out == Element::F32)),
        ("OUT_F16", flag(out == Element::F16)),
        ("OUT_I8", flag(out == Element::I8)),
        ("HALF", flag(element == Element::F16)),
        ("ACTIVATE", flag(activate)),
        ("DIMS", dims),
    ];
    let [params, others @ ..] = TO_INT8;
    let mut files = vec![
        params,
        if [element, out].contains(&Element::F16) {
            include_str!("../../shaders/common/f16.wgsl")
        } else {
            ""
        },
        include_str!("../../shaders/common/places.wgsl"),
        include_str!("../../shaders/add.wgsl"),
    ];
    if out == Element::I8 {
        files.extend(others);
    }
    let activated = if activate { " activated" } else { "" };
    let label = format!("add/{element:?} to {out:?} {dims} outer dimensions{activated}");
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut pairs = vec![(Element::I8, Element::I8)];
    pairs.extend(FLOATS.iter().flat_map(|&a| REALS.map(|out| (a, out))));
    let each =
        |(a, out)| (0..RANK as u32).flat_map(move |d| [shader(a, out, false, d), shader(a, out, true, d)]);
    pairs.into_iter().flat_map(each).collect()
}

impl Add {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that it does not take, or others than I8 from I8.
    pub fn new(device: &wgpu::Device, descriptor: &AddDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Add::new`].
    pub fn with_kernels(kernels: &Kernels, d: &AddDescriptor) -> Result<Self> {
        only_clamps(OP, d.activation)?;
        if d.element == Element::I8 {
            check_one_of(OP, d.out, &[Element::I8], "I8 from I8")?;
        } else {
            check_one_of(OP, d.element, &FLOATS, "F32, F16 or I8")?;
            check_one_of(OP, d.out, &REALS, "F32, F16 or I8")?;
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, bindings: &AddBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let AddBindings { a, a_shape, b, b_shape, params, out, out_params } = *bindings;
        let shape = broadcast::shape(OP, &[a_shape, b_shape])?;
        for (name, view, shape, element) in
            [("a", &a, a_shape, d.element), ("b", &b, b_shape, d.element), ("out", &out, &shape, d.out)]
        {
            check_element(OP, name, view, element)?;
            broadcast::check_shape(OP, name, view, shape)?;
            check_words(OP, name, view)?;
        }
        if d.element == Element::I8 && params.is_none_or(|p| p.iter().any(|v| v.rows != 1)) {
            let detail = "I8 needs params of a and b, one element each".into();
            return Err(Error::Argument { op: OP, detail });
        }
        for (name, view) in ["a_params", "b_params"].iter().zip(params.iter().flatten()) {
            check_params(OP, name, view)?;
        }
        check_out_params(OP, &out, out_params.as_ref())?;
        let flat = if a_shape == b_shape { rows::flatten([a, b, out]) } else { [a, b, out] };
        let dims = match flat[2].rows {
            1 => Vec::new(),
            _ => broadcast::outer(&shape, [(&a, a_shape), (&b, b_shape)]),
        };
        let [a, b, out] = flat;
        let (lo, hi) = bounds(d.activation);
        let quads = out.columns.div_ceil(4);
        let total = out.rows as u64 * quads as u64;
        let int = |what, v| to_u32(OP, what, v);
        let mut uniform = AddParams {
            total: int("elements / 4", total as usize)?,
            quads: int("columns", quads)?,
            columns: int("columns", out.columns)?,
            out_pitch: int("pitch of out", out.pitch)?,
            a_column: broadcast::step(&a, &out),
            b_column: broadcast::step(&b, &out),
            lo,
            hi,
            length: [1; 8],
            ..Default::default()
        };
        for (i, dim) in dims.iter().enumerate() {
            uniform.length[i] = int("dimension", dim.length)?;
            uniform.a_apart[i] = int("words of a", dim.apart[0])?;
            uniform.b_apart[i] = int("words of b", dim.apart[1])?;
        }
        let uniform = kernel::uniform(device, &uniform);
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let param = |i: usize, name| optional(device, OP, name, params.as_ref().map(|p| &p[i]), &zeros);
        let buffers = [
            uniform.as_entire_buffer_binding(),
            a.binding(device, OP, "a")?,
            b.binding(device, OP, "b")?,
            param(0, "a_params")?,
            param(1, "b_params")?,
            optional(device, OP, "out_params", out_params.as_ref(), &zeros)?,
            out.binding(device, OP, "out")?,
        ];
        let mut call = Call::default();
        if total > 0 {
            use Slot::{Read, Uniform, Write};
            let activate = d.activation != Activation::Identity;
            let shader = shader(d.element, d.out, activate, dims.len() as u32);
            let slots = [Uniform, Read, Read, Read, Read, Read, Write];
            let kernel = self.kernels.get(shader, &slots);
            call.push(Dispatch::new(device, kernel, &buffers, kernel::grid(device, OP, total.div_ceil(64))?));
        }
        Ok(call)
    }
}
