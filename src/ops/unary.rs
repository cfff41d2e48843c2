//! Elementwise activations, and casts between f32 and f16.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::gemm::bounds;
use crate::ops::rows::{self, check_element, check_one_of, check_params, check_same};
use crate::tensor::{Element, View};

/// What is asked of a [`Unary`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct UnaryDescriptor {
    /// Element type of `x`: F32, F16 or I8.
    pub element: Element,
    /// Element type of the output: F32 or F16, I8 from I8.
    pub out: Element,
    /// Applied to each element.
    pub activation: Activation,
}

/// The tensors of a [`Unary`].
#[derive(Clone, Copy, Debug)]
pub struct UnaryBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// I8: the parameters of `x`, which are those of the output too.
    pub params: Option<View<'a>>,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
}

/// The activation of each element, rounded to nearest even where the output is f16 (65520 and above become infinite).
///
/// NaN stays NaN; an activation's bounds are finite, so that it makes an infinity the largest number. In int8 the bounds
/// are integers, as in [`crate::reference::activation_limits`]. See [`crate::reference::activate`] and
/// [`crate::reference::to_f16`].
pub struct Unary {
    kernels: Kernels,
    descriptor: UnaryDescriptor,
}

const OP: &str = "unary";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];

fn shader(from: Element, to: Element, activate: bool, x_vec: bool, out_vec: bool) -> Shader {
    let flag = u32::from;
    let params = include_str!("../../shaders/common/elementwise_params.wgsl");
    let label = format!(
        "unary/{from:?} to {to:?}{}{}{}",
        if activate { " activated" } else { "" },
        if x_vec { "" } else { " from words" },
        if out_vec { "" } else { " to words" }
    );
    if from == Element::I8 {
        let files = [
            params,
            include_str!("../../shaders/common/quant_params.wgsl"),
            include_str!("../../shaders/common/divide.wgsl"),
            include_str!("../../shaders/unary_i8.wgsl"),
        ];
        return Variant { label: "unary/I8".into(), enable: &[], consts: &[], files: &files }.render();
    }
    let consts = [
        ("X_F16", flag(from == Element::F16)),
        ("OUT_F16", flag(to == Element::F16)),
        ("X_VEC", flag(x_vec)),
        ("OUT_VEC", flag(out_vec)),
        ("ACTIVATE", flag(activate)),
    ];
    let files = [
        params,
        include_str!("../../shaders/common/load_float.wgsl"),
        include_str!("../../shaders/common/store16.wgsl"),
        if to == Element::F16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/unary.wgsl"),
    ];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = vec![shader(Element::I8, Element::I8, true, false, false)];
    for from in FLOATS {
        for to in FLOATS {
            all.extend((0..8).map(|i| shader(from, to, i & 1 != 0, i & 2 != 0, i & 4 != 0)));
        }
    }
    all
}

impl Unary {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that it does not take, or I8 on one side alone.
    pub fn new(device: &wgpu::Device, descriptor: &UnaryDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Unary::new`].
    pub fn with_kernels(kernels: &Kernels, d: &UnaryDescriptor) -> Result<Self> {
        if d.element == Element::I8 {
            check_one_of(
                OP,
                d.out,
                &[Element::I8],
                "I8 from I8 (quantize and dequantize change the domain)",
            )?;
        } else {
            check_one_of(OP, d.element, &FLOATS, "F32, F16 or I8")?;
            check_one_of(OP, d.out, &FLOATS, "F32 or F16")?;
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &UnaryBindings<'_>) -> Result<Call> {
        let d = &self.descriptor;
        check_element(OP, "x", &b.x, d.element)?;
        check_element(OP, "out", &b.out, d.out)?;
        check_same(OP, &b.x, &b.out)?;
        let int8 = d.element == Element::I8;
        match &b.params {
            Some(params) if params.rows == 1 || !int8 => check_params(OP, "params", params)?,
            None if !int8 => {}
            _ => {
                let detail = format!("I8 needs one element of params, found {:?}", b.params);
                return Err(Error::Argument { op: OP, detail });
            }
        }
        let [x, out] = rows::flatten([b.x, b.out]);
        let (lo, hi) = bounds(d.activation);
        // In int8 the bounds are divided, for which they must be finite.
        let (lo, hi) = (lo.clamp(f32::MIN, f32::MAX), hi.clamp(f32::MIN, f32::MAX));
        let activate = d.activation != Activation::Identity;
        let vectors = (rows::reads_vectors(&x), rows::writes_sixteens(&out));
        let shader = shader(d.element, d.out, activate, vectors.0, vectors.1);
        rows::sixteens(&self.kernels, OP, shader, &x, b.params.as_ref(), &out, [lo, hi])
    }
}
