//! Functions of one element: activations and others, and casts between f32 and f16.

use crate::error::{Error, Result};
use crate::graph::{Activation, UnaryOp};
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::cast::{self, Step};
use crate::ops::function;
use crate::ops::gemm::{bounds, only_clamps};
use crate::ops::rows::{self, REALS, check_element, check_one_of, check_same};
use crate::tensor::{Element, View};

/// What is asked of a [`Unary`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct UnaryDescriptor {
    /// Element type of `x`: F32, F16 or I8; I32 for a function of integers or truth values (0 or 1).
    pub element: Element,
    /// Element type of the output: F32, F16 or I8; I32 for truth values (0 or 1) and functions of I32. From I8 it is I8.
    pub out: Element,
    /// Applied to each element.
    pub activation: Activation,
    /// Applied to each element instead, where it is given: of reals any but Not; of I32 Abs, Neg, Sign and Not.
    pub function: Option<UnaryOp>,
}

/// The tensors of a [`Unary`].
#[derive(Clone, Copy, Debug)]
pub struct UnaryBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// Where the output is I8, its parameters, which are those of an I8 `x` too; else of no consequence.
    pub params: Option<View<'a>>,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
}

/// The activation of each element, rounded to nearest even where the output is f16 (65520 and above become infinite).
///
/// NaN stays NaN; an activation's bounds are finite, so that it makes an infinity the largest number. In int8 the bounds
/// are integers, as in [`crate::reference::activation_limits`]; int8 of reals is what [`crate::ops::Quantize`] makes of the
/// result. See [`crate::reference::activate`],
/// [`crate::reference::to_f16`] and, for the other functions, [`crate::reference::unary`]: they are computed in f32, sine
/// and cosine for up to 2^13 radians.
pub struct Unary {
    kernels: Kernels,
    descriptor: UnaryDescriptor,
}

const OP: &str = "unary";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];

/// What a kernel for reals makes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apply {
    /// The same.
    Nothing,
    /// Clamped to the uniform's bounds.
    Clamp,
    /// A function, by its flag.
    Function(&'static str),
}

