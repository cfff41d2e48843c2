//! A function of each pair, broadcast.

use crate::error::Result;
use crate::graph::BinaryOp;
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::broadcast::{self, RANK};
use crate::ops::rows::{REALS, TO_INT8, check_element, check_one_of, check_out_params};
use crate::tensor::{Element, View};

/// What is asked of a [`Binary`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryDescriptor {
    /// Element type of both operands: F32, F16 or I32. Truth values are I32, 0 or 1.
    pub element: Element,
    /// Element type of the output: F32, F16 or I8 of reals, I32 of I32; I32 for truth values.
    pub out: Element,
    /// The function. And, Or and Xor are of I32 alone.
    pub function: BinaryOp,
}

/// The tensors of a [`Binary`], each as the matrix of its outer dimensions by its innermost one.
#[derive(Clone, Copy, Debug)]
pub struct BinaryBindings<'a> {
    /// The first operand.
    pub a: View<'a>,
    /// Its shape, outermost dimension first.
    pub a_shape: &'a [usize],
    /// The second operand.
    pub b: View<'a>,
    /// Its shape.
    pub b_shape: &'a [usize],
    /// Of the shape that both are broadcast to: at most 6 dimensions.
    pub out: View<'a>,
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
}

/// A function of each pair, broadcast as in ONNX. See [`crate::reference::binary`].
///
/// f16 is computed in f32 and rounded once; int8 is what [`crate::ops::Quantize`] makes of that. A real remainder is
/// exact where the quotient is below 2^22 and its product with the divisor has 24 bits.
pub struct Binary {
    kernels: Kernels,
    descriptor: BinaryDescriptor,
}

const OP: &str = "binary";
const FLOATS: [Element; 2] = [Element::F32, Element::F16];
const FUNCTIONS: [BinaryOp; 18] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Pow,
    BinaryOp::Min,
    BinaryOp::Max,
    BinaryOp::Mod { fmod: false },
    BinaryOp::Mod { fmod: true },
    BinaryOp::PRelu,
    BinaryOp::Equal,
    BinaryOp::Greater,
    BinaryOp::GreaterOrEqual,
    BinaryOp::Less,
    BinaryOp::LessOrEqual,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
];

fn flag(function: BinaryOp) -> &'static str {
    match function {
        BinaryOp::Add => "ADD",
        BinaryOp::Sub => "SUB",
        BinaryOp::Mul => "MUL",
        BinaryOp::Div => "DIV",
        BinaryOp::Pow => "POW",
        BinaryOp::Min => "MIN",
        BinaryOp::Max => "MAX",
        BinaryOp::Mod { .. } => "MOD",
        BinaryOp::PRelu => "PRELU",
        BinaryOp::Equal => "EQUAL",
        BinaryOp::Greater => "GREATER",
        BinaryOp::GreaterOrEqual => "GREATER_OR_EQUAL",
        BinaryOp::Less => "LESS",
        BinaryOp::LessOrEqual => "LESS_OR_EQUAL",
        BinaryOp::And => "AND",
        BinaryOp::Or => "OR",
        BinaryOp::Xor => "XOR",
    }
}

fn is_logic(function: BinaryOp) -> bool {
    matches!(function, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
}

fn shader(d: &BinaryDescriptor, dims: u32) -> Shader {
    let number = u32::from;
    let float = FLOATS.contains(&d.element);
    let fmod = d.function == BinaryOp::Mod { fmod: true };
    let mut consts = vec![
        ("FLOAT", number(float)),
        ("F16", number(d.element == Element::F16)),
        ("HALF", number(d.element == Element::F16)),
        ("OUT_F16", number(d.out == Element::F16)),
        ("OUT_I8", number(d.out == Element::I8)),
        ("OUT_WORDS", number(matches!(d.out, Element::F32 | Element::I32))),
        ("FMOD", number(fmod)),
        ("DIMS", dims),
    ];
    for other in FUNCTIONS {
        if other != (BinaryOp::Mod { fmod: true }) {
            consts.push((flag(other), number(flag(other) == flag(d.function))));
        }
    }
    let of = |float| if float { "f32" } else { "i32" };
    let types =
        format!("alias Four = vec4<{}>;\nalias Result = vec4<{}>;\n", of(float), of(d.out != Element::I32));
    let rounds = [d.element, d.out].contains(&Element::F16);
    let mut files = vec![
        include_str!("../../shaders/common/broadcast_params.wgsl"),
        if rounds { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        &types,
        include_str!("../../shaders/common/places.wgsl"),
        include_str!("../../shaders/binary.wgsl"),
    ];
    if d.out == Element::I8 {
        files.extend(TO_INT8);
    }
    let function = if fmod { "fmod".into() } else { flag(d.function).to_lowercase() };
    let label = format!("binary/{function} {:?} to {:?} {dims} outer dimensions", d.element, d.out);
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every function, and every way of reading and writing with one: they share no text.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for function in FUNCTIONS {
        for element in [Element::F32, Element::I32] {
            if element == Element::I32 || !is_logic(function) {
                let out = if function.is_predicate() { Element::I32 } else { element };
                all.push(shader(&BinaryDescriptor { element, out, function }, 1));
            }
        }
    }
    for dims in 0..RANK as u32 {
        for element in FLOATS {
            all.extend(
                REALS.map(|out| shader(&BinaryDescriptor { element, out, function: BinaryOp::Mul }, dims)),
            );
            let d = BinaryDescriptor { element, out: Element::I32, function: BinaryOp::Less };
            all.push(shader(&d, dims));
        }
        let d = BinaryDescriptor { element: Element::I32, out: Element::I32, function: BinaryOp::Add };
        all.push(shader(&d, dims));
    }
    all
}

impl Binary {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`crate::Error::Element`] for elements that it does not take, or that the function does not make.
    pub fn new(device: &wgpu::Device, descriptor: &BinaryDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Binary::new`].
    pub fn with_kernels(kernels: &Kernels, d: &BinaryDescriptor) -> Result<Self> {
        if is_logic(d.function) {
            check_one_of(OP, d.element, &[Element::I32], "I32 for truth values")?;
        }
        check_one_of(OP, d.element, &[Element::F32, Element::F16, Element::I32], "F32, F16 or I32")?;
        if d.function.is_predicate() || d.element == Element::I32 {
            check_one_of(OP, d.out, &[Element::I32], "I32 for integers and truth values")?;
        } else {
            check_one_of(OP, d.out, &REALS, "F32, F16 or I8")?;
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`crate::Error::Shape`], [`crate::Error::Argument`], [`crate::Error::View`] or [`crate::Error::Limit`], with the
    /// numbers.
    pub fn bind(&self, bindings: &BinaryBindings<'_>) -> Result<Call> {
        let d = &self.descriptor;
        let BinaryBindings { a, a_shape, b, b_shape, out, out_params } = *bindings;
        check_element(OP, "a", &a, d.element)?;
        check_element(OP, "b", &b, d.element)?;
        check_element(OP, "out", &out, d.out)?;
        check_out_params(OP, &out, out_params.as_ref())?;
        let operands = [("a", a, a_shape), ("b", b, b_shape)];
        broadcast::call(&self.kernels, OP, operands, out, out_params, |dims| shader(d, dims))
    }
}
