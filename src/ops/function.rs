//! Which text of `shaders/common/functions.wgsl` a function of one element is, and its parameters.

use crate::graph::UnaryOp;

/// The functions' flags. Those that share a part name it too: see [`consts`].
const FLAGS: [&str; 26] = [
    "ABS",
    "NEG",
    "SIGN",
    "FLOOR",
    "CEIL",
    "ROUND",
    "RECIPROCAL",
    "SQRT",
    "EXP",
    "LOG",
    "SIN",
    "COS",
    "ERF",
    "TANH",
    "SIGMOID",
    "HARD_SIGMOID",
    "HARD_SWISH",
    "SWISH",
    "SOFTPLUS",
    "MISH",
    "GELU",
    "GELU_TANH",
    "ELU",
    "SELU",
    "CELU",
    "LEAKY_RELU",
];

/// The flag of a function from reals to reals; `None` for predicates.
pub(crate) fn flag(op: UnaryOp) -> Option<&'static str> {
    Some(match op {
        UnaryOp::Abs => "ABS",
        UnaryOp::Neg => "NEG",
        UnaryOp::Sign => "SIGN",
        UnaryOp::Floor => "FLOOR",
        UnaryOp::Ceil => "CEIL",
        UnaryOp::Round => "ROUND",
        UnaryOp::Reciprocal => "RECIPROCAL",
        UnaryOp::Sqrt => "SQRT",
        UnaryOp::Exp => "EXP",
        UnaryOp::Log => "LOG",
        UnaryOp::Sin => "SIN",
        UnaryOp::Cos => "COS",
        UnaryOp::Erf => "ERF",
        UnaryOp::Tanh => "TANH",
        UnaryOp::Sigmoid => "SIGMOID",
        UnaryOp::HardSigmoid { .. } => "HARD_SIGMOID",
        UnaryOp::HardSwish => "HARD_SWISH",
        UnaryOp::Swish { .. } => "SWISH",
        UnaryOp::Softplus => "SOFTPLUS",
        UnaryOp::Mish => "MISH",
        UnaryOp::Gelu { tanh: false } => "GELU",
        UnaryOp::Gelu { tanh: true } => "GELU_TANH",
        UnaryOp::Elu { .. } => "ELU",
        UnaryOp::Selu { .. } => "SELU",
        UnaryOp::Celu { .. } => "CELU",
        UnaryOp::LeakyRelu { .. } => "LEAKY_RELU",
        UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf { .. } => return None,
    })
}

/// The consts that choose a function's text.
pub(crate) fn consts(flag: &'static str) -> Vec<(&'static str, u32)> {
    let any = |of: &[&str]| u32::from(of.contains(&flag));
    let parts = [
        ("USES_SIGMOID", any(&["SIGMOID", "SWISH", "GELU_TANH"])),
        ("USES_ERF", any(&["ERF", "GELU"])),
        ("USES_SINE", any(&["SIN", "COS"])),
        ("USES_BELOW", any(&["ELU", "SELU"])),
    ];
    FLAGS.iter().map(|&name| (name, any(&[name]))).chain(parts).collect()
}

/// The text of every function.
pub(crate) const TEXT: &str = include_str!("../../shaders/common/functions.wgsl");

/// Every function's flag.
pub(crate) fn flags() -> [&'static str; 26] {
    FLAGS
}

/// What the text calls alpha and beta.
pub(crate) fn parameters(op: UnaryOp) -> [f32; 2] {
    match op {
        UnaryOp::HardSigmoid { alpha, beta } => [alpha, beta],
        UnaryOp::Selu { alpha, gamma } => [alpha, gamma],
        UnaryOp::Swish { alpha }
        | UnaryOp::Elu { alpha }
        | UnaryOp::Celu { alpha }
        | UnaryOp::LeakyRelu { alpha } => [alpha, 0.0],
        _ => [0.0; 2],
    }
}