/// `wide`: by 64 bits; `narrow`: the columns, where they are four at most.
fn shader([from, to]: [Element; 2], apply: Apply, [x_vec, out_vec, wide]: [bool; 3], narrow: u32) -> Shader {
    let flag = u32::from;
    let params = include_str!("../../shaders/common/elementwise_params.wgsl");
    let label = format!(
        "unary/{from:?} to {to:?}{}{}{}{}{}",
        match apply {
            Apply::Nothing => String::new(),
            Apply::Clamp => " activated".into(),
            Apply::Function(name) => format!(" {}", name.to_lowercase()),
        },
        if x_vec { "" } else { " from words" },
        if out_vec { "" } else { " to words" },
        if wide { " by 64 bits" } else { "" },
        rows::narrow_label(narrow)
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
    let mut consts = vec![
        ("HALF", flag(from == Element::F16)),
        ("WIDE", flag(wide)),
        ("X_F16", flag(from == Element::F16)),
        ("OUT_F16", flag(to == Element::F16)),
        ("X_VEC", flag(x_vec)),
        ("OUT_VEC", flag(out_vec)),
        ("ACTIVATE", flag(apply == Apply::Clamp)),
        ("FUNCTION", flag(matches!(apply, Apply::Function(_)))),
        ("NARROW", narrow),
        ("NARROW_WORDS", narrow.div_ceil(2)),
    ];
    let mut text = "";
    if let Apply::Function(name) = apply {
        consts.extend(function::consts(name));
        text = function::TEXT;
    }
    let rounds = to == Element::F16 || (from == Element::F16 && to == Element::I8);
    let mut files = rows::store(to, narrow);
    files.extend([
        params,
        include_str!("../../shaders/common/quotient.wgsl"),
        if wide { rows::LOAD_WIDE } else { rows::load(narrow) },
        if rounds { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        text,
        include_str!("../../shaders/unary.wgsl"),
    ]);
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = vec![shader([Element::I8; 2], Apply::Clamp, [false; 3], 0)];
    for from in FLOATS {
        for to in REALS {
            for apply in [Apply::Nothing, Apply::Clamp, Apply::Function("GELU")] {
                let elements = [from, to];
                all.extend((0..4).map(|i| shader(elements, apply, [i & 1 != 0, i & 2 != 0, false], 0)));
                all.push(shader(elements, apply, [true; 3], 0));
                all.extend((1..=4).map(|narrow| shader(elements, apply, [false; 3], narrow)));
            }
        }
    }
    // Functions share no text with how elements are read and written: one of each will do.
    let each = |name| shader([Element::F32; 2], Apply::Function(name), [true, true, false], 0);
    all.extend(function::flags().map(each));
    for from in FLOATS {
        all.extend([Step::IsNan, Step::IsInf].map(|step| cast::shader(OP, from, Element::I32, step)));
    }
    let steps = [Step::Abs, Step::Neg, Step::Sign, Step::Not];
    all.extend(steps.map(|step| cast::shader(OP, Element::I32, Element::I32, step)));
    all
}

/// The function as one that makes integers, where it is; then of which elements.
fn integer_step(op: UnaryOp, element: Element) -> Option<Step> {
    match (op, element) {
        (UnaryOp::IsNan, _) => Some(Step::IsNan),
        (UnaryOp::IsInf { .. }, _) => Some(Step::IsInf),
        (UnaryOp::Not, _) => Some(Step::Not),
        (UnaryOp::Abs, Element::I32) => Some(Step::Abs),
        (UnaryOp::Neg, Element::I32) => Some(Step::Neg),
        (UnaryOp::Sign, Element::I32) => Some(Step::Sign),
        _ => None,
    }
}

impl Unary {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that it does not take, or others than I8 from I8.
    pub fn new(device: &wgpu::Device, descriptor: &UnaryDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Unary::new`].
    pub fn with_kernels(kernels: &Kernels, d: &UnaryDescriptor) -> Result<Self> {
        only_clamps(OP, d.activation)?;
        if let Some(function) = d.function {
            if d.activation != Activation::Identity {
                let detail = format!("both {function:?} and {:?}: one at a time", d.activation);
                return Err(Error::Argument { op: OP, detail });
            }
            match integer_step(function, d.element) {
                Some(Step::IsNan | Step::IsInf) => check_one_of(OP, d.element, &FLOATS, "F32 or F16")?,
                Some(_) => check_one_of(OP, d.element, &[Element::I32], "I32")?,
                None => {
                    check_one_of(OP, d.element, &FLOATS, "F32 or F16")?;
                    return check_one_of(OP, d.out, &REALS, "F32, F16 or I8")
                        .map(|()| Self { kernels: kernels.clone(), descriptor: *d });
                }
            }
            check_one_of(OP, d.out, &[Element::I32], "I32 for integers and truth values")?;
        } else if d.element == Element::I8 {
            check_one_of(OP, d.out, &[Element::I8], "I8 from I8 (Dequantize changes the domain)")?;
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
    pub fn bind(&self, b: &UnaryBindings<'_>) -> Result<Call> {
        let d = &self.descriptor;
        check_element(OP, "x", &b.x, d.element)?;
        check_element(OP, "out", &b.out, d.out)?;
        check_same(OP, &b.x, &b.out)?;
        let params = b.params.as_ref().filter(|_| d.out == Element::I8);
        rows::check_out_params(OP, &b.out, params)?;
        let [x, out] = rows::flatten([b.x, b.out]);
        let (lo, hi) = bounds(d.activation);
        // In int8 the bounds are divided, for which they must be finite.
        let (lo, hi) = (lo.clamp(f32::MIN, f32::MAX), hi.clamp(f32::MIN, f32::MAX));
        if let Some((function, step)) = d.function.and_then(|f| Some((f, integer_step(f, d.element)?))) {
            let counts = match function {
                UnaryOp::IsInf { negative, positive } => [negative, positive],
                _ => [false; 2],
            };
            let counts = counts.map(|b| f32::from(u8::from(b)));
            let shader = cast::shader(OP, d.element, d.out, step);
            return rows::sixteens(&self.kernels, OP, shader, &x, None, &out, counts);
        }
        let (apply, lo, hi) = match d.function.and_then(|f| Some((f, function::flag(f)?))) {
            Some((f, flag)) => {
                let [alpha, beta] = function::parameters(f);
                (Apply::Function(flag), alpha, beta)
            }
            None if d.activation == Activation::Identity => (Apply::Nothing, lo, hi),
            None => (Apply::Clamp, lo, hi),
        };
        let narrow = rows::narrow(&x);
        let vectors = [narrow == 0 && rows::reads_vectors(&x), rows::writes_sixteens(&out)];
        let device = self.kernels.device();
        // int8 leaves by half as many bytes at once, for which any row of sixteens will do.
        let wide = d.out == Element::I8 || rows::reads_wide(device, &out);
        let wide = wide && vectors == [true; 2] && rows::reads_wide(device, &x);
        let shader = shader([d.element, d.out], apply, [vectors[0], vectors[1], wide], narrow);
        rows::sixteens(&self.kernels, OP, shader, &x, params, &out, [lo, hi])
    }
}
